"""The cases of decisions, and their models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import transformers
from support.models.audio import fill
from support.models.multimodal import MODELS as MULTIMODAL_MODELS
from support.models.text import LLAMA, llama_tokenizer
from support.pictures import PICTURES
from support.texts import CORPUS

from cases.case import Case
from transforms.tasks import ABSENT

needs_decision = pytest.mark.skipif(
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
    tokenizer = llama_tokenizer(directory)
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

    tokenizer = llama_tokenizer(directory)
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
    MULTIMODAL_MODELS["llava"](directory)
    template = directory / "chat_template.jinja"
    template.write_text("{{ bos_token }}" + template.read_text())


MODELS: dict[str, Callable[[Path], None]] = (
    {"jev": jev, "head-beside": head_beside, "llava-bos": seeing}
    if "decision" not in ABSENT
    else {}
)


@dataclass(frozen=True, eq=False)
class DecisionCase(Case):
    """No two answers are the same."""

    inputs: Sequence[Any] = tuple(REQUESTS)
    largest: int = 0

    marks: ClassVar[Sequence[Any]] = (needs_decision,)
    different: ClassVar[float] = 1.0


CASES = [
    DecisionCase("decision", "llama-lm"),
    DecisionCase("decision", "jev"),
    DecisionCase("decision", "head-beside"),
    DecisionCase("decision", "llava-bos", inputs=SEEN),
]
