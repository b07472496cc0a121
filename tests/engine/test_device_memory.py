"""Which models of a job are loaded in a device's memory, and which make room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from transforms.engine.device_memory import DeviceMemory, Entry, device_name


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_models_are_loaded_while_they_fit(tmp_path: Path) -> None:
    one, two, three = (DeviceMemory(tmp_path / "m", 100, size) for size in (50, 50, 1))
    assert one.enter()
    assert two.enter()
    assert not three.enter()
    two.leave()
    assert three.enter()


def test_those_that_wait_have_their_turn_one_after_the_other(tmp_path: Path, clock: Clock) -> None:
    loaded, large, small = (DeviceMemory(tmp_path / "m", 100, size) for size in (60, 90, 10))
    assert loaded.enter()
    assert not large.enter()
    clock.now += 1
    assert not small.enter()  # though there is room: the large one would wait for ever
    loaded.leave()
    assert large.enter()
    assert small.enter()


def test_a_model_of_unknown_size_is_loaded_alone_and_then_takes_what_it_takes(
    tmp_path: Path,
) -> None:
    unknown, other = DeviceMemory(tmp_path / "m", 100), DeviceMemory(tmp_path / "m", 100, 60)
    assert unknown.enter()
    assert not other.enter()
    assert unknown.resize(40)
    assert other.enter()
    assert not other.resize(61)


def test_a_model_that_is_said_to_be_too_large_is_loaded_alone(tmp_path: Path) -> None:
    large, other = DeviceMemory(tmp_path / "m", 100, 101), DeviceMemory(tmp_path / "m", 100, 1)
    assert large.enter()  # it would wait for ever, and so would all that wait behind it
    assert not other.enter()


def test_the_least_recently_used_ones_make_room_as_many_as_it_takes(
    tmp_path: Path, clock: Clock
) -> None:
    models = [DeviceMemory(tmp_path / "m", 100, 30) for _ in range(3)]
    waiting = DeviceMemory(tmp_path / "m", 100, 60)
    assert all(each.enter() for each in models)
    assert not any(each.must_leave(99.0 + i, 0.0) for i, each in enumerate(models))  # for nobody
    assert not waiting.enter()
    for _ in range(2):  # after the first time, all know of all
        asked = [
            each.must_leave(90.0 + used, 0.0) for each, used in zip(models, (3, 1, 2), strict=True)
        ]
    assert asked == [False, True, True]


@pytest.mark.parametrize(
    ("idle", "waits", "leaves"), [(0.0, 1.0, False), (0.4, 0.4, False), (0.6, 0.6, True)]
)
def test_an_idle_model_stays_as_long_as_loading_takes(
    tmp_path: Path, clock: Clock, idle: float, waits: float, leaves: bool
) -> None:
    loaded, waiting = (DeviceMemory(tmp_path / "m", 100, 80) for _ in range(2))
    assert loaded.enter()
    assert not waiting.enter()
    clock.now += waits
    assert loaded.must_leave(clock.now - idle, load_seconds=0.5) is leaves


def test_a_model_at_work_makes_room_after_its_turn(tmp_path: Path, clock: Clock) -> None:
    loaded, waiting = (DeviceMemory(tmp_path / "m", 100, 80) for _ in range(2))
    assert loaded.enter()
    assert not waiting.enter()
    clock.now += 7.9
    assert not loaded.must_leave(clock.now, load_seconds=2.0)
    clock.now += 0.2
    assert loaded.must_leave(clock.now, load_seconds=2.0)


@pytest.mark.parametrize(
    ("accelerated", "written", "names"),
    [
        (True, (None, 0, "cuda", "cuda:0", "mps"), {"0"}),
        (True, (1, "cuda:1"), {"1"}),
        (True, ("cpu", -1), {"cpu"}),
        (False, ("cpu", -1, None), {"cpu"}),
    ],
)
def test_a_device_has_one_name_however_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
    accelerated: bool,
    written: tuple[int | str | None, ...],
    names: set[str],
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerated)
    assert set(map(device_name, written)) == names


def test_what_a_killed_process_had_is_free(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from transforms.engine.device_memory import DeviceMemory\n"
        f"assert DeviceMemory(Path({str(tmp_path / 'm')!r}), 100, 80).enter()\n"
        "os._exit(0)"
    )
    other = DeviceMemory(tmp_path / "m", 100, 80)
    subprocess.run([sys.executable, "-c", code], check=True)
    (left,) = json.loads((tmp_path / "m").read_text()).values()
    assert left["pid"] != os.getpid()
    assert other.enter()
    other.leave()
    assert not (tmp_path / "m").exists()


def test_a_damaged_file_is_written_anew_by_those_that_live(tmp_path: Path) -> None:
    loaded, other = (DeviceMemory(tmp_path / "m", 100, 80) for _ in range(2))
    assert loaded.enter()
    (tmp_path / "m").write_text("")  # as a machine that lost its power may leave it
    assert loaded.resize(70)
    assert not other.enter()


def test_a_write_that_fails_leaves_the_file_as_it_was_and_unlocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    loaded, other = (DeviceMemory(tmp_path / "m", 100, 80) for _ in range(2))
    assert loaded.enter()
    before = (tmp_path / "m").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fail)
        with pytest.raises(OSError, match="no space"):
            other.enter()
    assert (tmp_path / "m").read_text() == before
    assert not other.enter()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="tells zombies by /proc")
def test_what_a_process_had_is_free_though_nobody_has_waited_for_it(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    entry = Entry(ended.pid, 80, 100, True, 0.0, 0.0)
    (tmp_path / "m").write_text(json.dumps({"ended": asdict(entry)}))
    assert DeviceMemory(tmp_path / "m", 100, 80).enter()
    ended.wait()
