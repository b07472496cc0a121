"""Several worker processes on one machine: one engine for all, or one for each.

    python benchmarks/processes.py [--rows 3000] [--rounds 3] [--workers 4]

A sentence encoder with a classification head labels texts in Beam's local runner. Throughput is
rows over the time that an engine computed or waited for work, which leaves out the start of
processes: that takes half a minute, give or take seconds. Printed is each way's median, over the
throughput of one process in the same round; the whole job's seconds; and the most memory that the
job's processes had together, shared pages counted once.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import transformers
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from text import TEXTS, classifier

from pipelines_beam import TextClassification
from pipelines_beam.beam_options import DEFAULT_RUNNER

EVERY = 5.0  # seconds: adding up the pages of a process takes a core for a while
WAYS = {
    "one process": (1, "process"),
    "workers, share='machine'": (0, "machine"),
    "workers, share='process'": (0, "process"),
}


def job(model: str, texts: list[str], workers: int, share: str) -> float:
    """The seconds of each of its engines."""
    options = ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    settings = PipelineOptions(options if workers > 1 else [])
    pipeline = beam.Pipeline(DEFAULT_RUNNER, options=settings)
    task = TextClassification(model, truncation=True, device="cpu", share=share)
    pipeline | beam.Create(texts) | task | beam.combiners.Count.Globally()
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("pipelines_beam"))
    counted = {each.key.metric.name: each.committed for each in found["counters"]}
    spread = {each.key.metric.name: each.committed for each in found["distributions"]}
    seconds = (counted["compute_micro_secs"] + counted["idle_micro_secs"]) / 1e6
    return float(seconds / spread["load_model_latency_milli_secs"].count)


class Memory:
    """The most memory of the processes of a session and the engines that it started."""

    def __init__(self, mark: str) -> None:
        self._mark = f"BENCHMARKED={mark}".encode()
        self.most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(EVERY):
            self.most = max(self.most, sum(map(self._bytes, Path("/proc").glob("[0-9]*"))))

    def _bytes(self, process: Path) -> int:
        try:
            if self._mark not in (process / "environ").read_bytes():
                return 0
            lines = (process / "smaps_rollup").read_text().splitlines()
        except OSError:  # it has gone
            return 0
        return next((int(line.split()[1]) * 1024 for line in lines if line[:4] == "Pss:"), 0)


def timed(model: str, way: str, rows: int, workers: int) -> tuple[float, float, int]:
    """Seconds of a job's engines and of all of it, in a process of its own, and the most bytes."""
    count, share = WAYS[way]
    command = [sys.executable, "-W", "ignore", __file__, "--model", model, "--share", share]
    command += ["--rows", str(rows), "--workers", str(count or workers)]
    mark = f"{time.time()}"
    with Memory(mark) as memory:
        done = subprocess.run(
            ["env", f"BENCHMARKED={mark}", *command], check=True, stdout=subprocess.PIPE, text=True
        )
    engines, whole = map(float, done.stdout.split()[-2:])
    return engines, whole, memory.most


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--share", help=argparse.SUPPRESS)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if options.model:
        known = pq.read_table(TEXTS)["text"].to_pylist()
        texts = [known[i % len(known)] for i in range(options.rows)]
        start = time.perf_counter()
        engines = job(options.model, texts, options.workers, options.share)
        print(engines, time.perf_counter() - start)
        return
    ratios: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    memory: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as directory:
        model = classifier(Path(directory))
        for _ in range(options.rounds):
            base = 0.0
            for way in WAYS:
                engines, whole, most = timed(model, way, options.rows, options.workers)
                rate = options.rows / engines
                base = base or rate
                print(f"{rate:8.1f} texts/s, {whole:.0f} s in all  {way}", file=sys.stderr)
                ratios.setdefault(way, []).append(rate / base)
                seconds.setdefault(way, []).append(whole)
                memory[way] = max(memory.get(way, 0), most)
    for way, values in ratios.items():
        shown = " ".join(f"{value:.2f}" for value in values)
        whole = statistics.median(seconds[way])
        used = f"{whole:4.0f} s {memory[way] / 1e6:6,.0f} MB"
        print(f"{statistics.median(values):5.2f} {used}  {way} ({shown})")


if __name__ == "__main__":
    main()
