"""A device that was named is the one that answers, or nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pytest
import torch
from support.runs import RUNNER

from pipelines_beam import ModelLoadError, TaskModelHandler, pipeline
from transforms.options.spec import ModelSpec
from transforms.pipelines.factory import load, weightless
from transforms.weights import devices

Model = Callable[[str], str]
ABSENT = [99, "cuda:99", "xpu:99"]


@pytest.mark.parametrize("device", ABSENT)
def test_a_model_is_not_loaded_elsewhere(model: Model, device: int | str) -> None:
    spec = ModelSpec(task="text-classification", source=model("bert-classification"), device=device)
    with pytest.raises(ModelLoadError, match=rf"device {device!r}: this worker has .*; None takes"):
        load(spec)


@pytest.mark.parametrize("device", ABSENT)
def test_stages_without_weights_need_no_device(model: Model, device: int | str) -> None:
    spec = ModelSpec(task="text-classification", source=model("bert-classification"), device=device)
    assert weightless(spec).device.type == "meta"


def test_a_job_on_a_device_that_is_not_there_ends(model: Model) -> None:
    transform = pipeline("text-classification", model("bert-classification"), device=99)
    with (
        pytest.raises(Exception, match=r"device 99: this worker has"),
        beam.Pipeline(RUNNER) as p,
    ):
        p | beam.Create(["a", "b"]) | transform.with_exception_handling()


def test_runinference_says_so_too(model: Model) -> None:
    handler = TaskModelHandler(
        task="text-classification", model=model("bert-classification"), device=99
    )
    with pytest.raises(ModelLoadError, match=r"device 99: this worker has"):
        handler.load_model()


def test_models_that_are_not_transformers_own_are_not_loaded_elsewhere(
    model: Callable[[str], str],
) -> None:
    spec = ModelSpec(task="text-to-image", source=model("sd-ddim"), device=99)
    with pytest.raises(ModelLoadError, match=r"device 99: this worker has"):
        load(spec)
    assert weightless(spec).device.type == "meta"


@pytest.mark.parametrize(
    ("kind", "count", "device", "said"),
    [
        (None, 0, 0, "no accelerator"),
        (None, 0, "mps", "no accelerator"),
        ("cuda", 1, 1, "cuda:0 alone"),
        ("cuda", 1, "xpu:0", "cuda:0 alone"),
        ("cuda", 4, "cuda:4", "cuda:0 to cuda:3"),
        ("mps", 1, "cuda", "mps:0 alone"),
    ],
)
def test_what_the_worker_has_is_said(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int, device: Any, said: str
) -> None:
    _pretend(monkeypatch, kind, count)
    with pytest.raises(ValueError, match=rf"device {device!r}: this worker has {said}; None takes"):
        devices.require_device(device)


@pytest.mark.parametrize(
    ("kind", "count", "device"),
    [
        *((None, 0, device) for device in (None, -1, "cpu")),
        *(("cuda", 2, device) for device in (None, -1, "cpu", 0, 1, "cuda", "cuda:1")),
        ("mps", 1, "mps"),
        ("xpu", 8, "xpu:7"),
    ],
)
def test_what_the_worker_has_is_taken(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int, device: Any
) -> None:
    _pretend(monkeypatch, kind, count)
    devices.require_device(device)


def _pretend(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int) -> None:
    def current(check_available: bool = False) -> Any:
        return None if kind is None else torch.device(kind)

    monkeypatch.setattr(torch.accelerator, "current_accelerator", current)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
