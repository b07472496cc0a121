"""The counts of worker processes, while they work."""

from __future__ import annotations

import os
import time
from pathlib import Path

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


def test_counts_are_added_and_set_to_zero() -> None:
    total = metrics.Counts(read=1, busy=0.5) + metrics.Counts(read=2, failed=1)
    assert total == metrics.Counts(read=3, failed=1, busy=0.5)
    metrics.counts().batches = 4
    metrics.reset()
    assert metrics.counts() == metrics.Counts()
