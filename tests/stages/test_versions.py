"""Workers have the versions of the process that built the pipeline, or say what differs."""

from __future__ import annotations

import importlib.metadata
import socket
from collections.abc import Callable, Iterator

import pytest

from pipelines_beam import TextClassification
from transforms.stages import versions
from transforms.stages.forward import ForwardFn
from transforms.stages.versions import WorkerVersionError


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    versions.here.cache_clear()
    yield
    versions.here.cache_clear()


def on_worker(monkeypatch: pytest.MonkeyPatch, **found: str) -> None:
    """From now on this process has other versions."""
    versions.here.cache_clear()
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: found.get(name) or real(name))


def test_each_difference_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    built_with = versions.here()
    on_worker(monkeypatch, torch="1.0+cpu", transformers="4.1")
    with pytest.raises(WorkerVersionError) as raised:
        versions.check(built_with)
    message = str(raised.value)
    assert message.startswith(f"the worker on {socket.gethostname()} has transformers 4.1, and ")
    assert f"torch 1.0, and the pipeline was built with {built_with['torch']}: " in message
    assert "apache-beam" not in message


def test_the_device_of_a_version_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    built_with = versions.here()
    on_worker(monkeypatch, torch=f"{built_with['torch']}+cu128")
    versions.check(built_with)


def test_a_package_that_is_not_installed_is_passed_over() -> None:
    versions.check({**versions.here(), "pipelines-beam": "not installed"})


def test_a_worker_of_another_version_loads_no_model(
    model: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fn = ForwardFn(TextClassification(model("bert-classification")).spec, False)
    on_worker(monkeypatch, **{"pipelines-beam": "0.0.9"})
    with pytest.raises(WorkerVersionError, match=r"has pipelines-beam 0\.0\.9, and the pipeline"):
        fn.setup()
