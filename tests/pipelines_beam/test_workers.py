"""How many worker processes a job on this machine has, and what happens when one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import ImageClassification, TextClassification, machine
from pipelines_beam.io import process_files
from pipelines_beam.workers import LocalPipeline, use_cores

Model = Callable[[str], str]


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an accelerator, 16 cores and 128 GB."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(machine, "cores", lambda: 16)
    monkeypatch.setattr(machine, "memory", lambda: 128_000_000_000)


def texts(model: Model, **options: Any) -> TextClassification:
    return TextClassification(model("bert-classification"), **options)


def images(model: Model) -> ImageClassification:
    return ImageClassification(model("vit-classification"))


def chosen(*transforms: Any, **options: Any) -> tuple[int, str]:
    """What is chosen for a pipeline of these transforms."""
    pipeline = beam.Pipeline(RUNNER, PipelineOptions([], **options))
    inputs = pipeline | beam.Create(["one"])
    for i, each in enumerate(transforms):
        _ = inputs | str(i) >> each
    count = use_cores(pipeline)
    direct = pipeline.options.view_as(DirectOptions)
    assert direct.direct_num_workers == count
    return count, direct.direct_running_mode


def test_on_cpus_one_process_is_best(model: Model) -> None:
    assert chosen(texts(model)) == (1, "in_memory")


@pytest.mark.usefixtures("accelerator")
class TestWithAnAccelerator:
    def test_texts_are_prepared_by_some_cores(self, model: Model) -> None:
        assert chosen(texts(model)) == (8, "multi_processing")

    def test_media_are_prepared_by_all_but_that_of_the_engine(self, model: Model) -> None:
        assert chosen(images(model)) == (15, "multi_processing")
        assert chosen(images(model), texts(model)) == (15, "multi_processing")

    def test_tables_and_failures_count_too(self, model: Model) -> None:
        handled = texts(model).with_exception_handling()
        assert chosen(handled) == (8, "multi_processing")

    def test_models_on_cpus_stay_in_one_process(self, model: Model) -> None:
        assert chosen(texts(model, device="cpu")) == (1, "in_memory")
        assert chosen(images(model), texts(model, device="cpu")) == (1, "in_memory")

    def test_without_a_model_one_process_is_enough(self) -> None:
        assert chosen(beam.Map(str)) == (1, "in_memory")

    def test_what_is_set_stays(self, model: Model) -> None:
        two = {"direct_num_workers": 2, "direct_running_mode": "multi_threading"}
        assert chosen(texts(model), **two) == (2, "multi_threading")

    def test_memory_is_a_limit(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "memory", lambda: 8_000_000_000)
        assert chosen(images(model)) == (4, "multi_processing")
        monkeypatch.setattr(machine, "memory", lambda: 1_000_000_000)
        assert chosen(images(model)) == (1, "in_memory")

    def test_local_pipelines_run_so(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[int] = []
        run = beam.Pipeline.run

        def noted(pipeline: beam.Pipeline, *args: Any, **kwargs: Any) -> Any:
            direct = pipeline.options.view_as(DirectOptions)
            seen.append(direct.direct_num_workers)
            direct.direct_num_workers, direct.direct_running_mode = 1, "in_memory"
            return run(pipeline, *args, **kwargs)

        monkeypatch.setattr(beam.Pipeline, "run", noted)
        with LocalPipeline() as p:
            _ = p | beam.Create([]) | texts(model)
        assert seen == [8]


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_job_which_is_resumed(model: Model, tmp_path: Path) -> None:
    rows = [{"text": CORPUS[i % len(CORPUS)]} for i in range(4000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=100)
    task = texts(model, input="text", truncation=True)
    files, output = str(tmp_path / "in.parquet"), tmp_path / "out"
    options = PipelineOptions(
        [], runner=RUNNER, direct_running_mode="multi_processing", direct_num_workers=2
    )
    killed = threading.Event()

    def kill() -> None:
        while not (children := _workers()) or not list(output.glob("part-*")):
            time.sleep(0.05)
        os.kill(children[-1], signal.SIGKILL)
        killed.set()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(RuntimeError, match=r"worker process \d+ was killed \(SIGKILL\)"):
        process_files(files, task, str(output), options=options, rows_per_shard=100)
    assert killed.is_set()
    assert not _workers()

    there = len(list(output.glob("part-*")))
    done = process_files(files, task, str(output), resume=True)
    assert done.skipped == there > 0
    assert pq.read_table(output).num_rows == len(rows)


def _workers() -> list[int]:
    """The worker processes of this process."""
    command = ["pgrep", "-P", str(os.getpid()), "-f", "sdk_worker_main"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return list(map(int, found.stdout.split()))
