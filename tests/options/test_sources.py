"""Sources whose columns nobody can know are refused; nulls are what is not given."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.jobs import LOG, chain, job

from pipelines_beam import sources

Refusal = Callable[..., str]


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("ReadFromJson", "", "has no rows: its columns are unknown"),
        ("ReadFromJson", "\n  \n\r\n", "has no rows: its columns are unknown"),
        ("ReadFromCsv", "", "has no header: its columns are unknown"),
        ("ReadFromCsv", "\ufeff\n\n", "has no header: its columns are unknown"),
    ],
)
def test_a_file_without_rows_is_named(
    kind: str, content: str, said: str, refusal: Refusal, tmp_path: Path
) -> None:
    (tmp_path / "in.1").write_text(content, encoding="utf-8")
    for path in (f"{tmp_path}/in.1", f"{tmp_path}/in.*"):
        read = {"type": kind, "config": {"path": path}}
        found = refusal("run", job(tmp_path, chain(read, LOG)))
        assert f'"{kind}" at line ' in found
        assert path in found
        assert said in found if path.endswith("1") else "the first file that matches, " in found
        assert "StopIteration" not in found
        assert len(found) < 600
    missing = {"type": kind, "config": {"path": f"{tmp_path}/none.*"}}
    assert "no files that match" in refusal("run", job(tmp_path, chain(missing, LOG)))


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ([None, None], '"Create" at line 3: all elements are null'),
        ([{"id": 1, "text": None}, {"id": 2}], "the column 'text' is null in all elements"),
    ],
)
def test_elements_that_are_all_null(
    elements: list[Any], said: str, refusal: Refusal, tmp_path: Path
) -> None:
    create = {"type": "Create", "config": {"elements": elements}}
    assert said in refusal("run", job(tmp_path, chain(create, LOG)))


def test_what_is_null_in_a_transform_is_not_given() -> None:
    log = {"type": "LogForTesting", "name": "Log", "config": None}
    task = {"type": "FillMask", "config": {"input": None, "error_handling": None, "top_k": None}}
    inner = {"type": "chain", "transforms": [task], "sink": log}
    found = sources.without_nulls({"pipeline": {"type": "composite", "transforms": [inner, log]}})
    assert found["pipeline"]["transforms"][0] == {
        "type": "chain",
        "transforms": [{"type": "FillMask", "config": {"input": None, "top_k": None}}],
        "sink": {"type": "LogForTesting", "name": "Log"},
    }
    assert log["config"] is None


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ([{"text": "a"}, {"text": datetime.date(2020, 1, 2)}], "element 1, column 'text': 2020"),
        ([datetime.datetime(2020, 1, 2, 3)], "element 0: 2020-01-02 03:00:00"),
    ],
)
def test_a_date_says_how_it_is_a_text(elements: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"{said}.* is a date.* in quotes it is a text, '2020-01"):
        sources.check("Create", {"elements": elements})
