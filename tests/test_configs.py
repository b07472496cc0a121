"""Every job in configs/ runs: on a sample of its input, with a tiny model for one of the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from models import CORPUS
from test_cli import CONFIGS, command

#: Each file, the tiny model that stands in for its own, and the columns that it adds.
JOBS: dict[str, tuple[str | None, list[str]]] = {
    "quickstart.yaml": (None, ["embedding"]),
    "sentiment.yaml": ("bert-classification", ["label", "score"]),
}


def test_every_file_has_a_test() -> None:
    assert set(JOBS) == {path.name for path in CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize("name", JOBS)
def test_it_runs(name: str, model: Callable[[str], str], tmp_path: Path) -> None:
    tiny, added = JOBS[name]
    texts: list[str | None] = [*CORPUS[:3], None, *CORPUS[3:]]
    rows = [{"name": f"n{i}", "text": text} for i, text in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    settings = {"input": tmp_path / "in.parquet", "output": tmp_path / "out"}
    if tiny is not None:
        settings["model"] = Path(model(tiny))
    done = command("run", str(CONFIGS / name), *(f"--set={k}={v}" for k, v in settings.items()))
    assert done.returncode == 0, done.stderr
    assert f"{len(rows)} rows in" in done.stdout
    assert "1 of them failed" in done.stdout
    assert "1 x TypeError: column 'text': text must be a string, got NoneType None" in done.stdout
    (written,) = (tmp_path / "out").glob("*.parquet*")
    table = pq.read_table(written)
    assert table.column_names == ["name", "text", *added]
    assert sorted(table["name"].to_pylist()) == sorted(f"n{i}" for i in range(len(rows)) if i != 3)
