"""What all tests share: models built once, and Beam's in-process runner."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# Nothing is downloaded: a test that tries to fails at once instead of after retries.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Beam makes parsers of its options for each stage that it builds. Each of them looks for
# translations and asks how wide the terminal is: a tenth of the time of a small job.
os.environ.update(LANGUAGE="C", COLUMNS="80", LINES="24")
# Code of models' repositories is copied to where it is imported from.
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="modules-")
# What this machine took for the rows of a job is no matter of the user who runs the tests.
os.environ["PIPELINES_BEAM_CACHE"] = os.path.join(os.environ["HF_MODULES_CACHE"], "pipelines-beam")

import apache_beam as beam
import diffusers
import transformers
from cases import Case
from support import engine_processes, models, sink
from support.flink import built, cluster
from support.flink.cluster import Cluster
from support.runs import RUNNER

from transforms.tasks import ABSENT, find

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
diffusers.utils.logging.set_verbosity_error()

#: What shows that a built package is whole: its names, its commands and its jobs.
_OF_PACKAGE = {"test_public.py", "test_cli.py", "test_configs.py"}


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "only what a built package has to show: imports, commands, jobs, one case for each task"
    parser.addoption("--package", action="store_true", help=text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--package"):
        return
    chosen = {_shows(item): item for item in reversed(items)}
    chosen.pop(None, None)
    kept = [item for item in items if chosen.get(_shows(item)) is item]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _shows(item: pytest.Item) -> str | None:
    """What a test shows of a package: itself; the first case of a task stands for the task."""
    if item.path.name in _OF_PACKAGE:
        return item.nodeid
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    if item.get_closest_marker("slow") or not {"batch", "order"} <= parameters.keys():
        return None
    task = getattr(parameters.get("case"), "task", None)
    return None if task is None or task in ABSENT else find(task).name


@pytest.fixture(scope="session", autouse=True)
def _modules() -> Iterator[None]:
    yield
    shutil.rmtree(os.environ["HF_MODULES_CACHE"])


@pytest.fixture(scope="session", autouse=True)
def _engine_processes() -> Iterator[None]:
    with engine_processes.forked():
        yield


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """The command line, run in this process, mutes what all others log."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def _kept_model() -> Iterator[None]:
    """`predict` keeps its model for the next call: other tests count the engines that run."""
    yield
    kept = sys.modules.get("pipelines_beam.kept_engine")
    if kept is not None:
        kept.release_model()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The directory of a tiny model, by name."""
    root = tmp_path_factory.mktemp("models")
    return lambda name: str(models.build(name, root))


@pytest.fixture(scope="session")
def reference(model: Callable[[str], str]) -> Callable[[Case], list[Any]]:
    """The answers that a case must give, computed once."""

    @functools.cache
    def answers(case: Case) -> list[Any]:
        with case.around():
            return case.reference(model)

    return answers


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Flink cluster of two TaskManagers with a slot each."""
    missing = built.missing_tools()
    if not missing and not built.is_built():
        missing = "make flink-test builds the cluster first"
    if missing:  # CI has what it needs
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with cluster.running(tmp_path_factory.mktemp("flink")) as started:
        yield started


@pytest.fixture
def engine() -> Iterator[Callable[..., Any]]:
    """What makes engines in processes of their own, each of an EngineSpec; closed at the end."""
    with engine_processes.remotes() as make:
        yield make


@pytest.fixture
def run() -> Iterator[Callable[..., list[Any]]]:
    """Run elements through a transform in this process; returns what comes out, in any order."""

    def run(elements: list[Any], transform: beam.PTransform, *more: beam.PTransform) -> list[Any]:
        sink.collected.clear()
        with beam.Pipeline(RUNNER) as p:
            pcoll = p | beam.Create(elements, reshuffle=False) | transform
            for step in more:
                pcoll = pcoll | step
            pcoll | beam.Map(sink.collect)
        return list(sink.collected)

    yield run
    sink.collected.clear()


@pytest.fixture
def refusal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """What is said of a command that must be refused: with status 2, and without running."""
    from pipelines_beam import cli
    from pipelines_beam.commands import statuses

    monkeypatch.setattr(beam.Pipeline, "run", lambda *args, **kwargs: pytest.fail("it ran"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))

    def refusal(*args: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            raise SystemExit(cli.main(args))
        assert exit_.value.code == statuses.REFUSED
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said

    return refusal
