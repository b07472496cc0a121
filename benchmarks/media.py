"""What waiting for servers costs: images as bytes, from files, and over HTTP with latency.

    python benchmarks/media.py [--images 400] [--latency 0.05]

Photos of 640 by 480 (JPEG) through a Beam job with a classifier that computes next to nothing, on
one core; the server is a process of its own on the other. Printed are images per second.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import io
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import torch
import transformers
from PIL import Image

from pipelines_beam import ImageClassification
from pipelines_beam.beam_options import DEFAULT_RUNNER


class Slow(http.server.SimpleHTTPRequestHandler):
    """Files, after a while."""

    latency = 0.0

    def do_GET(self) -> None:
        time.sleep(self.latency)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server to which many connect at once."""

    request_queue_size = 128


def serve(directory: str, latency: float, port: Any) -> None:
    Slow.latency = latency
    with Server(("127.0.0.1", 0), functools.partial(Slow, directory=directory)) as server:
        port.send(server.server_address[1])
        server.serve_forever()


def photo(i: int) -> bytes:
    random = np.random.RandomState(i)
    small = Image.fromarray(random.randint(0, 256, (30, 40, 3), np.uint8))
    file = io.BytesIO()
    small.resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def tiny(directory: str) -> str:
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=16,
        image_size=224,
        patch_size=112,
    )
    transformers.ViTForImageClassification(config).save_pretrained(directory)
    transformers.ViTImageProcessor().save_pretrained(directory)
    return directory


def local(root: str, i: int) -> str:
    return f"{root}/{i}.jpg"


def content(root: str, i: int) -> bytes:
    return Path(local(root, i)).read_bytes()


def rate(model: str, source: Callable[[int], Any], count: int, limits: dict[str, float]) -> float:
    """Images per second, the start of the job left out."""

    def seconds(images: int) -> float:
        start = time.perf_counter()
        with beam.Pipeline(DEFAULT_RUNNER) as p:
            numbers = p | beam.Create(list(range(images)), reshuffle=False)
            transform = ImageClassification(model, device="cpu", media_limits=limits)
            numbers | beam.Map(source) | transform | beam.combiners.Count.Globally()
        return time.perf_counter() - start

    few = count // 10
    return (count - few) / (seconds(count) - seconds(few))


def measured(options: argparse.Namespace, root: str, uri: str) -> None:
    model = tiny(f"{root}/model")
    run = functools.partial(rate, model, count=options.images)
    ways: dict[str, Callable[[], float]] = {
        "bytes": lambda: run(functools.partial(content, root), limits={}),
        "paths": lambda: run(functools.partial(local, root), limits={}),
    }
    for fetches in options.fetches:
        source, limits = functools.partial(local, uri), {"fetches": fetches} if fetches else {}
        ways[f"URIs, {fetches:2} at once"] = functools.partial(run, source, limits=limits)
    ways["paths"]()
    for _ in range(options.rounds):
        print("; ".join(f"{name}: {way():.0f}" for name, way in ways.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--fetches", type=int, nargs="*", default=[1, 4, 16, 32])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for i in range(options.images):
            (root / f"{i}.jpg").write_bytes(photo(i))
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(directory, options.latency, theirs), daemon=True
        )
        process.start()
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid or 0, range(os.cpu_count() or 1))
        measured(options, directory, f"http://127.0.0.1:{ours.recv()}")
        process.terminate()


if __name__ == "__main__":
    main()
