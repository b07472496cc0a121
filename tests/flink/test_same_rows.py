"""Jobs give on a Flink cluster of two TaskManagers what they give on this machine alone."""

from __future__ import annotations

from collections.abc import Callable
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

pytestmark = [pytest.mark.flink, pytest.mark.slow]

ROWS = 24


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
    settings = [f"--set={variable}={tmp_path / 'in.parquet'}"]
    settings += [] if given.model is None else [f"--set=model={model(given.model)}"]
    job = ["run", str(CONFIGS / name), *settings]
    local = command(*job, f"--set=output={tmp_path / 'local'}")
    assert local.returncode == 3, local.stderr
    there = command(*job, f"--set=output={tmp_path / 'flink'}", *flink.options, "--parallelism=2")
    assert there.returncode == 3, there.stderr
    expected, found = answers(tmp_path / "local"), answers(tmp_path / "flink")
    assert len(expected) == ROWS - 1
    assert same(found, expected)
    assert reasons(there.stdout) == reasons(local.stdout) != []


def answers(folder: Path) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in folder.glob("*.parquet*")]
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return sorted(rows, key=lambda row: str(row["name"]))


def reasons(summary: str) -> list[str]:
    """The lines of a summary that say why rows failed."""
    return [line for line in summary.splitlines() if " x " in line]
