"""What everything around the model costs: time per text, and time until the first row.

    python benchmarks/overhead.py [--rows 20000] [--rounds 5]

Per text: a job whose model gives constant logits, on one core, in turns with the same job without
our transform (Beam's share) and with the tokenizer alone, in calls of 64. A text's time is what
more texts add to a fifth of them: start-up is measured below. Printed are microseconds per text,
medians of the rounds, and what remains for the three stages and the engine.

Start-up: seconds from the start of Python to the first answer, in turns, `transformers.pipeline`
and a job of ours, with a sentence encoder of real size.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
import torch
import transformers
from text import TEXTS, classifier, in_beam
from transformers.modeling_outputs import SequenceClassifierOutput

from pipelines_beam import TextClassification

FIRST_ALONE = """
import transformers
pipe = transformers.pipeline("text-classification", {model!r}, device="cpu")
print(pipe("The first row."))
"""
FIRST_IN_BEAM = """
import os
import apache_beam as beam
from pipelines_beam import TextClassification
from pipelines_beam.beam_options import DEFAULT_RUNNER

def out(answer):
    print(answer, flush=True)
    os._exit(0)

with beam.Pipeline(DEFAULT_RUNNER) as p:
    p | beam.Create(["The first row."] * 100, reshuffle=False) | TextClassification(
        {model!r}, device="cpu") | beam.Map(out)
"""


def nothing(self: Any, input_ids: torch.Tensor, **_: Any) -> SequenceClassifierOutput:
    """In place of a model's forward."""
    return SequenceClassifierOutput(logits=torch.zeros(len(input_ids), 3))


def seconds(way: Callable[[list[str]], Any], texts: list[str]) -> float:
    start = time.perf_counter()
    way(texts)
    return time.perf_counter() - start


def per_text(model: str, texts: list[str], rounds: int) -> None:
    transformers.BertForSequenceClassification.forward = nothing
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)

    def tokenize(some: list[str]) -> None:
        for start in range(0, len(some), 64):
            tokenizer(some[start : start + 64], truncation=True)

    ways: dict[str, Callable[[list[str]], Any]] = {
        "ours": lambda some: in_beam(
            some, TextClassification(model, truncation=True, device="cpu")
        ),
        "Beam alone": lambda some: in_beam(some, beam.Map(lambda text: text)),
        "tokenizer alone": tokenize,
    }
    few = texts[: len(texts) // 5]
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        took = {}
        for name, way in ways.items():
            more = seconds(way, texts) - seconds(way, few)
            took[name] = more / (len(texts) - len(few)) * 1e6
            found.setdefault(name, []).append(took[name])
        rest = took["ours"] - took["Beam alone"] - took["tokenizer alone"]
        found.setdefault("the stages and the engine", []).append(rest)
    for name, values in found.items():
        print(f"{statistics.median(values):8.1f} µs per text  {name}")


def start_up(model: str, rounds: int) -> None:
    scripts = {"transformers.pipeline": FIRST_ALONE, "pipelines-beam": FIRST_IN_BEAM}
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, script in scripts.items():
            command = [sys.executable, "-W", "ignore", "-c", script.format(model=model)]
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            found.setdefault(name, []).append(time.perf_counter() - start)
    for name, values in found.items():
        print(f"{statistics.median(values):8.2f} s to the first row  {name}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    known = pq.read_table(TEXTS)["text"].to_pylist()
    texts = [known[i % len(known)][:200] for i in range(options.rows)]
    with tempfile.TemporaryDirectory() as directory:
        model = classifier(Path(directory))
        start_up(model, options.rounds)
        per_text(model, texts, options.rounds)


if __name__ == "__main__":
    main()
