"""The states of a worker's link to an engine's process, with a process that does as it is told."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from transforms.engine.errors import BatchTimeoutError, EngineCrashError, EngineError
from transforms.engine.process import protocol
from transforms.engine.process.link_state import LinkState
from transforms.engine.process.protocol import (
    BatchesLaunched,
    CancelSession,
    Message,
    ModelLoaded,
    OpenSession,
    Progress,
    SubmitTickets,
    TicketAnswered,
)
from transforms.engine.process.remote import RemoteEngine
from transforms.engine.process.transport import Doorkeeper, Incoming, Outgoing
from transforms.engine.reports import RestartReport

KEY = b"a secret"


class Process:
    """The other end of a link."""

    def __init__(self, sock: socket.socket, incoming: Incoming, outgoing: Outgoing) -> None:
        self._socket, self._incoming, self._outgoing = sock, incoming, outgoing
        sock.settimeout(60)

    def receive(self) -> Message:
        return protocol.unpack(self._incoming.frame())[0]

    def send(self, message: Message) -> None:
        self._send(protocol.pack(message))

    def answer(self, number: int, outputs: Any, dead: bool = False) -> None:
        answer = TicketAnswered(number, None, Progress(dead=dead))
        self._send(protocol.pack_with(answer, outputs))

    def _send(self, data: bytes) -> None:
        self._outgoing.add(data)
        self._outgoing.send()

    def die(self) -> None:
        self._socket.close()


class Processes:
    """Those that a worker connects to, one after the other."""

    def __init__(self) -> None:
        self._joined: queue.Queue[Process] = queue.Queue()
        #: Held to keep the worker waiting for a connection.
        self.starting = threading.Lock()
        self.sockets: list[socket.socket] = []

    def connect(self) -> socket.socket:
        with self.starting:
            ours, theirs = socket.socketpair()
        self.sockets.append(ours)
        threading.Thread(target=self._accept, args=(ours,), daemon=True).start()
        return theirs

    def _accept(self, sock: socket.socket) -> None:
        incoming, outgoing, door = Incoming(sock), Outgoing(sock), Doorkeeper(KEY)
        with contextlib.suppress(EOFError, OSError):  # the worker has gone
            for frame in (door.challenge, None):
                outgoing.add(frame or door.answer(incoming.frame()))
                outgoing.send()
            incoming.frame()
            os.close(incoming.descriptors.popleft())
            self._joined.put(Process(sock, incoming, outgoing))

    def next(self) -> Process:
        return self._joined.get(timeout=60)


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    for each in made.sockets:
        each.close()


Make = Callable[..., RemoteEngine]


@pytest.fixture
def link() -> Iterator[Make]:
    engines: list[RemoteEngine] = []

    def make(connect: Callable[[], socket.socket], timeout: float | None = None) -> RemoteEngine:
        engines.append(RemoteEngine(connect, KEY, "test", timeout, 1 << 20))
        return engines[-1]

    yield make
    for each in engines:
        each.close()


def number(message: SubmitTickets) -> int:
    """The number of the only ticket."""
    (number, _, _), *_ = message.tickets
    return number


def state(engine: RemoteEngine) -> LinkState:
    return engine._state


def comes(engine: RemoteEngine, expected: LinkState) -> bool:
    end = time.monotonic() + 60
    while state(engine) is not expected and time.monotonic() < end:
        time.sleep(0.005)
    return state(engine) is expected


def test_a_link_joins_serves_and_is_closed(link: Make, processes: Processes) -> None:
    with processes.starting:
        engine = link(processes.connect)
        session = engine.session({"top_k": 2})
        session.submit("token", ["features"])
        assert state(engine) is LinkState.CONNECTING
    process = processes.next()
    opened, submitted = process.receive(), process.receive()
    assert isinstance(opened, OpenSession)
    assert opened.key == session.key
    assert pickle.loads(opened.parameters) == {"top_k": 2}
    assert isinstance(submitted, SubmitTickets)
    assert (submitted.session, submitted.run_isolated) == (opened.session, False)
    assert submitted.features is not None
    assert pickle.loads(submitted.features) == ["features"]
    assert state(engine) is LinkState.JOINED
    assert not engine.ready
    process.send(ModelLoaded())
    process.send(BatchesLaunched(1, [number(submitted)]))
    assert comes(engine, LinkState.SERVING)
    assert engine.ready
    process.answer(number(submitted), ["outputs"])
    ticket = session.answered.get(timeout=60)
    assert (ticket.token, ticket.outputs, ticket.error) == ("token", ["outputs"], None)
    assert state(engine) is LinkState.SERVING
    assert not engine.dead
    session.cancel()
    assert process.receive() == CancelSession(opened.session)
    engine.close()
    assert state(engine) is LinkState.CLOSED
    assert engine.dead
    with pytest.raises(EngineError, match="closed"):
        session.submit("late", ["features"])


def test_what_was_computed_is_sent_again_to_run_isolated(link: Make, processes: Processes) -> None:
    engine = link(processes.connect)
    session = engine.session({})
    session.submit("computed", [1])
    session.submit("waiting", [2])
    session.flush()
    process = processes.next()
    opened, computed, waiting = (process.receive() for _ in range(3))
    assert isinstance(computed, SubmitTickets)
    assert isinstance(waiting, SubmitTickets)
    process.send(BatchesLaunched(1, [number(computed)]))
    assert comes(engine, LinkState.SERVING)
    process.die()
    process = processes.next()
    assert process.receive() == opened
    assert process.receive() == computed._replace(run_isolated=True, brings_more=False)
    assert process.receive() == waiting
    assert state(engine) is LinkState.JOINED
    process.answer(number(waiting), ["b"])
    process.answer(number(computed), ["a"])
    first, second = (session.answered.get(timeout=60) for _ in range(2))
    assert (first.token, first.outputs, first.attempts) == ("waiting", ["b"], 1)
    assert (second.token, second.outputs, second.attempts) == ("computed", ["a"], 2)
    assert first.reports == (RestartReport(2),)
    assert second.reports == ()


def test_who_fails_last_reports_the_restarts_that_it_caused(
    link: Make, processes: Processes
) -> None:
    session = link(processes.connect).session({})
    session.submit("poison", [1])
    for _ in range(3):
        process = processes.next()
        process.receive()
        ticket = process.receive()
        assert isinstance(ticket, SubmitTickets)
        process.send(BatchesLaunched(1, [number(ticket)]))
        process.die()
    poison = session.answered.get(timeout=60)
    assert isinstance(poison.error, EngineCrashError)
    assert poison.reports == (RestartReport(1), RestartReport(1), RestartReport(0))


def test_a_batch_that_takes_too_long_has_its_process_killed(
    link: Make, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(pid))
    engine = link(processes.connect, timeout=0.05)
    session = engine.session({})
    session.submit("slow", [1])
    for _ in range(2):
        process = processes.next()
        submitted = [process.receive(), process.receive()][-1]
        assert isinstance(submitted, SubmitTickets)
        process.send(BatchesLaunched(1, [number(submitted)]))
        assert comes(engine, LinkState.KILLED)
        process.send(BatchesLaunched(1, [number(submitted)]))  # sent before it was killed
        process.die()
    ticket = session.answered.get(timeout=60)
    assert isinstance(ticket.error, BatchTimeoutError)
    assert comes(engine, LinkState.CONNECTING)  # until there is another ticket
    assert not engine.dead
    assert set(killed) == {engine.pid}


def test_all_tickets_are_told_why_no_process_can_be_reached(link: Make) -> None:
    asked: list[float] = []

    def connect() -> socket.socket:
        asked.append(time.monotonic())
        raise ConnectionRefusedError("nobody listens")

    engine = link(connect)
    session = engine.session({})
    session.submit("early", [1])
    said = "the engine's process died 5 times: ConnectionRefusedError: nobody listens"
    assert str(session.answered.get(timeout=60).error) == said
    assert state(engine) is LinkState.FAILED
    assert engine.dead
    session.submit("late", [2])
    late = session.answered.get(timeout=60)
    assert isinstance(late.error, EngineError)
    assert str(late.error) == said
    assert len(asked) == 5
    engine.close()
    assert state(engine) is LinkState.CLOSED


def test_an_engine_that_answers_nothing_any_more_is_not_replaced(
    link: Make, processes: Processes
) -> None:
    engine = link(processes.connect)
    session = engine.session({})
    session.submit("token", [1])
    process = processes.next()
    submitted = [process.receive(), process.receive()][-1]
    assert isinstance(submitted, SubmitTickets)
    process.answer(number(submitted), [2], dead=True)
    assert session.answered.get(timeout=60).token == "token"
    assert state(engine) is LinkState.FAILED
    process.send(BatchesLaunched(1, []))
    process.die()
    engine._thread.join(60)
    assert not engine._thread.is_alive()
    assert state(engine) is LinkState.FAILED


def test_a_link_that_is_closed_while_it_joins_ends(link: Make, processes: Processes) -> None:
    with processes.starting:
        engine = link(processes.connect)
        closing = threading.Thread(target=engine.close)
        closing.start()
        assert comes(engine, LinkState.CLOSED)
    closing.join(60)
    assert not closing.is_alive()
    assert not engine._thread.is_alive()


def test_what_was_not_sent_yet_is_told_of_an_engine_that_failed(
    link: Make, processes: Processes
) -> None:
    engine = link(processes.connect)
    one, other = engine.session({}), engine.session({})
    one.submit("sent", [1])
    process = processes.next()
    process.receive()
    sent = process.receive()
    assert isinstance(sent, SubmitTickets)
    other.submit("waits", [2])
    process.answer(number(sent), [2], dead=True)
    assert one.answered.get(timeout=60).outputs == [2]
    assert "has failed" in str(other.answered.get(timeout=60).error)


def test_a_link_that_cannot_send_asks_for_another_process(
    link: Make, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = link(processes.connect)
    session = engine.session({})
    session.submit("first", [1])
    process = processes.next()
    process.receive(), process.receive()
    with monkeypatch.context() as patched:
        patched.setattr(Outgoing, "send", _no_descriptors)
        session.submit("second", [2])
        session.flush()
    process.die()
    process = processes.next()
    process.receive()
    tickets = [process.receive() for _ in range(2)]
    for each in tickets:
        assert isinstance(each, SubmitTickets)
        process.answer(number(each), ["there"])
    assert [session.answered.get(timeout=60).outputs for _ in range(2)] == [["there"]] * 2


def _no_descriptors(self: Outgoing) -> None:
    raise OSError(24, "Too many open files")
