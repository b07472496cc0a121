"""Memory that a job takes does not grow with its rows, nor with what their features take."""

from __future__ import annotations

import collections
import re
import subprocess
import sys
from typing import Any

import apache_beam as beam
import pytest
import torch
from apache_beam.transforms.window import GlobalWindows
from PIL import Image
from support.paths import BENCHMARKS

from pipelines_beam import ObjectDetection, Record
from transforms.engine import registry
from transforms.engine.tickets import Ticket
from transforms.options.sizes import nbytes
from transforms.stages.forward import ForwardFn


def printed(name: str) -> str:
    command = [sys.executable, "-W", "ignore", str(BENCHMARKS / name)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=3000)
    print(done.stdout)
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARKS.exists(), reason="the source distribution has no benchmarks")
def test_a_million_texts_take_little_more_than_fifty_thousand() -> None:
    said = printed("memory.py")
    assert int(said.split()[-3]) <= 64, said


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARKS.exists(), reason="the source distribution has no benchmarks")
def test_three_hundred_images_with_features_of_17_mb_take_what_the_window_does() -> None:
    """All of their features together are 5,100 MB."""
    said = printed("memory_images.py")
    few, many, quarter, more = (int(n) for n in re.findall(r"(-?\d+) MB", said))
    assert more <= 128, said
    assert many <= 2_300, said
    assert few - quarter >= 100, said  # it is the window that decides


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (Image.new("RGB", (400, 300)), 360_000),
        ({"image": Image.new("L", (400, 300)), "text": "what is it?"}, 120_011),
        ([0.5] * 768, 24_576),
        (beam.Row(name="x", embedding=[0.5] * 768, count=3), 24_577),
        ((), 0),
        (None, 0),
    ],
)
def test_what_an_element_takes(value: Any, size: int) -> None:
    assert nbytes(value) == size


class Slow:
    """An engine, and a session of it: it answers when it must, the oldest first."""

    dead = False

    def __init__(self) -> None:
        self.waiting: collections.deque[Ticket] = collections.deque()
        self.most = 0

    def session(self, parameters: Any) -> Any:
        return self

    @property
    def answered(self) -> Any:
        return self

    def submit(self, token: Any, features: list[Any]) -> None:
        session: Any = self
        self.waiting.append(Ticket(session, token, features))
        self.most = max(self.most, len(self.waiting))

    def flush(self) -> None:
        pass

    def cancel(self) -> None:
        self.waiting.clear()

    def empty(self) -> bool:
        return True

    def get(self) -> Ticket:
        ticket = self.waiting.popleft()
        ticket.outputs = [{"logits": torch.zeros(10)}]
        return ticket


@pytest.mark.parametrize(("megabytes", "least", "most"), [(17, 15, 16), (0.1, 2040, 2049)])
def test_the_window_is_bounded_in_bytes(
    megabytes: float, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Slow()
    monkeypatch.setattr(registry, "acquire", lambda spec: (engine, lambda: None))
    fn = ForwardFn(ObjectDetection("a/model").spec, False)
    pixels = torch.empty(int(megabytes * 1e6) // 4)  # never written: it takes no memory
    found: list[Any] = []

    fn.setup()
    fn.start_bundle()
    for i in range(2_500):
        record = Record(i, i, [{"pixel_values": pixels}], [1])
        found += fn.process(record, GlobalWindows.windowed_value(record))
    found += fn.finish_bundle()
    fn.teardown()

    assert [each.value.element for each in found] == list(range(2_500))
    assert least <= engine.most <= most
