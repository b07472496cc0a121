"""An engine's process, seen from a worker: what crosses, and what happens when it dies."""

from __future__ import annotations

import functools
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import troubled
from support.engine_processes import ask, collect, right, spec
from support.troubled import Troubled

from transforms.engine.errors import BatchTimeoutError, EngineCrashError, EngineError
from transforms.engine.process import launch
from transforms.engine.process.remote import RemoteEngine
from transforms.engine.reports import RestartReport
from transforms.engine.tickets import Ticket
from transforms.stages.failure_rows import failure


@pytest.mark.slow
def test_errors_and_odd_answers_cross(engine: Callable[..., RemoteEngine]) -> None:
    odd = [troubled.RAISES, troubled.UNPICKLABLE, troubled.STRANGE_ERROR, troubled.UNKNOWN]
    numbers = [1, *odd, 2]
    tickets = {ticket.token: ticket for ticket in ask(engine(spec()), numbers)}
    assert right([tickets[1], tickets[2]])
    raised = tickets[troubled.RAISES].error
    assert type(raised) is ValueError
    assert str(raised) == "not this one"
    assert "troubled.py" in failure("forward", -1, raised).traceback
    assert "pickle" in str(tickets[troubled.UNPICKLABLE].error)
    assert "only_here" in str(tickets[troubled.UNKNOWN].error)
    strange = tickets[troubled.STRANGE_ERROR].error
    assert type(strange).__name__ == "StrangeError"
    assert str(strange) == "odd"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "reason"),
    [(troubled.DIES, "crashed or was killed"), (troubled.BREAKS, "device-side assert")],
)
def test_who_ends_the_process_fails_alone(
    engine: Callable[..., RemoteEngine], bad: int, reason: str
) -> None:
    tickets = ask(engine(spec()), [*range(40), bad, *range(40, 80)])
    assert right([ticket for ticket in tickets if ticket.token != bad])
    (failed,) = [ticket for ticket in tickets if ticket.error is not None]
    assert failed.token == bad
    assert isinstance(failed.error, EngineCrashError)
    assert reason in str(failed.error)
    assert failed.attempts == 3
    restarts = [r for t in tickets for r in t.reports if isinstance(r, RestartReport)]
    assert len(restarts) == 3


@pytest.mark.slow
def test_who_takes_too_long_fails_alone(engine: Callable[..., RemoteEngine]) -> None:
    numbers = [*range(20), troubled.HANGS, *range(20, 40)]
    tickets = ask(engine(spec(timeout=2.0)), numbers)
    assert right([ticket for ticket in tickets if ticket.token != troubled.HANGS])
    (failed,) = [ticket for ticket in tickets if ticket.error is not None]
    assert failed.token == troubled.HANGS
    assert isinstance(failed.error, BatchTimeoutError)
    assert "2.0 s" in str(failed.error)
    assert failed.attempts == 2


def test_a_model_that_cannot_be_loaded_says_why_at_once(
    engine: Callable[..., RemoteEngine],
) -> None:
    found = engine(spec(troubled.fails_to_load))
    for ticket in ask(found, [1, 2, 3]):
        assert isinstance(ticket.error, EngineError)
        assert "no such weights" in str(ticket.error)
    assert found.dead
    assert isinstance(ask(found, [4])[0].error, EngineError)


@pytest.mark.slow
def test_a_process_that_never_comes_up_is_given_up(
    engine: Callable[..., RemoteEngine],
) -> None:
    found = engine(spec(troubled.dies_while_loading))
    (ticket,) = ask(found, [1])
    assert isinstance(ticket.error, EngineError)
    assert "died 5 times" in str(ticket.error)
    assert found.dead


@pytest.mark.slow
def test_a_cancelled_bundle_leaves_no_trace(engine: Callable[..., RemoteEngine]) -> None:
    found = engine(spec(functools.partial(Troubled, 0.05)))
    assert right(ask(found, [1]))
    session = found.session({})
    for number in range(200):
        session.submit(number, [number])
    session.cancel()
    assert right(ask(found, [7]))
    end = time.monotonic() + 60
    while found.load and time.monotonic() < end:
        time.sleep(0.05)
    assert found.load == 0
    assert not found.dead
    assert right(ask(found, [8]))


def changes(value: Callable[[], int], before: int) -> bool:
    end = time.monotonic() + 60
    while value() == before and time.monotonic() < end:
        time.sleep(0.01)
    return value() != before


@pytest.mark.slow
def test_everything_is_answered_once_however_often_the_process_is_killed(
    engine: Callable[..., RemoteEngine],
) -> None:
    found = engine(spec(functools.partial(Troubled, 0.02)))
    session = found.session({})
    count = 10_000

    def submit() -> None:
        for number in range(count):
            session.submit(number, [number])

    threading.Thread(target=submit).start()
    tickets: list[Ticket] = []
    chance = random.Random(0)
    for _ in range(10):
        tickets += collect(session, 16 + chance.randrange(400))
        killed = found.pid
        os.kill(killed, signal.SIGKILL)
        assert changes(lambda: found.pid, killed)
        time.sleep(chance.random() * 0.2)
    tickets += collect(session, count - len(tickets))
    assert sorted(ticket.token for ticket in tickets) == list(range(count))
    assert all(ticket.error is None for ticket in tickets)
    assert right(tickets)
    assert len({ticket.outputs[0][1] for ticket in tickets}) == 11
    assert session.answered.empty()


@pytest.mark.slow
def test_features_of_a_class_that_is_not_known_there_fail_alone(
    engine: Callable[..., RemoteEngine],
) -> None:
    class Local(int):
        """Pickled by its name in this function: nobody finds it there."""

    found = engine(spec())
    session = found.session({})
    session.submit("odd", [Local(3)])
    session.submit(1, [1])
    tickets = {ticket.token: ticket for ticket in collect(session, 2)}
    assert right([tickets[1]])
    assert "Local" in str(tickets["odd"].error)


def test_what_keeps_a_worker_from_its_engine_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: Callable[..., RemoteEngine]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(launch, "_LONGEST", 1000)
    launch.folder().chmod(0o755)
    (ticket,) = ask(engine(spec()), [1])
    assert isinstance(ticket.error, EngineError)
    assert "0700" in str(ticket.error)
