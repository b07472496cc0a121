"""Whether an accelerator would wait for us, measured without one.

    python benchmarks/accelerator.py [--texts-per-second 2000] [--rows 20000] [--workers 1]
    python benchmarks/accelerator.py --ready [--texts-per-second 13500]
    python benchmarks/accelerator.py --images 0.15 [--rows 4000]
    python benchmarks/accelerator.py --ready --busy

A job classifies texts with a model whose device is a stand-in: launching a batch costs what it
costs, the device then computes padded tokens at a given rate in virtual time, and reading a batch
back waits until that time has come. With --ready, or --images (MB of uint8 each), features that
are there already are handed to the engine's process, as a preprocess stage would hand them: it
shows what that process can do at most. With --busy, another thread of each worker keeps its
interpreter busy, which must not change how long a launch takes.

Printed are the share of the time in which the device computed, the processor time of the engine's
process beside the launches and of the workers, for each element, the padding, how long a launch
took, and how long a batch's first element had waited.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import torch
import transformers
from apache_beam.options.pipeline_options import PipelineOptions
from text import TEXTS, classifier

from pipelines_beam import TextClassification
from pipelines_beam.beam_options import DEFAULT_RUNNER
from transforms.engine import registry
from transforms.engine.interface import EngineSpec
from transforms.engine.reports import BatchReport
from transforms.options.spec import Limits, ModelSpec, Sharing
from transforms.stages import engines, metrics

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from support.stand_in import Speed, StandInReplica  # noqa: E402 - found there

waits: list[float] = []


def job(model: str, texts: list[str], workers: int) -> None:
    transform = TextClassification(model, truncation=True, device="cpu", share="machine")
    options = None
    if workers > 1:
        options = PipelineOptions(
            ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
        )
    with beam.Pipeline(DEFAULT_RUNNER, options=options) as p:
        _ = p | beam.Create(texts, reshuffle=workers > 1) | transform


def with_stand_in(model: str, speed: Speed, path: Path) -> None:
    """Have jobs of this process run a model on a stand-in device."""
    load = functools.partial(StandInReplica, speed=speed, path=path)
    monkeypatched: Any = engines
    monkeypatched.replica.Replica = load
    count = metrics.StageMetrics.add

    def counted(self: Any, reports: Any) -> None:
        waits.extend(each.waited for each in reports if isinstance(each, BatchReport))
        count(self, reports)

    metrics.StageMetrics.add = counted  # type: ignore[method-assign]


def texts(options: argparse.Namespace, path: Path, directory: Path) -> float:
    model = classifier(directory)
    known = pq.read_table(TEXTS)["text"].to_pylist()
    some = [known[i % len(known)] for i in range(options.rows)]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    tokens = sum(map(len, tokenizer(known, truncation=True)["input_ids"])) / len(known)
    speed = Speed(options.texts_per_second * tokens, options.kernels, labels=3)
    with_stand_in(model, speed, path)
    if options.busy:
        keep_busy()
    before = time.process_time()
    job(model, some, options.workers)
    return time.process_time() - before


def tokenized(model: str) -> list[Any]:
    """The features of the quickstart's texts."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    known = pq.read_table(TEXTS)["text"].to_pylist()
    return [tokenizer(text, truncation=True, return_tensors="pt") for text in known]


def one_image(size: int) -> list[Any]:
    """The features of an image of this many bytes."""
    return [{"pixel_values": torch.zeros(1, 3, size // 3, dtype=torch.uint8)}]


def keep_busy() -> None:
    """Have a thread of this process do nothing but run Python."""

    def run() -> None:
        while True:
            sum(range(1000))

    threading.Thread(target=run, daemon=True).start()


def feed(spec: EngineSpec, make: Any, count: int, window: int, ends: Any) -> None:
    """Hand features to an engine, as many at a time as a window holds."""
    engine, release = registry.acquire(spec)
    session = engine.session({})
    features = make()
    flying = 0
    start = time.process_time()
    for i in range(count):
        session.submit(None, [features[i % len(features)]])
        flying += 1
        while flying > window or not session.answered.empty():
            if session.answered.empty():
                session.flush()
            session.answered.get(timeout=600)
            flying -= 1
    session.flush()
    for _ in range(flying):
        assert session.answered.get(timeout=600).error is None
    ends.put(time.process_time() - start)
    release()


def feed_beside_a_busy_thread(*arguments: Any) -> None:
    keep_busy()
    feed(*arguments)


def ready(options: argparse.Namespace, path: Path, directory: Path) -> float:
    model = classifier(directory)
    if options.images is None:
        make, window = functools.partial(tokenized, model), 4096
        tokens = [len(each["input_ids"][0]) for each in make()]
        rate = options.texts_per_second * sum(tokens) / len(tokens)
    else:
        make, window = functools.partial(one_image, int(options.images * 1e6)), 256
        rate = options.images_per_second
    speed = Speed(rate, options.kernels, labels=3)
    spec = ModelSpec(task="text-classification", source=model, device="cpu")
    engine = EngineSpec(
        identity=str(time.time()),
        name="features",
        load=functools.partial(StandInReplica, spec, speed, path),
        limits=Limits(),
        sharing=Sharing(share="machine", processes=options.workers),
    )
    context = multiprocessing.get_context("spawn")
    ends = context.Queue()
    share = options.rows // options.workers
    arguments = (engine, make, share, window, ends)
    work = feed_beside_a_busy_thread if options.busy else feed
    feeders = [context.Process(target=work, args=arguments) for _ in range(options.workers)]
    for each in feeders:
        each.start()
    used = sum(ends.get() for _ in feeders)
    for each in feeders:
        each.join()
    return float(used)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts-per-second", type=float, default=2000)
    parser.add_argument("--ready", action="store_true", help="texts tokenized before")
    parser.add_argument("--busy", action="store_true", help="a busy thread in each worker")
    parser.add_argument("--images", type=float, help="MB of an image's features")
    parser.add_argument("--images-per-second", type=float, default=9900)
    parser.add_argument("--kernels", type=int, default=400)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "record.json"
        way = ready if options.ready or options.images is not None else texts
        used = way(options, path, Path(directory) / "model")
        record = json.loads(path.read_text())
    rows = record["rows"]
    launches = sorted(record["launches"])
    print(f"{record['busy'] / record['seconds']:8.3f} of the time the device computed")
    print(f"{rows / record['seconds']:8.0f} elements per second")
    print(f"{record['cpu'] / rows * 1e6:8.1f} µs per element in the engine's process")
    print(f"{used / options.rows * 1e6:8.1f} µs per element in the workers, start-up included")
    print(f"{1 - record['real'] / record['padded']:8.3f} of what was computed was padding")
    print(f"{rows / len(launches):8.1f} rows in a batch")
    print(f"{statistics.median(launches) * 1e3:8.2f} ms to launch a batch")
    if waits:
        waits.sort()
        middle, late = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        print(f"{middle:8.2f} s that a batch's first element waited; {late:.2f} s in 1 %")


if __name__ == "__main__":
    main()
