"""What is replaced in transformers: when, for whom, and that its own pipelines do not notice."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.comparing import same
from support.texts import CORPUS

from transforms.options.spec import ModelSpec
from transforms.pipelines import patches
from transforms.pipelines.factory import load, weightless
from transforms.pipelines.split_call import SplitPipeline

Model = Callable[[str], str]

_FRESH = """
import torch, transformers.pipelines
from transformers import modeling_utils, Pipeline
from transformers.modeling_utils import PreTrainedModel
def state():
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    owners = (transformers.pipelines, modeling_utils, PreTrainedModel, Pipeline)
    return threads, dtype, [dict(vars(owner)) for owner in owners]
before = state()
import pipelines_beam
for name in pipelines_beam.__all__:
    getattr(pipelines_beam, name)
pipelines_beam.TextClassification.__init__
after = state()
assert before[:2] == after[:2]
for old, new in zip(before[2], after[2]):
    changed = [name for name in old if old[name] is not new.get(name)]
    assert not changed, changed
"""


@pytest.mark.slow
def test_importing_the_package_replaces_nothing() -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FRESH],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=300,
    )


def _stock(directory: str) -> Any:
    return transformers.pipeline("text-classification", directory, device="cpu")


def _about(pipe: Any) -> Any:
    parts = (pipe, pipe.model, pipe.model.config, pipe.tokenizer)
    dtypes = {weight.dtype for weight in pipe.model.parameters()}
    return [type(part) for part in parts], dtypes, pipe.device


def test_stock_pipelines_load_and_answer_as_before(model: Model) -> None:
    directory = model("bert-classification")
    spec = ModelSpec(task="text-classification", source=directory, dtype="bfloat16", device="cpu")
    before = _stock(directory)
    right = [before(text) for text in CORPUS[:4]]
    classes = _about(before)
    found: list[Any] = []
    loading, done = threading.Event(), threading.Event()

    def stock() -> None:
        """In another thread while one of ours is loaded."""
        loading.wait(60)
        pipe = _stock(directory)
        found.append((_about(pipe), [pipe(text) for text in CORPUS[:4]]))
        done.set()

    thread = threading.Thread(target=stock, daemon=True)
    thread.start()
    with patches.recorded() as recorded:
        loading.set()
        ours = load(spec)
        assert done.wait(60)
    assert recorded == []  # those of `load` are its own, and those of another thread nobody's
    call = SplitPipeline(weightless(spec), {})
    call.preprocess(CORPUS[0])
    after = _stock(directory)
    found.append((_about(after), [after(text) for text in CORPUS[:4]]))
    for about, answers in found:
        assert about == classes
        assert same(answers, right)
    assert same([before(text) for text in CORPUS[:4]], right)
    assert {weight.dtype for weight in ours.model.parameters()} == {torch.bfloat16}
    assert type(call.pipe) is not type(after)  # ours alone is another class


def test_weights_are_tied_while_another_thread_constructs(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Constructing a model, transformers ties no weights of any model of the process."""
    directory = model("bart-nli")
    config = transformers.AutoConfig.from_pretrained(directory)
    inside, tied = threading.Event(), threading.Event()
    stock = transformers.BartForSequenceClassification.get_init_context

    def construct() -> None:
        with contextlib.ExitStack() as stack:
            for each in stock(torch.float32, False, False, None):
                stack.enter_context(each)
            inside.set()
            tied.wait(0.5)  # what is to be shown is that it is not until this has ended

    other = threading.Thread(target=construct)
    weights = transformers.PreTrainedModel._load_pretrained_model

    def then_construct(*args: Any, **kwargs: Any) -> Any:
        loaded = weights(*args, **kwargs)
        other.start()
        assert inside.wait(30)
        return loaded

    monkeypatch.setattr(
        transformers.PreTrainedModel, "_load_pretrained_model", staticmethod(then_construct)
    )
    spec = ModelSpec(task="zero-shot-classification", source=directory, device="cpu")
    pipe = load(spec)
    tied.set()
    other.join()
    assert config.tie_word_embeddings
    assert not [name for name, each in pipe.model.named_parameters() if each.is_meta]


def test_everything_is_replaced_once() -> None:
    patches.install()
    names = ("load_model", "pipeline")
    before = [getattr(transformers.pipelines, name) for name in names]
    patches.install()
    assert before == [getattr(transformers.pipelines, name) for name in names]


def test_only_one_file_replaces_what_is_transformers_own() -> None:
    folder = Path(patches.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name == "patches.py":
            continue
        text = path.read_text()
        for owner in ("transformers.pipelines.", "modeling_utils.", "PreTrainedModel."):
            for line in text.splitlines():
                left, assigned, _ = line.partition(" = ")
                assert not (assigned and left.strip().startswith(owner)), (path.name, line)
