"""Processes that hold engines: found by a private socket, or started."""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.engine_processes import ask, gone, right, spec, start

from transforms.engine.interface import EngineSpec
from transforms.engine.process import launch
from transforms.engine.process.remote import RemoteEngine
from transforms.options.spec import Sharing


@pytest.mark.slow
def test_another_job_has_another_process(engine: Callable[..., RemoteEngine]) -> None:
    same = spec()
    other = EngineSpec(**{**vars(same), "sharing": Sharing(share="machine", key=b"other")})
    found = {ask(engine(each), [1])[0].outputs[0][1] for each in (same, other)}
    assert len(found) == 2


def test_a_process_that_is_killed_before_it_has_read_its_settings_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "_start", start)
    monkeypatch.setattr(launch, "_PROGRAM", "")
    large = dataclasses.replace(spec(), identity="much" * 100_000)  # more than a pipe holds
    with pytest.raises(BrokenPipeError):
        launch.connect(large)
    gc.collect()  # what was left open warns, and a warning is an error here


@pytest.mark.slow
def test_processes_that_were_killed_leave_nothing_in_the_folder(
    engine: Callable[..., RemoteEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # a short one, as sockets need it
        monkeypatch.setattr(launch, "folder", lambda: Path(name))
        killed = engine(spec())
        assert right(ask(killed, [1]))
        os.kill(killed.pid, signal.SIGKILL)
        assert gone(killed.pid)
        time.sleep(2)  # its last threads hold the socket for a moment
        killed.close()
        other = engine(spec())
        assert right(ask(other, [1]))
        assert sorted(path.suffix for path in Path(name).iterdir()) == ["", ".socket"]
        other.close()
        assert gone(other.pid)
        assert [path.name for path in Path(name).iterdir()] == ["lock"]


def test_the_folder_must_be_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(launch, "_LONGEST", 1000)
    folder = launch.folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="0700"):
        launch.folder()
