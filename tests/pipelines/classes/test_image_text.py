"""Images with texts: what test_answers.py does not ask of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases.multimodal import PAGES, chat
from support.files import png
from support.pictures import PICTURES

from pipelines_beam import pipeline

Run = Callable[..., list[Any]]


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
