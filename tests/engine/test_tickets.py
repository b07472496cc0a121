"""What bundles hand to an engine: parameters with a key, sessions and tickets."""

from __future__ import annotations

import pickle
from typing import Any

from transforms.engine.tickets import BundleSession, Parameters, Ticket


class Recorder:
    """An engine that notes what it is asked for."""

    dead = False
    ready = True

    def __init__(self) -> None:
        self.submitted: list[Ticket] = []
        self.forgotten: list[BundleSession] = []

    def session(self, parameters: Any) -> BundleSession:
        return BundleSession.remote(self, parameters)

    def submit(self, ticket: Ticket) -> None:
        self.submitted.append(ticket)

    def flush(self) -> None:
        pass

    def forget(self, session: BundleSession) -> None:
        self.forgotten.append(session)


def test_parameters_are_made_once() -> None:
    parameters = Parameters({"top_k": 2})
    assert Parameters.of(parameters) is parameters
    other = Parameters.of({"top_k": 2})
    assert other == parameters
    assert other.key == parameters.key
    assert Parameters({"top_k": 3}).key != parameters.key


def test_parameters_cross_with_their_functions() -> None:
    found = pickle.loads(Parameters({"stop": lambda text: text == "."}).pickled)
    assert type(found) is dict
    assert found["stop"](".")


def test_a_session_of_an_engine_elsewhere_has_its_parameters_pickled() -> None:
    session = Recorder().session({"top_k": 2})
    assert session.key == Parameters({"top_k": 2}).key
    assert pickle.loads(session.pickled) == session.parameters == {"top_k": 2}


def test_a_ticket_has_its_sessions_features_and_comes_back_when_it_fails() -> None:
    engine = Recorder()
    session = engine.session({})
    session.submit("token", [1, 2])
    (ticket,) = engine.submitted
    assert (ticket.session, ticket.token, ticket.features) == (session, "token", [1, 2])
    assert ticket.outputs == []
    error = ValueError("no")
    ticket.fail(error)
    assert session.answered.get() is ticket
    assert ticket.error is error


def test_an_engine_is_told_once_that_nobody_waits() -> None:
    engine = Recorder()
    session = engine.session({})
    session.cancel()
    assert session.cancelled
    assert engine.forgotten == [session]
