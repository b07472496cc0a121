"""An engine's decisions, step by step, with a device that does as it is told."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import torch

from transforms.engine.core import EngineCore
from transforms.engine.errors import EngineError
from transforms.engine.interface import BatchSlot, Computed
from transforms.engine.reports import BatchReport
from transforms.engine.tickets import BundleSession, Ticket
from transforms.options.spec import Limits


class Batch:
    """What a device works on until it is told that it has finished."""

    def __init__(self, numbers: list[int], seconds: float | None) -> None:
        self.numbers, self.seconds = numbers, seconds
        self.finished = self.read = False
        self.late: Exception | None = None

    def done(self) -> bool:
        return self.finished

    def outputs(self) -> Iterable[int]:
        self.read = True
        if self.late is not None:
            raise self.late
        return [2 * number for number in self.numbers]


class Device:
    """A model that doubles numbers on a device."""

    accelerated = overlaps = True
    generates = False
    nbytes = 8
    takes_rows = False

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        #: Raised by the next launches.
        self.errors: list[Exception] = []
        #: Raised by the read-backs of batches with this number.
        self.poison: dict[int, Exception] = {}
        self.seconds: float | None = None

    def program(self, parameters: Any) -> Device:
        return self

    def batch_slots(self, numbers: Sequence[int]) -> list[BatchSlot]:
        return [BatchSlot("all", 1)] * len(numbers)

    def launch(self, numbers: Sequence[int]) -> Batch:
        if self.errors:
            raise self.errors.pop(0)
        batch = Batch(list(numbers), self.seconds)
        batch.late = next((self.poison[n] for n in numbers if n in self.poison), None)
        self.batches.append(batch)
        return batch


class Bench:
    """A core with a device, and what it has said."""

    def __init__(self, rows: int = 4, max_wait_ms: float = 0) -> None:
        self.device = Device()
        self.answered: list[Ticket] = []
        self.launched: list[list[list[int]]] = []
        self.broken: list[BaseException] = []
        self.core = EngineCore(
            Limits(batch_size=rows, max_wait_ms=max_wait_ms),
            self.answered.append,
            lambda batches: self.launched.append(
                [[ticket.token for ticket in tickets] for tickets in batches.values()]
            ),
            self.broken.append,
        )
        self.core.loaded(self.device, 0.1)
        engine: Any = None
        self.session = BundleSession(engine, {}, "")

    def admit(self, *numbers: int, isolated: bool = False) -> None:
        for number in numbers:
            self.core.admit([Ticket(self.session, number, [number], run_isolated=isolated)])

    def finish(self) -> None:
        """Run until nothing is left, the device finishing each batch when it is launched."""
        for _ in range(100):
            for batch in self.device.batches:
                batch.finished = True
            if self.core.wait_seconds() is None:
                return
            self.core.step()
        raise AssertionError("it goes on and on")

    @property
    def outputs(self) -> dict[int, Any]:
        """The outputs, or errors, of the tickets that are answered."""
        return {t.token: t.error or t.outputs[0] for t in self.answered}

    @property
    def reports(self) -> list[BatchReport]:
        found = [report for ticket in self.answered for report in ticket.reports]
        return [report for report in found if isinstance(report, BatchReport)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_next_batch_is_launched_before_the_last_is_read(bench: Bench) -> None:
    bench.admit(*range(12))
    assert bench.core.wait_seconds() == 0
    bench.core.step()
    assert [batch.read for batch in bench.device.batches] == [False]
    bench.core.step()  # the second is launched, then the first is read
    assert [batch.read for batch in bench.device.batches] == [True, False]
    assert len(bench.answered) == 4
    assert bench.launched == [
        [[8, 9, 10, 11]],
        [[8, 9, 10, 11], [4, 5, 6, 7]],
        [[4, 5, 6, 7]],
    ]


def test_a_batch_that_is_not_full_gathers_while_the_device_works(bench: Bench) -> None:
    bench.admit(*range(6))
    bench.core.step()
    assert bench.core.wait_seconds()  # not long
    bench.core.step()
    assert len(bench.device.batches) == 1
    assert not bench.device.batches[0].read
    bench.admit(6)
    bench.device.batches[0].finished = True
    assert bench.core.wait_seconds() == 0
    bench.core.step()
    assert [batch.numbers for batch in bench.device.batches] == [[2, 3, 4, 5], [0, 1, 6]]
    assert bench.device.batches[0].read


def test_an_error_that_comes_late_is_that_of_its_own_batch(bench: Bench) -> None:
    bench.device.poison = {5: ValueError("five")}
    bench.admit(*range(12))
    bench.finish()
    assert {n: str(x) for n, x in bench.outputs.items() if isinstance(x, Exception)} == {5: "five"}
    assert all(x == 2 * n for n, x in bench.outputs.items() if n != 5)
    assert len(bench.answered) == 12
    assert [report.rows for report in bench.reports if report.split] == [4, 2]


def test_memory_that_is_missed_late_makes_batches_smaller(bench: Bench) -> None:
    bench.device.poison = {4: torch.OutOfMemoryError("out of memory")}
    bench.admit(*range(8))
    bench.core.step()
    bench.device.poison = {}
    bench.finish()
    assert bench.outputs == {n: 2 * n for n in range(8)}
    assert [report.rows for report in bench.reports if report.split == "memory"] == [4]
    # The one behind it was on the device already.
    assert [len(batch.numbers) for batch in bench.device.batches] == [4, 4, 2, 2]


def test_memory_that_the_batch_before_has_is_waited_for(bench: Bench) -> None:
    bench.admit(*range(8))
    bench.core.step()
    bench.device.errors = [torch.OutOfMemoryError("out of memory")]
    bench.core.step()
    assert bench.device.batches[0].read
    bench.finish()
    assert bench.outputs == {n: 2 * n for n in range(8)}
    assert not any(report.split for report in bench.reports)
    assert [len(batch.numbers) for batch in bench.device.batches] == [4, 4]


def test_all_that_is_launched_may_have_broken_the_device(bench: Bench) -> None:
    bench.device.poison = {5: RuntimeError("CUDA error: device-side assert triggered")}
    bench.admit(*range(8))
    bench.core.step()
    with pytest.raises(EngineError, match="device-side assert"):
        bench.core.step()
    assert [str(error) for error in bench.broken] == ["CUDA error: device-side assert triggered"]
    assert bench.launched[-1] == [[4, 5, 6, 7], [0, 1, 2, 3]]


def test_what_may_end_the_process_is_alone_on_the_device(bench: Bench) -> None:
    bench.admit(*range(8))
    bench.admit(8, isolated=True)
    bench.admit(9, isolated=True)
    bench.finish()
    assert bench.outputs == {n: 2 * n for n in range(10)}
    alone = [launched for launched in bench.launched if {8, 9} & {*itertools.chain(*launched)}]
    assert sorted(alone) == [[[8]], [[9]]]


def test_the_time_of_a_batch_is_the_device_s_own(bench: Bench) -> None:
    bench.device.seconds = 12.5
    bench.admit(*range(4))
    bench.finish()
    assert [report.seconds for report in bench.reports] == [12.5]


def test_what_is_refused_is_answered_with_batches_in_flight(bench: Bench) -> None:
    bench.admit(*range(8))
    bench.core.step()
    bench.core.refuse(ValueError("no more"))
    bench.admit(8)
    assert {str(error) for error in bench.outputs.values()} == {"no more"}
    assert len(bench.answered) == 9
    assert bench.core.dead


def test_a_single_row_that_is_computed_at_launch_is_answered_at_once(bench: Bench) -> None:
    class Computing(Device):
        def launch(self, numbers: Sequence[int]) -> Any:
            return super().launch(numbers) if len(numbers) > 1 else Computed([2 * numbers[0]])

    device = Computing()
    bench.core.loaded(device, 0.1)
    bench.admit(*range(5))
    bench.core.step()
    device.batches[0].finished = True
    bench.core.step()
    assert len(bench.answered) == 5


def test_who_failed_with_the_batch_before_is_not_tried_again(bench: Bench) -> None:
    ticket = Ticket(bench.session, "two", [0, 1])
    bench.core.admit([ticket])
    bench.admit(2, 3, 4, 5, 6, 7)
    bench.core.step()
    (first,) = bench.device.batches
    bench.core._fail(ticket, ValueError("failed"))
    bench.device.errors = [torch.OutOfMemoryError("out of memory")]
    bench.core.step()
    assert first.read
    bench.finish()
    launched = [n for batch in bench.device.batches[1:] for n in batch.numbers]
    assert sorted([*first.numbers, *launched]) == [2, 3, 4, 5, 6, 7]
    assert len(bench.answered) == 7


class TestWorkThatIsKnownToCome:
    """A device that has nothing to do waits for it as long as a batch costs, and no longer."""

    @pytest.fixture
    def bench(self) -> Bench:
        bench = Bench(max_wait_ms=1000)
        bench.core._sizes.cost.host_seconds = 0.25
        return bench

    def test_a_batch_waits_for_it(self, bench: Bench) -> None:
        bench.session.brings_more = True
        bench.admit(0, 1)
        assert bench.core.wait_seconds() == 0.25

    def test_not_with_the_first_which_may_be_the_only_one(self, bench: Bench) -> None:
        bench.session.brings_more = True
        bench.admit(0)
        assert bench.core.wait_seconds() == 0

    def test_no_longer_than_it_may(self, bench: Bench) -> None:
        bench.core._sizes.cost.host_seconds = 60.0
        bench.session.brings_more = True
        bench.admit(0, 1)
        assert bench.core.wait_seconds() == 1.0

    def test_not_for_a_session_that_waits_for_its_answer(self, bench: Bench) -> None:
        bench.admit(0)
        assert bench.core.wait_seconds() == 0
        bench.session.brings_more = True
        bench.admit(1, 2)
        bench.session.brings_more = False
        assert bench.core.wait_seconds() == 0

    def test_not_for_one_that_was_cancelled_or_has_all_its_answers(self, bench: Bench) -> None:
        bench.session.brings_more = True
        bench.admit(0, 3)
        bench.finish()
        other = BundleSession(bench.session.engine, {}, "")
        bench.core.admit([Ticket(other, 1, [1])])
        assert bench.core.wait_seconds() != 0.25
        bench.finish()
        bench.admit(2, 4)
        bench.session.cancelled = True
        assert bench.core.wait_seconds() != 0.25

    def test_a_full_batch_does_not_wait(self, bench: Bench) -> None:
        bench.session.brings_more = True
        bench.admit(*range(4))
        assert bench.core.wait_seconds() == 0

    def test_no_chunk_waits_twice(self, bench: Bench) -> None:
        bench.session.brings_more = True
        bench.admit(*range(5))  # a batch of four, and one is left
        bench.core.step()
        bench.device.batches[0].finished = True
        bench.core._finish()
        assert bench.core.waiting == 1
        assert bench.core.wait_seconds() == 0
