"""Batches on a device that works by itself; the device is a stand-in, since none is here."""

from __future__ import annotations

import time
from collections import UserDict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.stand_in import Speed, StandInReplica
from transformers.utils import ModelOutput

from transforms.batching.device import CudaBatch, Device, _moved
from transforms.engine.core import EngineCore
from transforms.engine.errors import EngineError
from transforms.engine.reports import BatchReport
from transforms.engine.tickets import BundleSession, Ticket
from transforms.options.spec import Limits, ModelSpec

Model = Callable[[str], str]


class Job:
    """Texts of one length through an engine on a stand-in device."""

    def __init__(self, directory: str, speed: Speed, count: int) -> None:
        self.replica = StandInReplica(
            ModelSpec(task="text-classification", source=directory, device="cpu"), speed
        )
        self.answered: list[Ticket] = []
        self.broken: list[BaseException] = []
        self.core = EngineCore(
            Limits(batch_size=8), self.answered.append, on_broken=self.broken.append
        )
        self.core.loaded(self.replica, 0.1)
        engine: Any = None
        session = BundleSession(engine, {}, "")
        for number in range(count):
            ids = torch.full((1, 16), 5)
            features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            self.core.admit([Ticket(session, number, [features])])

    def run(self) -> None:
        while (seconds := self.core.wait_seconds()) is not None:
            time.sleep(seconds)
            self.core.step()


def test_the_device_does_not_wait_for_launches(model: Model) -> None:
    shares = []
    for _ in range(5):  # what else the machine does may disturb some
        # Launching takes a part of the 20 ms that the device needs for a batch.
        job = Job(model("bert-classification"), Speed(8 * 16 / 0.02, kernels=1000), 8 * 12)
        job.run()
        record = job.replica.device.record
        assert len(record.launches) == 12
        assert len(job.answered) == 96
        assert not any(ticket.error for ticket in job.answered)
        shares.append(record.busy / record.seconds)
        if shares[-1] > 0.9:
            break
    assert max(shares) > 0.9


def test_errors_that_come_late_are_those_of_their_own_rows(model: Model) -> None:
    job = Job(model("bert-classification"), Speed(1e6, kernels=1), 8 * 4)
    # The second batch fails, with the third behind it; then its first half does. The rest is well.
    job.replica.device.late.extend([None, ValueError("late"), None, ValueError("late")])
    job.run()
    assert len(job.answered) == 32
    assert not any(ticket.error for ticket in job.answered)
    reports = [each for ticket in job.answered for each in ticket.reports]
    split = [each.rows for each in reports if isinstance(each, BatchReport) and each.split]
    assert split == [8, 4]
    assert not job.broken


def test_a_device_that_breaks_late_breaks_the_engine(model: Model) -> None:
    job = Job(model("bert-classification"), Speed(1e6, kernels=1), 8 * 4)
    job.replica.device.late.extend([None, RuntimeError("CUDA error: an illegal memory access")])
    with pytest.raises(EngineError, match="illegal memory access"):
        job.run()
    assert [str(error) for error in job.broken] == ["CUDA error: an illegal memory access"]
    assert len(job.answered) == 8


def test_an_error_met_while_asking_is_raised_by_the_outputs() -> None:
    class Event:
        def query(self) -> bool:
            raise RuntimeError("CUDA error: device-side assert triggered")

        synchronize = query

    batch = CudaBatch(Event(), Event(), None)
    assert batch.done()
    with pytest.raises(RuntimeError, match="device-side assert"):
        batch.outputs()


def test_tensors_are_moved_in_the_containers_of_pipelines() -> None:
    pair = namedtuple("pair", "one other")
    value = ModelOutput(
        logits=torch.ones(2),
        nested=UserDict(a=[torch.ones(1), 3], b=pair(torch.ones(1), "text")),
    )
    found = _moved(value, lambda tensor: tensor + 1)
    assert type(found) is ModelOutput
    assert found.logits.tolist() == [2, 2]
    assert type(found.nested) is UserDict
    assert found.nested["a"][0].tolist() == [2]
    assert found.nested["a"][1] == 3
    assert found.nested["b"] == (torch.full((1,), 2.0), "text")
    assert type(found.nested["b"]) is tuple


def test_a_cpu_is_no_device_of_its_own(model: Model) -> None:
    replica = StandInReplica(
        ModelSpec(task="text-classification", source=model("bert-classification"), device="cpu"),
        Speed(1.0),
    )
    assert Device.of(replica._pipe) is None
