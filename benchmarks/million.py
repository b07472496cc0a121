"""A job over files beside the same job without a plan and shards: time and memory of a row.

    OMP_NUM_THREADS=1 python benchmarks/million.py [--rows 1000000]

Short texts through a tiny model, Parquet to Parquet, each run in a process of its own:

- plain: ReadFromParquetBatched, the task, WriteToParquetBatched.
- files: the same rows, task and columns as ProcessFiles.
- killed: the same, killed with SIGKILL when half of its shards are there, and resumed.

Printed are seconds, microseconds of a row, by the clock and of the processor, and the peak of the
resident memory. The outputs must have the same answers. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FILES, GROUP = 10, 10_000
_NO_MORE = 1_000_000_000  # shards: it is not killed


@dataclass(frozen=True)
class Run:
    """What a process took."""

    seconds: float
    processor: float
    megabytes: int
    status: int

    def show(self, name: str, rows: int) -> None:
        wall, own = (1e6 * each / rows for each in (self.seconds, self.processor))
        print(
            f"{name:8} {self.seconds:7.1f} s  {wall:6.1f} µs a row, {own:6.1f} of the processor  "
            f"{self.megabytes:6} MB",
            flush=True,
        )


def measured(kind: str, folder: Path, rows: int, kill_at: int = _NO_MORE) -> Run:
    """Run a job in a process, and kill it when its output has so many shards."""
    command = [sys.executable, "-W", "ignore", __file__, "--job", kind, str(folder)]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--rows", str(rows)])
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if len(list((folder / "killed").glob("part-*"))) >= kill_at:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.05)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, processor = time.perf_counter() - start, used.ru_utime + used.ru_stime
    return Run(seconds, processor, used.ru_maxrss // 1024, process.returncode)


def make(folder: Path, rows: int) -> None:
    """The input and the model."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from memory import tiny

    tiny(str(folder / "model"))
    (folder / "in").mkdir()
    count = rows // FILES
    for i in range(FILES):
        numbers = range(i * count, (i + 1) * count)
        table = pa.table(
            {"id": numbers, "text": [f"the text number {n} is short" for n in numbers]}
        )
        pq.write_table(table, folder / f"in/{i}.parquet", row_group_size=GROUP)


def plain(folder: Path) -> None:
    import apache_beam as beam
    import pyarrow.parquet as pq

    from pipelines_beam import TextClassification
    from pipelines_beam.beam_options import DEFAULT_RUNNER

    task = TextClassification(str(folder / "model"), input="text", device="cpu")
    schema = task.schema(pq.read_schema(folder / "in/0.parquet"))
    with beam.Pipeline(DEFAULT_RUNNER) as p:
        (
            p
            | beam.io.ReadFromParquetBatched(str(folder / "in/*.parquet"))
            | task
            | beam.io.WriteToParquetBatched(str(folder / "plain/out"), schema=schema)
        )


def files(folder: Path, output: str) -> None:
    from pipelines_beam import TextClassification
    from pipelines_beam.io import process_files

    task = TextClassification(str(folder / "model"), input="text", device="cpu")
    process_files(str(folder / "in"), task, str(folder / output), resume=True)


JOBS: dict[str, Callable[[Path], None]] = {
    "plain": plain,
    "files": lambda folder: files(folder, "files"),
    "killed": lambda folder: files(folder, "killed"),
}


def check(folder: Path) -> None:
    """Raises ValueError if the outputs are not the same."""
    import pyarrow.parquet as pq

    columns = ["id", "label"]
    found = [pq.read_table(folder / kind, columns=columns).sort_by("id") for kind in JOBS]
    if not found[0].equals(found[1]) or not found[0].equals(found[2]):
        raise ValueError("the outputs differ")


def compare(folder: Path, rows: int) -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--make", str(folder), "--rows", str(rows)],
        check=True,
    )
    runs = {kind: measured(kind, folder, rows) for kind in ("plain", "files")}
    for kind, run in runs.items():
        run.show(kind, rows)
    shard = min(GROUP, rows // FILES)
    killed = measured("killed", folder, rows, kill_at=rows // shard // 2)
    there = shard * len(list((folder / "killed").glob("part-*")))
    resumed = measured("killed", folder, rows)
    killed.show("killed", there)
    resumed.show("resumed", rows - there)
    assert (killed.status, resumed.status) == (-signal.SIGKILL, 0)
    both = killed.processor + resumed.processor
    print(f"killed at {there:,} rows; both take {both / runs['files'].processor:.3f} of one")
    print(f"files take {runs['files'].processor / runs['plain'].processor:.3f} of plain")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if options.rows % (FILES * 10):
        parser.error(f"--rows must be a multiple of {FILES * 10}")
    if options.job:
        kind, folder = options.job
        JOBS[kind](Path(folder))
    elif options.make:
        make(options.make, options.rows)
    else:
        with tempfile.TemporaryDirectory() as directory:
            compare(Path(directory), options.rows)
            check(Path(directory))


if __name__ == "__main__":
    main()
