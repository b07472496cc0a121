"""One engine for all that may share it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.doubles import Doubles
from support.engine_processes import spec

from transforms.engine import registry
from transforms.engine.engine import Engine


@pytest.fixture(autouse=True)
def _left() -> Iterator[None]:
    before = registry.running()
    yield
    assert registry.running() == before


def test_users_of_a_model_share_an_engine_until_the_last_has_gone() -> None:
    same = spec(Doubles, share="process")
    engine, release = registry.acquire(same)
    again, release_again = registry.acquire(same)
    other, release_other = registry.acquire(dataclasses.replace(same, identity="other"))
    assert again is engine
    assert other is not engine
    release()
    session = engine.session({})
    session.submit("token", [3])
    assert session.answered.get(timeout=60).outputs == [6]
    release_other()
    release_again()
    assert isinstance(engine, Engine)
    assert not engine._thread.is_alive()


def test_an_engine_that_has_failed_is_replaced() -> None:
    loads: list[int] = []

    def load() -> Doubles:
        loads.append(1)
        if len(loads) == 1:
            raise OSError("not now")
        return Doubles()

    same = spec(load, share="process")
    first, release = registry.acquire(same)
    session = first.session({})
    session.submit("token", [3])
    assert "not now" in str(session.answered.get(timeout=60).error)
    assert first.dead
    second, release_second = registry.acquire(same)
    assert second is not first
    session = second.session({})
    session.submit("token", [3])
    assert session.answered.get(timeout=60).outputs == [6]
    release()
    release_second()


@pytest.mark.parametrize(
    ("sharing", "accelerated", "own_process"),
    [
        ({"share": "process"}, True, True),
        ({"share": "process"}, False, False),
        ({"share": "machine"}, False, True),
        ({"share": "auto", "processes": 1}, False, False),
        ({"share": "auto", "processes": 1}, True, True),
        ({"share": "auto", "processes": 4}, False, True),
        ({"share": "auto", "processes": 1, "timeout": 60.0}, False, True),
    ],
)
def test_where_an_engine_runs(
    sharing: dict[str, Any], accelerated: bool, own_process: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    found = dataclasses.replace(spec(Doubles, **sharing), accelerated=accelerated)
    assert registry.on_machine(found) is own_process


@pytest.mark.parametrize(
    ("devices", "replicated", "count"), [(1, True, 1), (3, True, 3), (3, False, 1)]
)
def test_each_accelerator_has_a_replica_unless_one_is_named(
    devices: int, replicated: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    found = registry._replicas(dataclasses.replace(spec(dict), replicated=replicated))
    assert len({each.identity for each in found}) == len(found) == count
    if count > 1:
        loads = [each.load for each in found]
        assert [load.keywords for load in loads if isinstance(load, functools.partial)] == [
            {"device": device} for device in range(count)
        ]


def test_cores_are_divided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [8]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    registry._threads.cache_clear()
    for _ in range(3):
        registry._in_process(spec(share="process", processes=4))
    registry._threads.cache_clear()
    assert threads == [8, 2, 2, 2]
