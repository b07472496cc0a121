"""max_device_memory: what it may be, and that tasks that share memory answer as before."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import torch
from safetensors.torch import save_file
from support.texts import CORPUS

from pipelines_beam import FillMask, TextClassification
from transforms.stages.engines import engine_spec
from transforms.stages.metrics import StageMetrics
from transforms.weights import headers

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


@pytest.mark.parametrize("share", ["process", pytest.param("machine", marks=pytest.mark.slow)])
def test_two_tasks_take_turns_and_answer_as_before(
    model: Model, run: Run, monkeypatch: pytest.MonkeyPatch, share: str
) -> None:
    names = [model("bert-classification"), model("distilbert-classification")]
    sizes = [headers.weight_bytes(name, None, "auto") for name in names]
    assert None not in sizes
    loads: list[int] = []
    # What engines tell of loads, those in processes of their own, too.
    monkeypatch.setattr(StageMetrics, "_add_load", lambda _, report: loads.append(report.nbytes))

    def answers(**options: Any) -> list[Any]:
        tasks = [
            f"Task{i}"
            >> TextClassification(
                name, input="text", output=f"found{i}", device="cpu", share=share, **options
            )
            for i, name in enumerate(names)
        ]
        rows = [beam.Row(id=i, text=text) for i, text in enumerate(CORPUS[:40])]
        found = run(rows, *tasks)
        found.sort(key=operator.attrgetter("id"))
        return [(row.id, row.found0.label, row.found1.label) for row in found]

    together = answers()
    loads.clear()
    assert answers(max_device_memory=max(filter(None, sizes)) + 1000) == together
    assert 2 <= len(loads) <= 4
    assert len(set(loads)) == 2


def test_the_size_of_weights_is_known_from_their_files(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(10, 3), "b": torch.zeros(4, dtype=torch.int64)}
    save_file(tensors, tmp_path / "model.safetensors")
    assert headers.weight_bytes(str(tmp_path), None, "auto") == 30 * 4 + 4 * 8
    assert headers.weight_bytes(str(tmp_path), None, "float32") == 30 * 4 + 4 * 8
    assert headers.weight_bytes(str(tmp_path), None, "bfloat16") == 30 * 2 + 4 * 8
    save_file(tensors, tmp_path / "other.safetensors")  # which of them is loaded?
    assert headers.weight_bytes(str(tmp_path), None, "auto") is None


def test_it_is_not_known_of_other_files_and_of_uris(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    for name in (str(tmp_path), "gs://bucket/models/bert"):
        assert headers.weight_bytes(name, None, "auto") is None
    assert headers.saved_dtype(str(tmp_path)) == torch.float32


def test_that_of_a_model_is_what_it_takes(model: Model) -> None:
    task = TextClassification(model("bert-classification"), device="cpu", max_device_memory="1GB")
    spec = engine_spec(task.spec)
    assert spec.nbytes is not None
    assert spec.load().nbytes == pytest.approx(spec.nbytes, rel=0.01)


def test_a_model_that_never_fits_is_refused_when_the_pipeline_is_built(model: Model) -> None:
    name = model("bert-classification")
    with pytest.raises(ValueError, match=r"take .* kB, more than max_device_memory=10.0 kB"):
        TextClassification(name, max_device_memory="10kB")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_device_memory": "much"}, "max_device_memory must be a number of bytes.*'much'"),
        (
            {"max_device_memory": "1GB", "watch_model_pattern": "x*"},
            "max_device_memory: a model that is updated is loaded beside the one before",
        ),
    ],
)
def test_values_that_cannot_be(model: Model, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FillMask(model("bert-mlm"), **options)
