"""How long an engine's thread works for each batch."""

from __future__ import annotations

import time

from transforms.engine.host_time import HostTime


def _work(seconds: float) -> str:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return "done"


def test_work_counts_and_neither_sleep_nor_what_waits_for_the_device() -> None:
    host = HostTime()
    _work(0.02)
    time.sleep(0.05)
    assert host.wait(lambda: _work(0.05)) == "done"
    assert 0.02 <= host.lap() < 0.04
    assert host.lap() < 0.01


def test_looks_at_a_device_that_is_at_work_do_not_count() -> None:
    host = HostTime()
    for _ in range(5):
        host.looks()
        _work(0.02)
    host.looks()
    assert host.lap() < 0.01
    host.looks()
    host.works()
    _work(0.02)
    host.looks()
    assert 0.02 <= host.lap() < 0.04
