"""The messages between a worker and an engine's process."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from transforms.engine.errors import PicklableError
from transforms.engine.process import protocol
from transforms.engine.process.protocol import (
    BatchesLaunched,
    CancelSession,
    EngineBroken,
    Message,
    ModelLoaded,
    OpenSession,
    Progress,
    SubmitTickets,
    TicketAnswered,
    TicketsAnswered,
)
from transforms.engine.reports import BatchReport, LoadReport, RestartReport

REPORTS = (LoadReport(1.5, 12), BatchReport(rows=2, tokens=7, padded=8), RestartReport(3))
ERROR = PicklableError(None, "StrangeError", "odd", "in a line", None)


@pytest.mark.parametrize(
    "message",
    [
        OpenSession(3, "key", b"parameters"),
        SubmitTickets([(7, 0, 2)], 3, True, [(0, 64), (128, 70)], b"features"),
        CancelSession(3),
        ModelLoaded(),
        BatchesLaunched(1, [7, 9], [8]),
        BatchesLaunched(1, []),
        TicketAnswered(7, None, Progress(REPORTS, 12)),
        TicketAnswered(7, ERROR, Progress(dead=True)),
        TicketsAnswered([(7, 1), (9, 2)], Progress(REPORTS)),
        EngineBroken("RuntimeError: CUDA error"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    found, outputs = protocol.unpack(protocol.pack(message))
    assert type(found) is type(message)
    assert found == message
    assert not list(outputs)


def test_outputs_follow_their_message() -> None:
    answer = TicketAnswered(7, None, Progress(REPORTS, 12))
    found, outputs = protocol.unpack(protocol.pack_with(answer, [torch.ones(2), "a"]))
    assert found == answer
    ((tensor, text),) = outputs
    assert torch.equal(tensor, torch.ones(2))
    assert text == "a"


def test_outputs_of_an_unknown_class_leave_the_message_readable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("only_there")
    module.Answer = type("Answer", (), {"__module__": "only_there"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "only_there", module)
    answer = TicketAnswered(7, None, Progress(waiting=12))
    data = protocol.pack_with(answer, [module.Answer()])
    monkeypatch.delitem(sys.modules, "only_there")
    found, outputs = protocol.unpack(data)
    assert found == answer
    with pytest.raises(ModuleNotFoundError, match="only_there"):
        next(outputs)


def test_a_message_takes_few_bytes_more_than_its_features() -> None:
    features = bytes(600)
    assert len(protocol.pack(SubmitTickets([(12_345, 0, 1)], 678, False, [], features))) < 600 + 60
