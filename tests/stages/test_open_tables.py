"""Tables that are begun and not yielded: there may be a limit to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from support.runs import answers_and_failures
from support.texts import CORPUS

from pipelines_beam import TextClassification
from transforms.stages.tables import TableFn
from transforms.stages.window import InFlightWindow

Model = Callable[[str], str]
Run = Callable[..., list[Any]]

ROWS, TABLES = 6, 4
MUCH = 1_000_000
SIZE = pa.table({"text": CORPUS[:ROWS]}).nbytes


@pytest.fixture
def open_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After each row that is handed to the engine: how many rows are in tables not yet yielded."""
    seen: list[int] = []
    submit, take = InFlightWindow.submit, TableFn._take_whole
    count = 0

    def noted(self: Any, *args: Any) -> None:
        nonlocal count
        count += 1
        seen.append(count)
        submit(self, *args)

    def taken(self: Any) -> list[Any]:
        nonlocal count
        tables = take(self)
        count -= sum(len(each.value) for each in tables)
        return tables

    monkeypatch.setattr(InFlightWindow, "submit", noted)
    monkeypatch.setattr(TableFn, "_take_whole", taken)
    return seen


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        (None, ROWS * TABLES),
        ((ROWS, MUCH), ROWS),
        ((1, MUCH), ROWS),  # a larger table is begun alone
        ((2 * ROWS + 1, MUCH), 2 * ROWS),
        ((MUCH, 2 * SIZE), 2 * ROWS),
    ],
)
def test_tables_wait_until_others_are_whole(
    limit: Any, most: int, model: Model, run: Run, open_rows: list[int]
) -> None:
    task = TextClassification(model("bert-classification"), input="text", truncation=True)
    if limit is not None:
        task = task.with_open_tables(*limit)
    tables = [pa.table({"text": CORPUS[:ROWS]}) for _ in range(TABLES)]
    found = run(tables, task)
    assert [len(each) for each in found] == [ROWS] * TABLES
    assert len(open_rows) == ROWS * TABLES
    assert max(open_rows) <= most
    assert limit is None or max(open_rows) == most


def test_tables_whose_rows_fail_are_not_waited_for(model: Model) -> None:
    task = TextClassification(model("bert-classification"), input="text").with_open_tables(2, MUCH)
    texts = [["Yes", "No"], [None, None], ["Yes", None], [], ["No", "Yes"]]
    tables = [pa.table({"text": pa.array(each, pa.string())}) for each in texts]
    found, _ = answers_and_failures(tables, task)
    failed = [len(each) for each in found if "element" in each.schema.names]
    assert sorted(failed) == [1, 2]
    assert sum(map(len, found)) - sum(failed) == 5
