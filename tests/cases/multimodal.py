"""The cases of the tasks of images with texts."""

from __future__ import annotations

from typing import Any

from support.pictures import PICTURES
from support.texts import CORPUS

from cases.case import Case


def chat(*content: Any) -> list[Any]:
    return [{"role": "user", "content": [block(each) for each in content]}]


def block(content: Any) -> dict[str, Any]:
    if isinstance(content, dict) and "type" in content:
        return content
    kind = "text" if isinstance(content, str) else "image"
    return {"type": kind, kind: content}


CHATS: list[Any] = [
    *(chat(PICTURES[i], CORPUS[i]) for i in range(6)),
    chat(PICTURES[0], "and", PICTURES[1], "are the same?"),
    chat("Who was born?"),
    [{"role": "user", "content": "Hi"}],
    [
        *chat(PICTURES[2], "What is it?"),
        {"role": "assistant", "content": [{"type": "text", "text": "It is"}]},
    ],
]
TEXTS: list[Any] = [
    *({"text": f"<image> {CORPUS[i + 5]}", "images": PICTURES[i]} for i in range(5)),
    {"text": "<image> <image> what", "images": [PICTURES[5], PICTURES[6]]},
    "The capital of France",
]
PROMPTED: list[Any] = [
    {"text": CORPUS[i + 4], "images": PICTURES[i % 8]} for i in (0, 1, 2, 3, 4, 0, 1, 9)
]
WORDS = " ".join(CORPUS[20:]).split()


def boxes(start: int, count: int) -> list[Any]:
    """Words on a page, line after line."""
    return [
        (word, [i % 8 * 110, i // 8 * 40, i % 8 * 110 + 15 * len(word) % 100, i // 8 * 40 + 30])
        for i, word in enumerate(WORDS[start : start + count])
    ]


PAGES: list[Any] = [
    {"question": question, "word_boxes": boxes(start, count)}
    for question, start, count in (
        ("Who was born?", 0, 3),
        ("Where did she meet the chancellor, and when?", 5, 30),
        ("Why?", 20, 12),
        ("Who was born?", 40, 30),
        ("What rose by how many percent?", 3, 150),
    )
]
SCANS: list[Any] = [
    {"image": PICTURES[i], "question": question}
    for i, question in enumerate(("What?", "Who was born?", "What?", "What", "Who was born?"))
]
SHORT = {"max_new_tokens": 8}


CASES = [
    Case("image-text-to-text", "llava", {}, CHATS),
    Case("image-text-to-text", "llava", {**SHORT, "return_full_text": False}, CHATS),
    Case(
        "image-text-to-text",
        "llava",
        {**SHORT, "num_beams": 2, "num_return_sequences": 2},
        CHATS[:6],
        stock={"generate_kwargs": {**SHORT, "num_beams": 2, "num_return_sequences": 2}},
    ),
    Case(
        "image-text-to-text",
        "llava",
        {"generate_kwargs": {**SHORT, "repetition_penalty": 1.5}},
        CHATS,
        largest=2,
    ),
    Case("image-text-to-text", "llava", SHORT, TEXTS),
    Case("image-text-to-text", "llava", {**SHORT, "return_tensors": True}, TEXTS),
    Case("image-text-to-text", "qwen2-vl", SHORT, CHATS, largest=1),
    Case("image-text-to-text", "blip-prompt", SHORT, PROMPTED, largest=2),
    Case("document-question-answering", "layoutlm", {}, PAGES),
    Case(
        "document-question-answering",
        "layoutlm",
        {"top_k": 4, "max_answer_len": 3, "doc_stride": 8, "handle_impossible_answer": True},
        PAGES,
    ),
    Case("document-question-answering", "donut", {}, SCANS, largest=2),
]
