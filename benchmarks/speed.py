"""What the speed options bring: dtype, torch_compile, quantization_config.

    python benchmarks/speed.py [--rows 400] [--rounds 3] [--only bf16 compiled]

The job of text.py's "(b) pipelines-beam" with each option, in turns, each in a process of its own.
Counted is what more texts add to a fifth of them: loading, quantizing and compiling happen before;
their seconds are printed beside. Printed are medians of the rounds, relative to float32 in the
same round: by the clock, and by the seconds that the processor spent, which others on the machine
disturb less. "int8 dynamic" needs torchao, "int8 weights" optimum-quanto.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import transformers
from text import TEXTS, classifier, in_beam

from pipelines_beam import TextClassification

WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"dtype": "bfloat16"},
    "float32, compiled": {"torch_compile": True},
    "bfloat16, compiled": {"dtype": "bfloat16", "torch_compile": True},
    "int8 dynamic": {},
    "int8 dynamic, compiled": {"torch_compile": True},
    "int8 weights": {"quantization_config": {"quant_method": "quanto", "weights": "int8"}},
}


def options_of(way: str) -> dict[str, Any]:
    if not way.startswith("int8 dynamic"):
        return WAYS[way]
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    config = transformers.TorchAoConfig(Int8DynamicActivationInt8WeightConfig())
    return {**WAYS[way], "quantization_config": config}


def one(way: str, model: str, texts: list[str]) -> None:
    """Print the seconds of start-up, and by clock and processor those that most texts add."""
    ours = partial(TextClassification, model, truncation=True, device="cpu", **options_of(way))
    in_beam(texts[:20], ours())  # what is imported, and compiled once for all
    found = []
    for some in (texts[::5], texts):
        start, busy = time.perf_counter(), time.process_time()
        in_beam(some, ours())
        found.append((time.perf_counter() - start, time.process_time() - busy))
    (few, few_busy), (many, many_busy) = found
    print(few - (many - few) / 4, many - few, many_busy - few_busy)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="*", default=[""], help="ways with one of these in the name"
    )
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--model", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if options.way:
        texts = pq.read_table(TEXTS)["text"].to_pylist()[-options.rows :]
        one(options.way, options.model, texts)
        return
    ways = [way for way in WAYS if way == "float32" or any(part in way for part in options.only)]
    found: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        model = classifier(Path(directory))
        for _ in range(options.rounds):
            base: list[float] = []
            for way in ways:
                command = [sys.executable, "-W", "ignore", __file__, "--way", way]
                command += ["--model", model, "--rows", str(options.rows)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                start, wall, busy = map(float, done.stdout.split()[-3:])
                base = base or [wall, busy]
                print(f"{wall:8.2f} s, processor {busy:8.2f} s  {way}", file=sys.stderr)
                found.setdefault(way, []).append([base[0] / wall, base[1] / busy, start])
    for way, rounds in found.items():
        rate, work, start = map(statistics.median, zip(*rounds, strict=True))
        shown = " ".join(f"{each[0]:.2f}" for each in rounds)
        print(f"{rate:5.2f} ({shown})  processor {work:5.2f}  start {start:5.1f} s  {way}")


if __name__ == "__main__":
    main()
