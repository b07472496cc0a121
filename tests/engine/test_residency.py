"""Models that share memory take turns: within the limit, with right answers, not too often."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.doubles import Doubles
from support.engine_processes import ask, remotes, right, spec
from support.troubled import Troubled

from transforms.engine.device_memory import DeviceMemory, device_memory
from transforms.engine.engine import Engine
from transforms.engine.errors import EngineError
from transforms.engine.process import launch
from transforms.engine.tickets import Ticket
from transforms.options.spec import Limits

LIMIT = 100


class Memory:
    """What is loaded, as the models themselves see it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = self.most = 0
        self.loads = 0

    def add(self, count: int) -> None:
        with self._lock:
            self.taken += count
            self.most = max(self.most, self.taken)
            self.loads += count > 0


class Sized(Doubles):
    """A model that takes memory while it lives; loading it takes a while."""

    def __init__(self, memory: Memory, nbytes: int, seconds: float = 0.02) -> None:
        super().__init__()
        time.sleep(seconds)
        self.nbytes = nbytes
        self._memory = memory
        memory.add(nbytes)

    def __del__(self) -> None:
        self._memory.add(-self.nbytes)

    def run(self, numbers: Sequence[int]) -> list[int]:
        time.sleep(0.001)
        return super().run(numbers)


class Failing(Sized):
    """The same with an error that ends its engine, whose frames have the model."""

    def run(self, numbers: Sequence[int]) -> list[int]:
        raise EngineError("no more")


def engine(path: Path, memory: Memory, nbytes: int, known: bool = True) -> Engine:
    share = DeviceMemory(path / "m", LIMIT, nbytes if known else None)
    load = functools.partial(Sized, memory, nbytes)
    return Engine(load, Limits(batch_size=8), f"of {nbytes}", share)


def answers(engine: Engine, numbers: Sequence[int]) -> list[Ticket]:
    session = engine.session({})
    for number in numbers:
        session.submit(number, [number])
    return [session.answered.get(timeout=60) for _ in numbers]


@pytest.mark.parametrize("known", [True, False])
def test_models_that_do_not_fit_together_take_turns(tmp_path: Path, known: bool) -> None:
    memory = Memory()
    engines = [engine(tmp_path, memory, size, known) for size in (60, 60, 40)]
    for turn in range(3):
        for each in engines:
            found = answers(each, range(turn, turn + 50))
            assert [t.outputs[0] for t in found] == [2 * t.token for t in found]
    assert memory.most <= LIMIT
    assert memory.loads <= 9
    for each in engines:
        each.close()
    assert not (tmp_path / "m").exists()


def test_models_that_fit_are_loaded_once(tmp_path: Path) -> None:
    memory = Memory()
    engines = [engine(tmp_path, memory, 50) for _ in range(2)]
    for _ in range(3):
        for each in engines:
            answers(each, range(10))
    assert memory.loads == 2
    for each in engines:
        each.close()


def test_work_that_never_ends_for_one_model_does_not_keep_another_waiting(tmp_path: Path) -> None:
    memory = Memory()
    busy, other = (engine(tmp_path, memory, 60) for _ in range(2))
    session, ended = busy.session({}), threading.Event()

    def feed() -> None:
        number = 0
        while not ended.wait(0.0005):
            session.submit(number, [number])
            number += 1
        session.submit(-1, [-1])

    thread = threading.Thread(target=feed)
    thread.start()
    while session.answered.get(timeout=60).token < 10:
        pass
    assert [t.outputs[0] for t in answers(other, [7])] == [14]
    ended.set()
    thread.join()
    found = session.answered.get(timeout=60)
    while found.token != -1:  # what waited meanwhile is answered by the model that was loaded again
        assert found.outputs == [2 * found.token]
        found = session.answered.get(timeout=60)
    assert memory.most <= LIMIT
    assert memory.loads <= 5
    for each in (busy, other):
        each.close()


def test_stages_that_feed_each_other_take_turns_with_long_runs(tmp_path: Path) -> None:
    """As in a fused bundle: what one answers is asked of the next, one by one."""
    memory = Memory()
    engines = [engine(tmp_path, memory, 80) for _ in range(2)]
    first, second = (each.session({}) for each in engines)
    for number in range(400):
        first.submit(number, [number])
    for _ in range(400):
        ticket = first.answered.get(timeout=60)
        second.submit(ticket.token, list(ticket.outputs))
    found = [second.answered.get(timeout=60) for _ in range(400)]
    assert all(t.outputs == [4 * t.token] for t in found)
    assert memory.most <= LIMIT
    assert memory.loads <= 6
    for each in engines:
        each.close()


@pytest.mark.parametrize("known", [True, False])
def test_a_model_larger_than_the_limit_is_refused_with_both_sizes(
    tmp_path: Path, known: bool
) -> None:
    memory = Memory()
    large = engine(tmp_path, memory, 101, known)
    (ticket,) = answers(large, [1])
    assert isinstance(ticket.error, EngineError)
    assert "'of 101' take 101 bytes, more than max_device_memory=100 bytes" in str(ticket.error)
    other = engine(tmp_path, memory, 100)
    assert [t.outputs[0] for t in answers(other, [1])] == [2]
    for each in (large, other):
        each.close()


def test_a_model_that_cannot_be_loaded_leaves_its_room(tmp_path: Path) -> None:
    def fail() -> Any:
        raise OSError("no such file")

    memory = Memory()
    broken = Engine(fail, Limits(), "broken", DeviceMemory(tmp_path / "m", LIMIT, 80))
    (ticket,) = answers(broken, [1])
    assert "no such file" in str(ticket.error)
    other = engine(tmp_path, memory, 80)
    assert [t.outputs[0] for t in answers(other, [1])] == [2]
    for each in (broken, other):
        each.close()


@pytest.mark.parametrize("size", [60, 101])
def test_memory_is_said_to_be_free_only_when_the_model_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Of a model that turns out to be too large, and of one whose engine fails."""
    memory, taken = Memory(), []
    share = DeviceMemory(tmp_path / "m", LIMIT)
    monkeypatch.setattr(share, "leave", lambda: taken.append(memory.taken))
    failing = Engine(functools.partial(Failing, memory, size), Limits(), "failing", share)
    (ticket,) = answers(failing, [1])
    assert ticket.error is not None
    failing.close()
    assert taken[0] == 0


@pytest.mark.parametrize("broken", ["enter", "leave"])
def test_tickets_are_answered_though_the_memory_file_fails(tmp_path: Path, broken: str) -> None:
    def fail(*given: Any) -> Any:
        raise OSError("no space left on device")

    share = DeviceMemory(tmp_path / "m", LIMIT, 101)
    setattr(share, broken, fail)
    failing = Engine(functools.partial(Sized, Memory(), 101), Limits(), "failing", share)
    (ticket,) = answers(failing, [1])
    assert ("no space left" if broken == "enter" else "101 bytes") in str(ticket.error)
    failing.close()


def test_a_process_whose_memory_file_fails_says_so() -> None:
    failing = spec(Troubled, max_device_memory=100, key=b"of a file that cannot be read")
    memory = device_memory(failing, launch.folder)
    assert memory is not None
    memory._path.mkdir()
    try:
        with remotes() as make:
            (ticket,) = ask(make(failing), [1])
            assert "Is a directory" in str(ticket.error)
    finally:
        memory._path.rmdir()


def test_models_in_processes_of_their_own_take_turns() -> None:
    with remotes() as make:
        loads = [functools.partial(Troubled, seconds) for seconds in (0.0, 0.001)]
        engines = [make(spec(load, max_device_memory=12)) for load in loads]
        for turn in range(2):
            for each in engines:
                assert right(ask(each, list(range(turn, turn + 20))))


def test_a_process_with_a_model_larger_than_the_limit_says_so() -> None:
    with remotes() as make:
        (ticket,) = ask(make(spec(Troubled, max_device_memory=7)), [1])
        assert "take 8 bytes, more than max_device_memory=7 bytes" in str(ticket.error)
