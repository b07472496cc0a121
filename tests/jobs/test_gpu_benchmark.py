"""The benchmark for GPUs, tried with tiny models on the CPU, and how it makes rates of answers."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.paths import BENCHMARKS

pytestmark = pytest.mark.skipif(
    not BENCHMARKS.exists(), reason="the source distribution has no benchmarks"
)


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *files: list[str]) -> Any:
    for i, lines in enumerate(files):
        (tmp_path / str(i)).write_text("".join(f"{line}\n" for line in lines))
    return benchmark("gpu_progress", monkeypatch).figures(tmp_path)


def test_a_rate_is_that_of_all_processes_between_start_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow start, 20 rows a second by two processes together, and one row that comes late.
    first = ["90 rows 10", *(f"{100 + i} rows 10" for i in range(1, 10)), "500 rows 1"]
    second = [f"{100 + i} rows 10" for i in range(1, 10)]
    found = figures(tmp_path, monkeypatch, first, second)
    assert found.rows == 191
    assert found.rate == pytest.approx(20, rel=0.1)


def test_padding_and_idle_time_are_those_of_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [f"{i} rows 10" for i in range(1, 21)]
    batches = [f"{i}.5 batch 10 100 95 0.9 0.1" for i in range(5, 19)]
    found = figures(tmp_path, monkeypatch, answers, ["1 batch 10 100 10 0.1 50", *batches])
    assert (found.padding, found.busy, found.rows_in_batch) == pytest.approx((0.05, 0.9, 10))


def test_answers_that_come_all_at_once_make_no_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = figures(tmp_path, monkeypatch, [f"50.00{i} rows 512" for i in range(4)])
    assert (found.rows, found.rate) == (2048, None)


def test_what_is_measured_as_a_whole_counts_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert figures(tmp_path, monkeypatch, ["10 start", "14 rows 30", "15 rows 70"]).rate == 20


def test_the_most_telling_ways_come_first_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = benchmark("gpu", monkeypatch)
    kinds = ["ready", "loop", "DataLoader", "ours", "tables", "pipeline"]
    order = gpu.plan(list(gpu.WORKLOADS), kinds, 16)
    assert order[:5] == [
        ("bert", way) for way in ("ready", "loop", "ours 1", "ours 16", "tables 16")
    ]
    assert len(set(order)) == len(order)
    assert ("bert", "ours 4") in order
    assert ("bert", "ours 4") not in gpu.plan(["bert"], kinds, 2)


@pytest.mark.slow
def test_each_kind_of_way_has_a_rate(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(BENCHMARKS / "gpu.py"), "--device", "cpu"]
    command += ["--small", "--only", "bert", "--ways", "ready,loop,ours,pipeline", "--workers", "1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=500)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    measured = {each["way"]: each for each in lines if "way" in each}
    assert set(measured) == {"ready", "loop", "ours 1", *(f"pipeline {n}" for n in (1, 32, 256))}
    for each in measured.values():
        assert each["rate"] > 0, done.stderr
        assert each["device"]
    assert 0 <= measured["ours 1"]["padding"] < 0.5
    assert "| ours 1 |" in done.stdout
