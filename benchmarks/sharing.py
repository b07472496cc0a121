"""What it costs that features cross to an engine in a process of its own.

    python benchmarks/sharing.py [--elements 3000] [--rounds 5]

Elements with the features of one image (0.6 MB of float32) and of one text (three times 64
numbers) go through an engine that computes next to nothing: in this process, and in one of its
own. Beside it, in turns, what copying the images' bytes takes, once and twice.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))  # the engine's process imports this module, too
import sharing as this_module

from transforms.engine.interface import BatchSlot, EngineSpec, SynchronousProgram
from transforms.engine.registry import acquire
from transforms.engine.tickets import AnyEngine
from transforms.options.spec import Limits, Sharing

IN_FLIGHT = 256  # elements


class First(SynchronousProgram):
    """A model that looks at the first number of all features."""

    accelerated = False
    generates = False
    overlaps = False
    nbytes = 0

    def program(self, parameters: Any) -> First:
        return self

    def batch_slots(self, chunks: Sequence[Any]) -> list[BatchSlot]:
        return [BatchSlot("all", 1)] * len(chunks)

    def run(self, chunks: Sequence[Any]) -> list[Any]:
        return [{"first": float(next(iter(chunk.values())).flatten()[0])} for chunk in chunks]


def image() -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.rand(1, 3, 224, 224)}


def text() -> dict[str, torch.Tensor]:
    return {name: torch.ones(1, 64, dtype=torch.int64) for name in ("ids", "mask", "types")}


def through(engine: AnyEngine, elements: list[Any]) -> None:
    session = engine.session({})
    for i, features in enumerate(elements):
        session.submit(i, [features])
        if i >= IN_FLIGHT:
            session.answered.get()
    for _ in range(min(len(elements), IN_FLIGHT)):
        session.answered.get()


def copied(elements: list[Any], times: int) -> None:
    arrays = [features["pixel_values"].numpy() for features in elements]
    target = np.empty((IN_FLIGHT, *arrays[0].shape), arrays[0].dtype)
    for _ in range(times):
        for i, array in enumerate(arrays):
            target[i % IN_FLIGHT] = array


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--elements", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    made = {kind.__name__: [kind() for _ in range(64)] for kind in (image, text)}
    inputs = {
        name: [some[i % len(some)] for i in range(options.elements)] for name, some in made.items()
    }
    ways: dict[str, Callable[[list[Any]], None]] = {}
    leave = []
    for share in ("process", "machine"):
        spec = EngineSpec(
            identity=share,
            name=share,
            load=this_module.First,
            limits=Limits(),
            sharing=Sharing(share=share),
        )
        engine, release = acquire(spec)
        leave.append(release)
        ways[f"engine, share={share!r}"] = functools.partial(through, engine)
    rates: dict[str, list[float]] = {}
    for way in ways.values():
        way(inputs["image"][:IN_FLIGHT])  # the process is up, its memory is there
    for _ in range(options.rounds):
        for kind, elements in inputs.items():
            for name, way in ways.items():
                start = time.perf_counter()
                way(elements)
                rate = len(elements) / (time.perf_counter() - start)
                rates.setdefault(f"{kind}s: {name}", []).append(rate)
        for times in (1, 2):
            start = time.perf_counter()
            copied(inputs["image"], times)
            rate = len(inputs["image"]) / (time.perf_counter() - start)
            rates.setdefault(f"images: their bytes copied, {times} x", []).append(rate)
    for name, found in rates.items():
        print(f"{statistics.median(found):10,.0f} elements/s  {name}")
    for release in leave:
        release()


if __name__ == "__main__":
    main()
