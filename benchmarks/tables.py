"""What Arrow tables as elements cost, beside rows, Beam alone, and a loop written by hand.

    python benchmarks/tables.py [worker] [loop] [memory] [--rows 40000] [--rounds 3]

Ways take turns in one process with one thread; figures are processor seconds, medians of the
rounds, and ratios of the same round.

- worker: a model that gives constant logits, texts of at most 200 characters. The time of the
  worker's threads per text, without the engine's and without the tokenizer's (calls of 64), over
  what Create, Map and Count take for a text as an element of its own.
- loop: BERT with 2 layers of width 64 on short texts. The loop tokenizes all, sorts by length,
  and computes batches of 2,048 padded tokens; the ratio is its time over that of the whole job.
- memory: short texts, Parquet to Parquet, each job in a process of its own: peak megabytes.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from memory import tiny
from overhead import nothing
from text import TEXTS, by_hand, classifier, in_beam, stock

from pipelines_beam import TextClassification
from pipelines_beam.beam_options import DEFAULT_RUNNER
from transforms.engine import registry
from transforms.stages import engines

TABLE_ROWS = 10_000
Way = Callable[[list[str]], Any]


def scorer(model: str) -> TextClassification:
    return TextClassification(model, input="text", truncation=True, device="cpu")


def as_tables(model: str, texts: list[str]) -> None:
    """Read from a file: Create would compress the tables into the pipeline, and take seconds."""
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        pq.write_table(pa.table({"text": texts}), file.name, row_group_size=TABLE_ROWS)
        with beam.Pipeline(DEFAULT_RUNNER) as p:
            given = p | beam.io.ReadFromParquetBatched(file.name)
            given | scorer(model) | beam.Map(len) | beam.CombineGlobally(sum)


def as_rows(model: str, texts: list[str]) -> None:
    in_beam([beam.Row(text=text) for text in texts], scorer(model))


def as_texts(model: str, texts: list[str]) -> None:
    in_beam(texts, TextClassification(model, truncation=True, device="cpu"))


def tokenize(model: str, texts: list[str]) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    for start in range(0, len(texts), 64):
        tokenizer(texts[start : start + 64], truncation=True)


def engine_seconds() -> float:
    """Processor seconds of the engines' threads."""
    threads = [each for each in threading.enumerate() if each.name.startswith("engine ")]
    clocks = [time.pthread_getcpuclockid(each.ident) for each in threads if each.ident]
    return sum(map(time.clock_gettime, clocks))


def worker_seconds(way: Way, texts: list[str]) -> float:
    start = time.process_time() - engine_seconds()
    way(texts)
    return time.process_time() - engine_seconds() - start


def marginal(way: Way, texts: list[str]) -> float:
    """Microseconds that a text adds: of all texts, over a fifth of them."""
    few = texts[: len(texts) // 5]
    more = worker_seconds(way, texts) - worker_seconds(way, few)
    return more / (len(texts) - len(few)) * 1e6


def worker(texts: list[str], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        model = classifier(Path(directory))
        stock_forward = transformers.BertForSequenceClassification.forward
        transformers.BertForSequenceClassification.forward = nothing
        # In use until the end: so that its thread's time can be read after each job.
        _, release = registry.acquire(engines.engine_spec(scorer(model).spec))
        ways: dict[str, Way] = {
            "tables": lambda some: as_tables(model, some),
            "Beam alone": lambda some: in_beam(some, beam.Map(lambda text: text)),
            "rows": lambda some: as_rows(model, some),
            "texts": lambda some: as_texts(model, some),
            "tokenizer alone": lambda some: tokenize(model, some),
        }
        found: dict[str, list[float]] = {}
        for i in range(rounds + 1):
            some = texts if i else texts[:1000]  # the first round warms up
            took = {name: marginal(way, some) for name, way in ways.items()}
            if i:
                for name, value in took.items():
                    found.setdefault(name, []).append(value)
                for name in ("tables", "rows", "texts"):
                    rest = took[name] - took["tokenizer alone"]
                    found.setdefault(f"{name}, of Beam alone", []).append(rest / took["Beam alone"])
        for name, values in found.items():
            unit = "  " if "," in name else "µs"
            print(f"{statistics.median(values):8.2f} {unit}  {name}")
        release()
        transformers.BertForSequenceClassification.forward = stock_forward


def small(directory: Path) -> str:
    """BERT with 2 layers of width 64, and the encoder's tokenizer."""
    source = classifier(directory)
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(
        source, hidden_size=64, intermediate_size=256, num_attention_heads=2, num_hidden_layers=2
    )
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(directory)
    return str(directory)


def loop(texts: list[str], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        model = small(Path(directory))
        pipe = stock(model, "float32")
        ways: dict[str, Way] = {
            "by hand": lambda some: by_hand(pipe, some, 2048),
            "tables": lambda some: as_tables(model, some),
            "rows": lambda some: as_rows(model, some),
            "texts": lambda some: as_texts(model, some),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for i in range(rounds + 1):
            took = {}
            for name, way in ways.items():
                start = time.process_time()
                way(texts if i else texts[:1000])
                took[name] = time.process_time() - start
            if i:
                for name, value in took.items():
                    found[name].append(took["by hand"] / value)
                print({name: round(value, 2) for name, value in took.items()}, file=sys.stderr)
        for name, values in found.items():
            print(f"{statistics.median(values):8.2f} of the loop  {name}")


def parquet_job(model: str, folder: str) -> None:
    """Print the peak megabytes of a job over the file in a folder."""
    given = Path(folder) / "in.parquet"
    ours = scorer(model)
    with beam.Pipeline(DEFAULT_RUNNER) as p:
        (
            p
            | beam.io.ReadFromParquetBatched(str(given))
            | ours
            | beam.io.WriteToParquetBatched(
                str(Path(folder) / "out"), schema=ours.schema(pq.read_schema(given))
            )
        )
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def memory() -> None:
    peaks = []
    with tempfile.TemporaryDirectory() as model:
        tiny(model)
        for rows in (50_000, 1_000_000):
            with tempfile.TemporaryDirectory() as folder:
                texts = pa.array(f"the text number {i} is short" for i in range(rows))
                table = pa.table({"text": texts})
                pq.write_table(table, Path(folder) / "in.parquet", row_group_size=TABLE_ROWS)
                command = [sys.executable, "-W", "ignore", __file__, "--job", model, folder]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks.append(int(done.stdout.split()[-1]))
            print(f"{peaks[-1]:8} MB at {rows:,} rows")
    print(f"{peaks[1] - peaks[0]:8} MB more")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["worker", "loop", "memory"])
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if options.job:
        parquet_job(*options.job)
        return
    torch.set_num_threads(1)
    known = pq.read_table(TEXTS)["text"].to_pylist()
    texts = [known[i % len(known)][:200] + f" {i}" for i in range(options.rows)]
    if "worker" in options.parts:
        worker(texts, options.rounds)
    if "loop" in options.parts:
        loop([f"{text[:60]} {i}" for i, text in enumerate(texts)], options.rounds)
    if "memory" in options.parts:
        memory()


if __name__ == "__main__":
    main()
