"""What is given back between batches, and how often."""

from __future__ import annotations

import gc
import time
import weakref
from types import SimpleNamespace

import pytest

from transforms.engine import allocator


def test_memory_is_trimmed_at_most_once_in_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    trims: list[float] = []
    monkeypatch.setattr(allocator, "trim", lambda: trims.append(now))
    memory = allocator.FreedMemory(accelerated=False)
    for _ in range(60):
        memory.after_batch(now)
        now += 0.5
    assert trims == [100.0, 110.5, 121.0]


def test_a_full_collection_runs_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    generations: list[int] = []
    monkeypatch.setattr(allocator, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(allocator, "gc", SimpleNamespace(collect=generations.append))
    memory = allocator.FreedMemory(accelerated=False)
    for _ in range(6):
        memory.after_failure()
        now += 0.4
    assert generations == [2, 1, 1, 2, 1, 1]


class Large:
    """What a frame holds."""


def test_frames_of_an_error_and_of_its_causes_let_go_of_what_they_hold() -> None:
    held: list[weakref.ref[Large]] = []

    def fail() -> None:
        tensor = Large()
        held.append(weakref.ref(tensor))
        raise ValueError("no")

    def wrap() -> None:
        tensor = Large()
        held.append(weakref.ref(tensor))
        try:
            fail()
        except ValueError as error:
            raise RuntimeError("it fails") from error

    with pytest.raises(RuntimeError) as raised:
        wrap()
    assert all(each() is not None for each in held)
    allocator.clear_frames(raised.value)
    assert all(each() is None for each in held)
    assert len(held) == 2


def test_objects_are_kept_out_of_collections_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[float] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(time.perf_counter()))
    monkeypatch.setattr(gc, "get_freeze_count", lambda: len(frozen))
    assert [allocator.load_outside_gc(lambda: "model") for _ in range(3)] == ["model"] * 3
    assert len(frozen) == 1
