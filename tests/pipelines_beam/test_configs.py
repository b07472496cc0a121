"""Every job in configs/ runs: on a sample of its input, with a tiny model for one of the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from support.commands import command
from support.paths import CONFIGS
from support.pictures import picture
from support.sounds import RATE, sound
from support.texts import CORPUS

Cells = list[str | None]


def _texts(folder: Path) -> Cells:
    return list(CORPUS)


def _few_texts(folder: Path) -> Cells:
    return list(CORPUS[:5])


def _pictures(folder: Path) -> Cells:
    """Paths."""
    sizes = {"wide": (90, 40), "high": (30, 70), "small": (20, 20), "square": (64, 64)}
    for name, (width, height) in sizes.items():
        picture(name, width, height).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in sizes]


def _recordings(folder: Path) -> Cells:
    """Paths."""
    lengths = {"short": 0.3, "long": 2.0, "middle": 1.1, "other": 0.7}
    for name, seconds in lengths.items():
        soundfile.write(folder / f"{name}.wav", sound(name, seconds), RATE)
    return [str(folder / f"{name}.wav") for name in lengths]


@dataclass(frozen=True)
class Job:
    """What a file does: the columns that it adds, and what the test gives it."""

    added: list[str]
    #: The fixture and name of the tiny model that stands in for its own.
    model: tuple[str, str] | None = None
    #: What is in the column that it reads, made in a folder.
    cells: Callable[[Path], Cells] = _texts
    column: str = "text"
    #: What is said of a cell without content.
    reason: str = "text must be a string, got None"
    settings: Mapping[str, str] = field(default_factory=dict)


JOBS = {
    "quickstart.yaml": Job(["embedding"]),
    "sentiment.yaml": Job(["label", "score"], ("model", "bert-classification")),
    "images.yaml": Job(
        ["predictions"],
        ("model", "resnet-classification"),
        _pictures,
        "image",
        "image must be bytes or ",
    ),
    "speech.yaml": Job(
        ["text"],
        ("model", "whisper"),
        _recordings,
        "audio",
        "audio must be a string or bytes or ",
    ),
    "text_to_image.yaml": Job(
        ["image"],
        ("model", "sd-ddim"),
        _few_texts,
        reason="prompt must be a string, got None",
        settings={"steps": "2"},
    ),
}


def test_every_file_has_a_test() -> None:
    assert set(JOBS) == {path.name for path in CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize(
    "name",
    # The quickstart is run by test_cli.py, too.
    [pytest.param(n, marks=() if n == "sentiment.yaml" else pytest.mark.slow) for n in JOBS],
)
def test_it_runs(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    job = JOBS[name]
    cells = job.cells(tmp_path)
    cells.insert(3, None)
    rows = [{"name": f"n{i}", job.column: cell} for i, cell in enumerate(cells)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    settings = {"input": tmp_path / "in.parquet", "output": tmp_path / "out"}
    if job.model is not None:
        fixture, tiny = job.model
        settings["model"] = Path(request.getfixturevalue(fixture)(tiny))
    given = {**settings, **job.settings}
    done = command("run", str(CONFIGS / name), *(f"--set={k}={v}" for k, v in given.items()))
    assert done.returncode == 3, done.stderr
    assert f"{len(rows)} rows in" in done.stdout
    assert "1 of them failed" in done.stdout
    assert f"1 x TypeError: column {job.column!r}: {job.reason}" in done.stdout
    (written,) = (tmp_path / "out").glob("*.parquet*")
    table = pq.read_table(written)
    assert table.column_names == ["name", job.column, *job.added]
    assert sorted(table["name"].to_pylist()) == sorted(f"n{i}" for i in range(len(rows)) if i != 3)
