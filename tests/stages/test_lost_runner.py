"""A worker process that has lost its runner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.portability.api import endpoints_pb2
from google.protobuf import text_format
from support.commands import processes

from transforms.stages import lost_runner


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def descriptor(server: socket.socket) -> str:
    """What Beam tells a worker of a server."""
    url = f"127.0.0.1:{server.getsockname()[1]}"
    return str(text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url)))


def work(told: str) -> None:
    """What a worker process does, which waits for its runner."""
    os.environ[lost_runner._VARIABLE] = told
    lost_runner._INTERVAL = 0.05
    lost_runner.watch()
    lost_runner.watch()
    time.sleep(300)


def test_it_ends_when_its_runner_is_gone(server: socket.socket) -> None:
    process = processes().Process(target=work, args=(descriptor(server),))
    process.start()
    server.settimeout(120)
    for _ in range(5):  # it looks, and stays
        server.accept()[0].close()
    assert process.is_alive()
    server.close()
    process.join(120)
    assert process.exitcode == 1


def test_a_server_that_takes_no_connection_is_not_gone(server: socket.socket) -> None:
    port = server.getsockname()[1]
    assert not lost_runner._is_refused("127.0.0.1", port)
    server.close()
    assert lost_runner._is_refused("127.0.0.1", port)


def test_an_address_of_ipv6_has_no_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lost_runner._VARIABLE, 'url: "[::1]:50000"')
    assert lost_runner._address() == ("::1", 50000)


@pytest.mark.parametrize("told", ["", "url: ''", 'url: "unix:/tmp/socket"', "no descriptor"])
def test_a_process_that_is_no_worker_is_not_watched(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lost_runner._VARIABLE, told)
    monkeypatch.setattr(lost_runner, "_is_watched", False)
    lost_runner.watch()
    assert not lost_runner._is_watched


def test_a_worker_that_ends_by_itself_ends_boot_if_its_runner_is_gone(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(lost_runner, "_end_boot", ended.append)
    host, port = server.getsockname()
    lost_runner._leave(host, port)
    assert ended == []
    server.close()
    lost_runner._leave(host, port)
    assert ended == [os.getppid()]


def test_boot_ends_with_its_worker_and_nothing_else_does() -> None:
    wait = "import time; time.sleep(300)"
    boot = subprocess.Popen([sys.executable, "-c", wait, "--provision_endpoint=localhost:1"])
    other = subprocess.Popen([sys.executable, "-c", wait])
    try:
        until = time.monotonic() + 60
        while b"provision" not in Path(f"/proc/{boot.pid}/cmdline").read_bytes():
            assert time.monotonic() < until
        lost_runner._end_boot(boot.pid)
        lost_runner._end_boot(other.pid)
        assert boot.wait(60) == -signal.SIGTERM
        assert other.poll() is None
    finally:
        for each in (boot, other):
            each.kill()
            each.wait()
