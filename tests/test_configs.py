"""Every job in configs/ runs: on a sample of its input, with a tiny model for one of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from models import CORPUS
from test_cli import CONFIGS, command


@dataclass(frozen=True)
class Job:
    """What a file does: the columns that it adds, and what the test gives it."""

    added: list[str]
    #: The fixture and name of the tiny model that stands in for its own.
    model: tuple[str, str] | None = None
    #: The task's name of its input.
    input: str = "text"
    settings: Mapping[str, str] = field(default_factory=dict)
    rows: int = len(CORPUS)


JOBS = {
    "quickstart.yaml": Job(["embedding"]),
    "sentiment.yaml": Job(["label", "score"], ("model", "bert-classification")),
    "text_to_image.yaml": Job(["image"], ("made", "sd-ddim"), "prompt", {"steps": "2"}, rows=5),
}


def test_every_file_has_a_test() -> None:
    assert set(JOBS) == {path.name for path in CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize("name", JOBS)
def test_it_runs(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    job = JOBS[name]
    texts: list[str | None] = [*CORPUS[:3], None, *CORPUS[3 : job.rows]]
    rows = [{"name": f"n{i}", "text": text} for i, text in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    settings = {"input": tmp_path / "in.parquet", "output": tmp_path / "out"}
    if job.model is not None:
        fixture, tiny = job.model
        settings["model"] = Path(request.getfixturevalue(fixture)(tiny))
    given = {**settings, **job.settings}
    done = command("run", str(CONFIGS / name), *(f"--set={k}={v}" for k, v in given.items()))
    assert done.returncode == 0, done.stderr
    assert f"{len(rows)} rows in" in done.stdout
    assert "1 of them failed" in done.stdout
    reason = f"column 'text': {job.input} must be a string, got NoneType None"
    assert f"1 x TypeError: {reason}" in done.stdout
    (written,) = (tmp_path / "out").glob("*.parquet*")
    table = pq.read_table(written)
    assert table.column_names == ["name", "text", *job.added]
    assert sorted(table["name"].to_pylist()) == sorted(f"n{i}" for i in range(len(rows)) if i != 3)
