"""Jobs whose workers share an engine in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from support import sink
from support.comparing import same
from support.engine_processes import Watch, gone
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import TextClassification
from transforms.stages import metrics


def _predictions(path: Path) -> list[tuple[str, str, float]]:
    table = pq.read_table(sorted(path.parent.glob(f"{path.name}*")))
    return sorted(
        zip(*(table[name].to_pylist() for name in ("text", "label", "score")), strict=True)
    )


@pytest.mark.slow
def test_worker_processes_share_one_model(model: Callable[[str], str], tmp_path: Path) -> None:
    directory = model("bert-classification")
    texts = [CORPUS[i % len(CORPUS)] for i in range(2000)]

    def job(name: str, *options: str) -> None:
        with beam.Pipeline(RUNNER, PipelineOptions(list(options))) as p:
            (
                p
                | beam.Create([beam.Row(text=text) for text in texts])
                | TextClassification(directory, input="text")
                | beam.io.WriteToParquet(str(tmp_path / name))
            )

    job("one")
    with Watch() as watch:
        job("many", "--direct_running_mode=multi_processing", "--direct_num_workers=4")
        assert watch.most == 1
        assert len(watch.seen) == 1
    assert all(gone(pid) for pid in watch.seen)
    one, many = _predictions(tmp_path / "one"), _predictions(tmp_path / "many")
    assert len(one) == len(many) == 2000
    for a, b in zip(one, many, strict=True):
        assert a[:2] == b[:2]
        assert a[2] == pytest.approx(b[2], abs=1e-5)


@pytest.mark.slow
def test_a_job_answers_everything_once_though_its_engine_is_killed_ten_times(
    model: Callable[[str], str],
) -> None:
    directory = model("bert-classification")
    count = 10_000
    pairs = [(i, f"{CORPUS[i % len(CORPUS)][:60]} {i}") for i in range(count)]
    chance = random.Random(1)
    killed: list[int] = []

    def answers(**options: Any) -> tuple[list[Any], Any]:
        sink.collected.clear()
        with beam.Pipeline(RUNNER) as p:
            task = TextClassification(directory, keyed=True, device="cpu", **options)
            p | beam.Create(pairs, reshuffle=False) | task | beam.Map(sink.collect)
        return sorted(sink.collected, key=lambda pair: pair[0]), p.result

    def kill(watch: Watch) -> None:
        counts = metrics.counts()
        while len(killed) < 10:
            target = counts.answered + chance.randrange(20, 500)
            while counts.answered < target:
                time.sleep(0.002)
            while not (pids := watch.now()):  # the next one is about to start
                time.sleep(0.01)
            (pid,) = pids
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            gone(pid)

    expected, _ = answers(share="process")
    metrics.reset()
    with Watch() as watch:
        killer = threading.Thread(target=kill, args=(watch,), daemon=True)
        killer.start()
        found, result = answers(share="machine")
        killer.join(60)
    assert len(set(killed)) == 10
    assert [key for key, _ in found] == list(range(count))
    for (_, one), (_, other) in zip(expected, found, strict=True):
        assert one.example == other.example
        assert same(one.inference, other.inference)
    named = MetricsFilter().with_name("engine_restarts")
    (restarts,) = result.metrics().query(named)["counters"]
    assert restarts.committed == 10
