"""Whether images would pay for crossing to the engine as uint8, normalised beside the model.

    python benchmarks/wire.py [--rounds 5]

Printed are milliseconds an image (224 by 224, as ViT's processor makes it: 0.6 MB of float32, or
0.15 MB of uint8), on one thread, the medians of rounds: what would be saved where features are
made and where they cross, what would be added beside the model, and what surrounds it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature

from pipelines_beam import Record

BATCH = 32


def milliseconds(function: Callable[[], Any], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - start) / times * 1e3


def echo(pipe: Any) -> None:
    while (data := pipe.recv_bytes()) != b"end":
        pickle.loads(data)
        pipe.send_bytes(b"")


def record(pixels: torch.Tensor) -> Record:
    return Record("", "", [BatchFeature({"pixel_values": pixels})], [1])


def ways(pipe: Any) -> dict[str, Callable[[], float]]:
    image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (480, 640, 3), np.uint8))
    processor = transformers.ViTImageProcessor()
    plain = {"do_rescale": False, "do_normalize": False}
    floats = processor(image, return_tensors="pt")["pixel_values"]
    integers = processor(image, return_tensors="pt", **plain)["pixel_values"].to(torch.uint8)
    batch = integers.expand(BATCH, -1, -1, -1).contiguous()

    def normalised() -> Any:
        return batch.to(torch.float32).sub_(127.5).div_(127.5)

    assert torch.allclose(normalised()[:1], floats, atol=1e-6)
    rows = [floats] * BATCH, [integers] * BATCH
    model = transformers.ViTModel(transformers.ViTConfig()).eval()

    def crossed(pixels: torch.Tensor) -> None:
        pipe.send_bytes(pickle.dumps(record(pixels)))
        pipe.recv_bytes()

    with torch.inference_mode():
        model(floats)
    forward = torch.inference_mode()(lambda: model(floats))
    return {
        "processor, float32": lambda: milliseconds(
            lambda: processor(image, return_tensors="pt"), 50
        ),
        "processor, uint8": lambda: milliseconds(
            lambda: processor(image, return_tensors="pt", **plain), 50
        ),
        "to another process, float32": lambda: milliseconds(lambda: crossed(floats), 200),
        "to another process, uint8": lambda: milliseconds(lambda: crossed(integers), 200),
        f"batch of {BATCH} joined, float32": lambda: (
            milliseconds(lambda: torch.cat(rows[0]), 20) / BATCH
        ),
        f"batch of {BATCH} joined, uint8": lambda: (
            milliseconds(lambda: torch.cat(rows[1]), 20) / BATCH
        ),
        f"batch of {BATCH} normalised": lambda: milliseconds(normalised, 20) / BATCH,
        "ViT-base": lambda: milliseconds(forward, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=echo, args=(theirs,), daemon=True)
    process.start()
    measured = ways(ours)
    found = [{name: way() for name, way in measured.items()} for _ in range(options.rounds)]
    ours.send_bytes(b"end")
    for name in measured:
        values = [each[name] for each in found]
        print(f"{name:32} {statistics.median(values):8.3f}  ({min(values):.3f}-{max(values):.3f})")


if __name__ == "__main__":
    main()
