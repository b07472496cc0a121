"""A job server that Beam has started does not outlive a command that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from apache_beam.utils.subprocess_server import SubprocessServer

from pipelines_beam.runners import job_server

COMMAND = """\
import subprocess, sys
from pipelines_beam.runners import job_server
server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
job_server._running = lambda: [server.pid]
job_server.guard()
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_with_a_command_that_is_killed() -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with command:
        assert command.stdout is not None
        server = int(command.stdout.readline())
        os.kill(server, 0)  # it is there
        command.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    while _is_there(server):
        assert time.monotonic() < until
        time.sleep(0.05)


def _is_there(pid: int) -> bool:
    """Whether it runs: where nobody waits for it, its entry stays."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_servers_that_beam_has_started_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert job_server._running() == []
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)
    cache = type(SubprocessServer._cache)(lambda *key: (process, "localhost:1"), lambda kept: None)
    monkeypatch.setattr(SubprocessServer, "_cache", cache)
    server = SubprocessServer(None, ["java"])
    server.start_process()
    with process:
        assert job_server._running() == [process.pid]
    assert job_server._running() == []
    server.stop_process()


def test_without_a_server_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: pytest.fail("it started"))
    job_server.guard()
