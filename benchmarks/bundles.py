"""Small bundles on many threads: what a common engine makes of them.

    python benchmarks/bundles.py [--model deep] [--threads 16] [--seconds 4] [--rounds 3]

Each thread runs bundles of one short text through the three stages, one bundle after the other,
as a streaming runner's worker does. Printed for each way, in turns, medians of the rounds: texts
per second over those of "each bundle alone" in the same round; the same for a second of the
processor, which others on the machine disturb less; the mean batch; and the median and 99th
percentile of a bundle's milliseconds.

Models: "deep" is BERT with 24 layers of width 32, in which starting a batch costs more than
computing it, as on an accelerator; "encoder" is MiniLM-L6, in which a CPU's time goes into tokens.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch
import transformers
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from text import TEXTS, classifier, stock

from pipelines_beam import TextClassification
from transforms.stages.forward import ForwardFn
from transforms.stages.postprocess import PostprocessFn
from transforms.stages.preprocess import PreprocessFn

Bundle = Callable[[str], Any]

WAYS: dict[str, dict[str, Any]] = {
    "each bundle alone": {"batch_size": 1},
    "common batches, no waiting": {"max_wait_ms": 0},
    "common batches": {},
}
STOCK = "transformers.pipeline, one for each thread"


class Figures(NamedTuple):
    """Of one way: rates are texts per second."""

    rate: float
    processor_rate: float
    mean_batch: float
    median_ms: float
    last_ms: float


def deep(directory: Path) -> str:
    """The tokenizer of the encoder, and a thin model of many layers."""
    source = classifier(directory)
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(
        source,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_hidden_layers=24,
    )
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(directory)
    return str(directory)


def run_bundle(fns: list[Any], text: str) -> list[Any]:
    """One bundle of one element through DoFns, as a runner calls them."""
    values = [WindowedValue(text, 0, (GlobalWindow(),))]
    for fn in fns:
        fn.start_bundle()
        out = [x for value in values for x in fn.process(value.value, windowed=value) or ()]
        out += fn.finish_bundle() or ()
        values = [
            x if isinstance(x, WindowedValue) else WindowedValue(x, 0, (GlobalWindow(),))
            for x in out
        ]
    return values


@contextlib.contextmanager
def stages(transform: TextClassification) -> Iterator[tuple[Bundle, Callable[[], int]]]:
    """What runs a bundle on one thread's own DoFns, and how many batches there have been."""
    spec, binding = transform.spec, transform.plan.binding
    fns = [
        PreprocessFn(spec, False, binding, None),
        ForwardFn(spec, False),
        PostprocessFn(spec, False, binding, None),
    ]
    for fn in fns:
        fn.setup()
    try:
        yield lambda text: run_bundle(fns, text), lambda: fns[1]._engine.batches
    finally:
        for fn in fns:
            fn.teardown()


def measure(
    bundles: list[Bundle], texts: list[str], seconds: float, batches: Callable[[], int]
) -> Figures:
    """What came of running bundles for a while, each way on a thread of its own."""
    took: list[list[float]] = [[] for _ in bundles]
    barrier = threading.Barrier(len(bundles) + 1)
    stop = threading.Event()

    def work(i: int) -> None:
        mine = itertools.cycle(texts[i :: len(bundles)])
        for _ in range(3):
            bundles[i](next(mine))
        barrier.wait()
        while not stop.is_set():
            start = time.perf_counter()
            bundles[i](next(mine))
            took[i].append(time.perf_counter() - start)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(bundles))]
    for thread in threads:
        thread.start()
    barrier.wait()
    before, start, busy = batches(), time.perf_counter(), time.process_time()
    time.sleep(seconds)
    wall, worked = time.perf_counter() - start, time.process_time() - busy
    after, found = batches(), sorted(itertools.chain.from_iterable(took))
    stop.set()
    for thread in threads:
        thread.join()
    count = len(found)
    mean = count / (after - before) if after > before else 1.0
    last = found[count * 99 // 100]
    return Figures(count / wall, count / worked, mean, found[count // 2] * 1e3, last * 1e3)


def one(way: str, model: str, options: argparse.Namespace) -> None:
    """Print the figures of one way."""
    known = pq.read_table(TEXTS)["text"].to_pylist()
    texts = [text[: options.length] for text in known[:1000]]
    with contextlib.ExitStack() as stack:
        if way == STOCK:
            pipes = [stock(model, "float32") for _ in range(options.threads)]
            print(*measure(pipes, texts, options.seconds, lambda: 0))
            return
        transform = TextClassification(model, truncation=True, device="cpu", **WAYS[way])
        found = [stack.enter_context(stages(transform)) for _ in range(options.threads)]
        print(*measure([bundle for bundle, _ in found], texts, options.seconds, found[0][1]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="deep", choices=("deep", "encoder"))
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--length", type=int, default=24, help="most characters of a text")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--directory", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if options.way:
        one(options.way, options.directory, options)
        return
    ratios: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as directory:
        {"deep": deep, "encoder": classifier}[options.model](Path(directory))
        for _ in range(options.rounds):
            base: Figures | None = None
            for way in (*WAYS, STOCK):
                command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:]]
                command += ["--way", way, "--directory", directory]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found = Figures(*map(float, done.stdout.split()[-5:]))
                base = base or found
                print(f"{found.rate:8.0f} texts/s  {way}", file=sys.stderr)
                ratio, worked = found.rate / base.rate, found.processor_rate / base.processor_rate
                ratios.setdefault(way, []).append(Figures(ratio, worked, *found[2:]))
    for way, rounds in ratios.items():
        ratio, worked, mean, median, last = map(statistics.median, zip(*rounds, strict=True))
        took = f"{median:6.1f} ms, 99 %: {last:6.1f} ms"
        print(f"{ratio:6.2f}  processor {worked:6.2f}  batch {mean:5.1f}  {took}  {way}")


if __name__ == "__main__":
    main()
