"""Promise 1 for decisions: the answer is transformers' own, in any batch and any order."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from cases import BATCHES, COMPOSED, arranged
from support import models
from support.comparing import same
from support.files import png
from support.models import text as text_models
from support.models.audio import fill
from support.models.text import LLAMA
from support.pictures import PICTURES
from support.texts import CORPUS

from pipelines_beam import ElementError, pipeline
from transforms.tasks import ABSENT

Run = Callable[..., list[Any]]
Model = Callable[[str], str]

pytestmark = pytest.mark.skipif(
    "decision" in ABSENT, reason="the installed transformers does not have the task"
)

QUESTIONS: dict[str, Any] = {
    "german": {"type": "noul", "instructions": "Is it German?"},
    "topic": {
        "type": "choice",
        "instructions": "What is it about?",
        "criteria": {"weather": "rain and sun", "travel": None, "war": None, "food": "or drink"},
    },
    "urgency": {"type": "score", "criteria": ["Can wait", "This week", "Today"]},
}


def questions(*names: str) -> dict[str, Any]:
    return {name: QUESTIONS[name] for name in names}


REQUESTS: list[Any] = [
    *({"state": text, "questions": QUESTIONS} for text in CORPUS[20:24]),
    *({"state": text, "questions": questions("topic")} for text in CORPUS[3:8]),
    {"state": {"text": CORPUS[8], "stars": 4}, "questions": questions("urgency", "german")},
    json.dumps({"state": CORPUS[9], "questions": questions("topic", "german")}),
]
SEEN: list[Any] = [
    *(
        {"state": f"Look: pic-{i}", "questions": QUESTIONS, "assets": {f"pic-{i}": PICTURES[i]}}
        for i in range(4)
    ),
    {"state": CORPUS[3], "questions": questions("topic")},
]


def jev(directory: Path) -> None:
    """A decision model: the options are scored by a head of its own."""
    tokenizer = text_models.llama_tokenizer(directory)
    from transformers.models.jev.configuration_jev import JEV_TEMPLATE

    config = transformers.JevConfig(
        hidden_size=LLAMA["hidden_size"],
        text_config=transformers.LlamaConfig(
            vocab_size=len(tokenizer), **{**LLAMA, "max_position_embeddings": 256}
        ),
        softcap=5.0,
    )
    with torch.random.fork_rng(devices=[]):
        model = transformers.JevForDecision(config)
    fill(model, "jev", {"proj": 2.0})
    model.decision_config = transformers.DecisionConfig(
        chat_template=JEV_TEMPLATE, temperature={"choice": 0.5}, noul_options=["false", "true"]
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def head_beside(directory: Path) -> None:
    """A chat model's repository with a decision head beside its weights."""
    from safetensors.torch import save_file

    tokenizer = text_models.llama_tokenizer(directory)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer), **{**LLAMA, "max_position_embeddings": 256}
    )
    with torch.random.fork_rng(devices=[]):
        model = transformers.Qwen2ForCausalLM(config)
    fill(model, "head-beside", {})
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    told = {"codes": list("ABCDEF"), "temperature": 0.7, "prompt": "d3"}
    (directory / "decision_config.json").write_text(json.dumps(told))
    numbers = torch.Generator().manual_seed(3)
    save_file(
        {
            "proj.weight": torch.randn(6, LLAMA["hidden_size"], generator=numbers),
            "proj.bias": torch.zeros(6),
        },
        directory / "head.safetensors",
        metadata={"format": "pt"},
    )


def seeing(directory: Path) -> None:
    """Its chat template begins with the token that begins a text, as the task wants it."""
    models.MODELS["llava"](directory)
    template = directory / "chat_template.jinja"
    template.write_text("{{ bos_token }}" + template.read_text())


if "decision" not in ABSENT:
    models.MODELS.update({"jev": jev, "head-beside": head_beside, "llava-bos": seeing})
CASES = [("llama-lm", REQUESTS), ("jev", REQUESTS), ("head-beside", REQUESTS), ("llava-bos", SEEN)]


@pytest.fixture(scope="module")
def oracle(model: Model) -> Callable[[str, list[Any]], list[Any]]:
    known: dict[str, list[Any]] = {}

    def answers(name: str, requests: list[Any]) -> list[Any]:
        if name not in known:
            pipe = transformers.pipeline("decision", model(name), device="cpu")
            known[name] = [pipe(copy.deepcopy(request)) for request in requests]
        return known[name]

    return answers


@pytest.mark.parametrize(("batch", "order"), COMPOSED)
@pytest.mark.parametrize(("name", "requests"), CASES, ids=[name for name, _ in CASES])
def test_the_answer_is_transformers_own(
    name: str, requests: list[Any], batch: str, order: str, model: Model, oracle: Any, run: Run
) -> None:
    expected = oracle(name, requests)
    elements = arranged(requests, order)
    transform = pipeline("decision", model(name), keyed=True, batch_size=BATCHES[batch])

    found = dict(run(elements, transform))

    assert found.keys() == set(range(len(expected)))
    for i, answer in enumerate(expected):
        assert same(answer, found[i].inference), (answer, found[i].inference)
    assert len({repr(answer) for answer in expected}) == len(expected)


def test_the_settings_are_those_of_the_model(model: Model) -> None:
    """Else the test above could pass with the defaults on both sides."""
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
