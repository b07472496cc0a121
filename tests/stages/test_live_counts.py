"""The counts of worker processes, while they work."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import fsspec
import pytest
from apache_beam.options.value_provider import RuntimeValueProvider
from support.commands import processes

from transforms.stages import live_counts, metrics


def work(folder: str) -> None:
    """What a worker process does: its counts change, and it goes on."""
    # It is forked from a process that is older than the variable.
    os.environ[live_counts._FOLDER] = folder
    live_counts._published = None
    live_counts.publish()
    metrics.counts().answered = 7
    while Path(folder).is_dir():
        time.sleep(0.05)


def test_counts_of_another_process_are_seen_while_it_works(tmp_path: Path) -> None:
    folder = tmp_path / "counts"
    folder.mkdir()
    with live_counts.collected(str(folder)):
        live_counts.publish()  # this process is asked directly
        process = processes().Process(target=work, args=(str(folder),))
        process.start()
    until = time.monotonic() + 120
    while not live_counts.of_other_processes(str(folder)).answered:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert live_counts.of_other_processes(str(folder)).answered == 7
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    process.join(10)
    assert process.exitcode == 0


def test_a_worker_of_a_cluster_finds_the_folder_in_the_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be in an object store, and its counts are then seen, too."""
    folder = "memory://counts"

    def name() -> str:  # one process stands for two: its thread that writes is the other's
        is_worker = threading.current_thread().name == "live counts"
        return "other-1.json" if is_worker else "driver-1.json"

    monkeypatch.setattr(live_counts, "_STORE_INTERVAL", 0.01)
    monkeypatch.setattr(live_counts, "_file_name", name)
    monkeypatch.setattr(live_counts, "_published", None)
    monkeypatch.setattr(metrics, "_counts", metrics.Counts(answered=3))
    monkeypatch.setattr(RuntimeValueProvider, "runtime_options", {live_counts.OPTION: folder})
    fsspec.filesystem("memory").makedirs("counts", exist_ok=True)
    live_counts.publish()
    until = time.monotonic() + 120
    while not live_counts.of_other_processes(folder).answered:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert live_counts.of_other_processes(folder).answered == 3


def test_counts_are_added_and_set_to_zero() -> None:
    total = metrics.Counts(read=1, busy=0.5) + metrics.Counts(read=2, failed=1)
    assert total == metrics.Counts(read=3, failed=1, busy=0.5)
    metrics.counts().batches = 4
    metrics.reset()
    assert metrics.counts() == metrics.Counts()
