"""Replicas of one model, each in a process of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from support.engine_processes import ask, right, spec
from support.troubled import Troubled

from transforms.engine.process.remote import RemoteEngine
from transforms.engine.process.replica_group import ReplicaGroup


@pytest.mark.slow
def test_replicas_share_the_work(engine: Callable[..., RemoteEngine]) -> None:
    slow = functools.partial(Troubled, 0.1)
    fleet = ReplicaGroup([engine(spec(slow)), engine(spec(slow))])
    tickets = ask(fleet, list(range(200)))
    assert right(tickets)
    pids = [ticket.outputs[0][1] for ticket in tickets]
    counts = [pids.count(pid) for pid in set(pids)]
    assert len(counts) == 2
    assert min(counts) >= 50
