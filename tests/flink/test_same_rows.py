"""Jobs give on a Flink cluster of two TaskManagers what they give on this machine alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from support.commands import command
from support.comparing import same
from support.flink.cluster import Cluster
from support.paths import CONFIGS
from support.pictures import picture
from support.sounds import RATE, sound
from support.texts import CORPUS

from pipelines_beam.io.output import Output
from pipelines_beam.io.run_record import runs

pytestmark = [pytest.mark.flink, pytest.mark.slow]

ROWS = 24
#: What a command says with --json.
Events = list[dict[str, Any]]


@dataclass(frozen=True)
class Modality:
    """What a job is given: a tiny model, or its own, and the cells of a column."""

    column: str
    cell: Callable[[int, Path], Any]
    model: str | None = None


def _text(i: int, folder: Path) -> str:
    return CORPUS[i % len(CORPUS)]


def _image(i: int, folder: Path) -> str:
    picture(f"p{i}", 20 + 3 * i, 70 - 2 * i).save(folder / f"{i}.png")
    return str(folder / f"{i}.png")


def _audio(i: int, folder: Path) -> str:
    soundfile.write(folder / f"{i}.wav", sound(f"s{i}", 0.2 + 0.05 * i), RATE)
    return str(folder / f"{i}.wav")


MODALITIES = {
    "quickstart.yaml": Modality("text", _text),
    "sentiment.yaml": Modality("text", _text, "bert-classification"),
    "images.yaml": Modality("path", _image, "resnet-classification"),
    "speech.yaml": Modality("path", _audio, "whisper"),
}


@pytest.mark.parametrize("name", MODALITIES)
def test_a_job_gives_the_same_rows(
    name: str, flink: Cluster, model: Callable[[str], str], tmp_path: Path
) -> None:
    given = MODALITIES[name]
    cells = [None, *(given.cell(i, tmp_path) for i in range(1, ROWS))]
    rows = [{"name": f"n{i}", given.column: cell} for i, cell in enumerate(cells)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    variable = "input" if given.model is None else "files"
    settings = [f"--set={variable}={tmp_path / 'in.parquet'}", "--json"]
    settings += [] if given.model is None else [f"--set=model={model(given.model)}"]
    on_flink = ["--on=flink", *flink.options, "--parallelism=2"]

    def run(where: str, *more: str) -> Events:
        output = f"--set=output={tmp_path / where}"
        done = command("run", str(CONFIGS / name), *settings, output, *more)
        assert done.returncode == 3, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    with ThreadPoolExecutor() as pool:  # a cluster that starts leaves a core some time
        local, there = pool.submit(run, "local"), pool.submit(run, "flink", *on_flink)
    expected, found = answers(tmp_path / "local"), answers(tmp_path / "flink")
    assert len(expected) == ROWS - 1
    assert same(found, expected)
    assert progress(local.result()) == (ROWS, ROWS, 1)
    # Of a worker that ends, the counts of its last half second may not be seen; files always are.
    done, total, failed = progress(there.result())
    assert (total, failed) == (ROWS, 1)
    assert done == ROWS or given.model is None
    assert reported(there.result()) == reported(local.result())
    assert recorded(tmp_path / "flink") == recorded(tmp_path / "local")
    assert flink.job_servers() == []


def answers(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in folder.glob("*.parquet*")]
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return sorted(rows, key=lambda row: str(row["name"]))


def progress(events: Events) -> tuple[int, ...]:
    """What was shown at last: rows that are done, all of them, and those that failed."""
    last = [each for each in events if each["event"] == "progress"][-1]
    return last["rows_done"], last["rows_total"], last["rows_failed"]


def reported(events: Events) -> dict[str, Any]:
    """What the summary says, but for the time, and for places."""
    said = events[-1]
    jobs = [{name: job[name] for name in ("files_written", "failures")} for job in said["jobs"]]
    return {"failures": said["failures"], "failed": said["failed"], "jobs": jobs}


def recorded(folder: Path) -> list[dict[str, Any]]:
    """What the records of runs, which the report shows, say of what was done."""
    names = ("state", "job", "shards_written", "rows", "failed", "tokens", "model_bytes")
    return [{each: getattr(run, each) for each in names} for run in runs(Output(str(folder)))]
