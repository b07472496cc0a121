"""Decisions: what test_answers.py does not ask of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from cases.decision import QUESTIONS, needs_decision, questions
from support.comparing import same
from support.files import png
from support.pictures import PICTURES
from support.texts import CORPUS

from pipelines_beam import ElementError, pipeline

Run = Callable[..., list[Any]]
Model = Callable[[str], str]

pytestmark = needs_decision


def test_the_settings_are_those_of_the_model(model: Model) -> None:
    """Else test_answers.py could pass with the defaults on both sides."""
    for name in ("jev", "head-beside"):
        loaded = transformers.pipeline("decision", model(name), device="cpu")
        assert loaded.decision_config.chat_template
        assert type(loaded.model).__name__ == "JevForDecision"


def test_questions_as_a_parameter(model: Model, run: Run) -> None:
    asked = questions("topic", "urgency")
    transform = pipeline("decision", model("llama-lm"), questions=asked)
    rows = pipeline("decision", model("llama-lm"), questions=asked, input="text")
    pipe = transformers.pipeline("decision", model("llama-lm"), device="cpu")
    expected = {text: pipe({"state": text, "questions": asked}) for text in CORPUS[:5]}
    for result in run(CORPUS[:5], transform):
        assert same(expected[result.example], result.inference)
    for row in run([{"text": text} for text in CORPUS[:5]], rows):
        topic, urgency = row["answers"]
        assert topic["question"] == "topic"
        assert topic["choice"] == expected[row["text"]]["topic"]["choice"]
        assert topic["score"] is None
        assert [each["option"] for each in topic["probabilities"]] == list(
            QUESTIONS["topic"]["criteria"]
        )
        assert same(urgency["score"], expected[row["text"]]["urgency"]["score"])


def test_questions_of_a_column(model: Model, run: Run) -> None:
    rows = [{"text": "Hello", "asked": json.dumps(questions("german")), "seen": None}]
    columns = {"state": "text", "questions": "asked", "assets": "seen"}
    (row,) = run(rows, pipeline("decision", model("llama-lm"), input=columns))
    (answer,) = row["answers"]
    assert 0 < answer["noul"] < 1


def test_assets_come_in_any_form(model: Model, run: Run, tmp_path: Path) -> None:
    PICTURES[0].save(tmp_path / "0.png")
    data = png(PICTURES[0])
    forms = [
        PICTURES[0],
        data,
        (tmp_path / "0.png").as_uri(),
        {"bytes": data, "path": None},
        {"type": "image", "format": "png", "data_base64": base64.b64encode(data).decode()},
    ]
    asked = [
        {"state": "Look: pic", "questions": questions("topic"), "assets": {"pic": form}}
        for form in forms
    ]
    found = run(asked, pipeline("decision", model("llava-bos")))
    assert len({repr(result.inference) for result in found}) == 1


def test_a_bad_request_says_what_is_wrong(model: Model, run: Run) -> None:
    bad = {"state": "a", "questions": {"q": {"type": "chioce"}}}
    with pytest.raises(ElementError, match="`type` must be one of noul, choice, score"):
        run([bad], pipeline("decision", model("llama-lm")))
    with pytest.raises(ElementError, match=r"unknown input 'question'.*questions"):
        run([{"state": "a", "question": {}}], pipeline("decision", model("llama-lm")))
