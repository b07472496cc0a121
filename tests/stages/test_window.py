"""The window of a bundle: how much is in flight, and when a ticket must be taken."""

from __future__ import annotations

import pytest
from support.manual_engine import ManualEngine, window


@pytest.fixture
def engine() -> ManualEngine:
    return ManualEngine()


def test_tickets_come_in_the_order_of_the_answers_with_their_tokens(engine: ManualEngine) -> None:
    in_flight = window(engine)
    for token in "abc":
        in_flight.submit(token, [token], 1)
    assert not in_flight.must_take
    for _ in range(3):
        engine.answer()
    assert in_flight.must_take
    assert [in_flight.take().token for _ in range(3)] == ["c", "b", "a"]
    assert in_flight.count == 0
    assert not in_flight.must_take


def test_no_more_elements_than_the_window_holds(engine: ManualEngine) -> None:
    in_flight = window(engine, window=3)
    for i in range(3):
        in_flight.submit(i, [i], 1)
    assert not in_flight.must_take
    in_flight.submit(3, [3], 1)
    assert in_flight.must_take


def test_no_more_bytes_than_the_window_holds(engine: ManualEngine) -> None:
    """Features and the outputs that are expected; but one element always."""
    in_flight = window(engine, output_bytes=30.0, window_bytes=100)
    in_flight.submit("large", [0], 1000)
    assert not in_flight.must_take
    engine.answer()
    in_flight.take()
    in_flight = window(engine, output_bytes=30.0, window_bytes=100)
    in_flight.submit("a", [0], 20)
    in_flight.submit("b", [0], 20)
    assert not in_flight.must_take  # 100 bytes
    in_flight.submit("c", [0], 1)
    assert in_flight.must_take


def test_few_elements_before_the_size_of_outputs_is_known(engine: ManualEngine) -> None:
    in_flight = window(engine, None)
    submitted = 0
    while not in_flight.must_take:
        in_flight.submit(submitted, [0], 0)
        submitted += 1
    assert submitted == 257
    engine.answer()
    in_flight.take()
    assert not in_flight.must_take


def test_outputs_are_expected_to_be_as_large_as_the_larger_ones_were(engine: ManualEngine) -> None:
    in_flight = window(engine, None)
    for size in (1000, 2000):
        in_flight.submit(size, [0], 0)
        engine.answer(size)
        in_flight.take()
        assert in_flight.output_bytes == size
    in_flight.submit("small", [0], 0)
    engine.answer(100)
    in_flight.take()
    assert in_flight.output_bytes == pytest.approx(0.9 * 2000 + 0.1 * 100)


def test_a_failed_element_says_nothing_of_the_size_of_outputs(engine: ManualEngine) -> None:
    in_flight = window(engine, None)
    in_flight.submit("bad", [0], 0)
    engine.answer(1000, ValueError("bad"))
    assert isinstance(in_flight.take().error, ValueError)
    assert in_flight.output_bytes is None


def test_a_cancelled_window_is_forgotten_by_the_engine(engine: ManualEngine) -> None:
    in_flight = window(engine)
    in_flight.submit("a", [0], 0)
    in_flight.cancel()
    (session,) = engine.forgotten
    assert session.cancelled
