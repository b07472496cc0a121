"""Promise 1 for images with texts: the answer is transformers' own, in any batch and any order."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import transformers
from cases import BATCHES, COMPOSED, Case, arranged
from support.comparing import same
from support.files import png
from support.pictures import PICTURES
from support.texts import CORPUS

from pipelines_beam import pipeline

Run = Callable[..., list[Any]]


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
    ),
    Case("image-text-to-text", "llava", SHORT, TEXTS),
    Case("image-text-to-text", "llava", {**SHORT, "return_tensors": True}, TEXTS),
    Case("image-text-to-text", "qwen2-vl", SHORT, CHATS),
    Case("image-text-to-text", "blip-prompt", SHORT, PROMPTED),
    Case("document-question-answering", "layoutlm", {}, PAGES),
    Case(
        "document-question-answering",
        "layoutlm",
        {"top_k": 4, "max_answer_len": 3, "doc_stride": 8, "handle_impossible_answer": True},
        PAGES,
    ),
    Case("document-question-answering", "donut", {}, SCANS),
]


@pytest.fixture(scope="module")
def oracle(model: Callable[[str], str]) -> Callable[[Case], list[Any]]:
    """transformers' own answers, one input at a time."""
    known: dict[int, list[Any]] = {}

    def answers(case: Case) -> list[Any]:
        if id(case) not in known:
            pipe = transformers.pipeline(case.task, model(case.model), device="cpu")
            parameters = case.parameters if case.stock is None else case.stock
            known[id(case)] = [
                pipe(copy.deepcopy(x), **copy.deepcopy(dict(parameters))) for x in case.inputs
            ]
        return known[id(case)]

    return answers


@pytest.mark.parametrize(("batch", "order"), COMPOSED)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_answer_is_transformers_own(
    case: Case,
    batch: str,
    order: str,
    model: Callable[[str], str],
    oracle: Callable[[Case], list[Any]],
    run: Run,
) -> None:
    expected = oracle(case)
    transform = pipeline(
        case.task, model(case.model), keyed=True, batch_size=BATCHES[batch], **case.parameters
    )

    found = dict(run(arranged(case.inputs, order), transform))

    assert found.keys() == set(range(len(expected)))
    for i, answer in enumerate(expected):
        assert same(answer, found[i].inference), (answer, found[i].inference)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_different_inputs_have_different_answers(
    case: Case, oracle: Callable[[Case], list[Any]]
) -> None:
    """Else the tests above would prove little."""
    answers = [repr(answer) for answer in oracle(case)]
    assert len(set(answers)) >= 0.6 * len(answers)


def test_images_of_a_chat_come_in_any_form(
    model: Callable[[str], str], run: Run, tmp_path: Any
) -> None:
    PICTURES[0].save(tmp_path / "0.png")
    asked = [
        chat(PICTURES[0], "What is it?"),
        chat(png(PICTURES[0]), "What is it?"),
        chat({"bytes": png(PICTURES[0]), "path": None}, "What is it?"),
        [
            {
                "role": "user",
                "content": [
                    {"type": "image", "url": (tmp_path / "0.png").as_uri()},
                    {"type": "text", "text": "What is it?"},
                ],
            }
        ],
    ]
    url = (tmp_path / "0.png").as_uri()
    asked += [
        chat({"type": "image_url", "image_url": given}, "What is it?")
        for given in ({"url": url}, url)
    ]
    transform = pipeline("image-text-to-text", model("llava"), max_new_tokens=8)
    found = run(asked, transform)
    assert len({result.inference[0]["generated_text"][-1]["content"] for result in found}) == 1
    for result in found:
        assert result.inference[0]["input_text"] == result.example


def test_columns_of_rows(model: Callable[[str], str], run: Run) -> None:
    rows = [{"page": None, "q": p["question"], "words": p["word_boxes"]} for p in PAGES]
    transform = pipeline(
        "document-question-answering",
        model("layoutlm"),
        input={"image": "page", "question": "q", "word_boxes": "words"},
    )
    for row in run(rows, transform):
        (answer,) = row["answers"]
        assert answer.keys() == {"answer", "score", "start", "end"}
