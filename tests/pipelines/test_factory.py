"""Building pipelines: several threads at once, each with its own dtype."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from transforms.options.spec import ModelSpec
from transforms.pipelines import patches
from transforms.pipelines.construction_lock import computing
from transforms.pipelines.errors import ModelLoadError
from transforms.pipelines.factory import load, weightless

Model = Callable[[str], str]


def _spec(directory: str, dtype: str) -> ModelSpec:
    return ModelSpec(task="text-classification", source=directory, dtype=dtype, device="cpu")


def _dtypes(pipe: object) -> set[torch.dtype]:
    return {parameter.dtype for parameter in pipe.model.parameters()}  # type: ignore[attr-defined]


def test_models_built_at_once_are_of_one_dtype_each(model: Model) -> None:
    directory = model("bert-classification")
    names = ["bfloat16", "float32"] * 10

    def build(i: int) -> set[torch.dtype]:
        return _dtypes((load if i % 3 else weightless)(_spec(directory, names[i])))

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(build, range(len(names))))
    assert found == [{getattr(torch, name)} for name in names]
    assert torch.get_default_dtype() == torch.float32


def test_nobody_computes_while_the_default_dtype_is_another(model: Model) -> None:
    directory = model("bert-classification")
    stop = threading.Event()
    seen: set[torch.dtype] = set()

    def compute() -> None:
        while not stop.is_set():
            with computing:
                seen.update(torch.zeros(1).dtype for _ in range(100))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        for _ in range(10):
            load(_spec(directory, "bfloat16"))
    finally:
        stop.set()
        thread.join()
    assert seen == {torch.float32}


def test_who_computes_may_construct_a_model(model: Model) -> None:
    directory = model("bert-classification")
    patches.install()  # as the first model of ours does
    done = []

    def build() -> None:
        with computing:
            AutoModel.from_pretrained(directory, dtype=torch.bfloat16)
            done.append(torch.zeros(1).dtype)

    threads = [threading.Thread(target=build, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [torch.float32] * 2


def test_an_error_while_a_model_is_constructed_lets_others_go_on() -> None:
    with (
        pytest.raises(RuntimeError),
        computing.constructing(),
        computing.excluded(),
        computing.constructing(),
        computing.excluded(),
    ):
        raise RuntimeError
    with computing:
        pass


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_both_pipelines_agree_on_the_dtype_of_a_model_that_does_not_say(
    model: Model, tmp_path: Path, dtype: str
) -> None:
    directory = shutil.copytree(model("bert-classification"), tmp_path / "model")
    AutoModelForSequenceClassification.from_pretrained(
        directory, dtype=torch.bfloat16
    ).save_pretrained(directory)
    config = json.loads((directory / "config.json").read_text())
    del config["dtype"]
    (directory / "config.json").write_text(json.dumps(config))
    spec = _spec(str(directory), dtype)
    expected = torch.bfloat16 if dtype == "auto" else torch.float32
    assert _dtypes(weightless(spec)) == _dtypes(load(spec)) == {expected}


@pytest.mark.parametrize("build", [load, weightless])
def test_a_directory_that_a_worker_lacks(
    build: Callable[[ModelSpec], Any], model: Model, tmp_path: Path
) -> None:
    """It was there when the pipeline was built, on another machine."""
    directory = tmp_path / "model"
    shutil.copytree(model("bert-classification"), directory)
    spec = ModelSpec(task="text-classification", source=str(directory))
    shutil.rmtree(directory)
    with pytest.raises(
        ModelLoadError, match=r"has no directory '.*/model', which was there"
    ) as error:
        build(spec)
    assert socket.gethostname() in str(error.value)
