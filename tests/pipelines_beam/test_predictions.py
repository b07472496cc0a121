"""`predict`: lists, DataFrames, tables and datasets, answered as transformers answers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pytest
import transformers
from support.pictures import picture
from support.texts import CORPUS

import pipelines_beam
from pipelines_beam import ElementError, predict, release_model
from transforms.batching.replica import Replica
from transforms.engine import registry

Model = Callable[[str], str]

TASK = "text-classification"
TEXTS = [CORPUS[i % 24] for i in range(40)]
LABELS = ["label", "score"]


@pytest.fixture
def name(model: Model) -> str:
    return model("bert-classification")


@pytest.fixture
def answers(name: str) -> list[Any]:
    pipe = transformers.pipeline(TASK, name)
    return [pipe(text, truncation=True)[0] for text in TEXTS]


@pytest.fixture(autouse=True)
def _model_goes() -> Iterator[None]:
    yield
    release_model()


def test_the_model_stays_for_the_next_call(
    name: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    running: list[int] = []
    load = Replica.__init__

    def noted(self: Any, spec: Any, *more: Any, **others: Any) -> None:
        loads.append(spec.source)
        load(self, spec, *more, **others)

    monkeypatch.setattr(Replica, "__init__", noted)
    engine = registry._engine

    def begun(spec: Any) -> Any:
        running.append(registry.running())
        return engine(spec)

    monkeypatch.setattr(registry, "_engine", begun)
    before = registry.running()
    first = predict(TASK, ["Yes", "No"], name)
    assert predict(TASK, pd.Series(["Yes", "No"]), name).label.tolist() == [
        each["label"] for (each,) in first
    ]
    with pytest.raises(ElementError):
        predict(TASK, [None], name, top_k=2)
    assert loads == [name]
    assert registry.running() == before + 1
    other = model("roberta-classification")
    predict(TASK, ["Yes"], other)
    assert loads == [name, other]
    assert running == [before, before]  # the first has gone before the other loads
    assert registry.running() == before + 1
    release_model()
    release_model()
    assert registry.running() == before


def same(found: Any, answers: Any) -> None:
    rows = [{key: row[key] for key in LABELS} for row in found]
    assert [row["label"] for row in rows] == [answer["label"] for answer in answers]
    assert [row["score"] for row in rows] == pytest.approx(
        [each["score"] for each in answers], abs=1e-5
    )


def test_a_list(name: str, answers: list[Any]) -> None:
    found = predict(TASK, TEXTS, name, truncation=True)
    same([answer for (answer,) in found], answers)
    assert predict(TASK, (), name) == []


def test_rows_in_a_list(name: str, answers: list[Any]) -> None:
    rows = [{"id": i, "body": text} for i, text in enumerate(TEXTS)]
    found = predict(TASK, rows, name, input="body", truncation=True)
    same(found, answers)
    assert [{key: row[key] for key in ("id", "body")} for row in found] == rows


def test_several_inputs_in_a_list(model: Model) -> None:
    asked = {"question": "Where is it?", "context": "It is in Oslo."}
    name = model("bert-qa")
    (found,) = predict("question-answering", [asked], name)
    (columns,) = predict("question-answering", pa.Table.from_pylist([asked]), name).to_pylist()
    assert {key: columns[key] for key in found} == found


def test_a_data_frame_keeps_its_index_and_types(name: str, answers: list[Any]) -> None:
    data = pd.DataFrame({"id": pd.Categorical(["x"] * 40), "text": TEXTS}, index=range(100, 140))
    found = predict(TASK, data, name, truncation=True)
    same(found.to_dict("records"), answers)
    pd.testing.assert_frame_equal(found[["id", "text"]], data)
    assert list(found.columns) == ["id", "text", *LABELS]


def test_a_series(name: str, answers: list[Any]) -> None:
    data = pd.Series(TEXTS, name="review")
    found = predict(TASK, data, name, truncation=True)
    same(found.to_dict("records"), answers)
    assert list(found.columns) == ["review", *LABELS]


def test_a_table_of_more_rows_than_one_element_has(name: str, answers: list[Any]) -> None:
    data = pa.table({"id": range(2400), "text": TEXTS * 60})
    found = predict(TASK, data, name, truncation=True)
    same(found.to_pylist()[2360:], answers)
    assert found["id"].to_pylist() == list(range(2400))


def test_a_dataset(name: str, answers: list[Any]) -> None:
    data = datasets.Dataset.from_dict({"id": range(41), "text": ["x", *TEXTS]}).select(range(1, 41))
    found = predict(TASK, data, name, truncation=True)
    same(found, answers)
    assert found["id"][:2] == [1, 2]
    assert found.features["text"] == datasets.Value("string")


def test_images_of_a_dataset(model: Model) -> None:
    png = io.BytesIO()
    picture("cat", 40, 30).save(png, "png")
    features = datasets.Features({"image": datasets.Image()})
    data = datasets.Dataset.from_dict({"image": [{"bytes": png.getvalue()}]}, features=features)
    found = predict("depth-estimation", data, model("dpt-depth"))
    assert found.features["image"] == found.features["depth"] == datasets.Image()
    assert found[0]["depth"].size == (40, 30)
    (listed,) = predict("depth-estimation", [data[0]["image"]], model("dpt-depth"))
    assert listed["depth"].tobytes() == found[0]["depth"].tobytes()


WRONG = ["Yes", None, "No", None]


def test_the_first_failure_ends_it(name: str) -> None:
    said = r'row 1 of the data failed in preprocess: TypeError: .*on_error="rows" goes on'
    with pytest.raises(ElementError, match=said):
        predict(TASK, WRONG, name)
    with pytest.raises(ElementError, match=said):
        predict(TASK, pa.table({"text": WRONG}), name)


def test_failures_beside_results(name: str) -> None:
    results, failures = predict(TASK, WRONG, name, on_error="rows")
    assert [each is None for each in results] == [False, True, False, True]
    assert [(each["row"], each["error"]) for each in failures] == [
        (1, "TypeError"),
        (3, "TypeError"),
    ]
    data = pd.DataFrame({"text": WRONG}, index=list("abcd"))
    frame, why = predict(TASK, data, name, on_error="rows")
    assert list(frame.index) == ["a", "c"]
    assert list(why["row"]) == [1, 3]
    part, why = predict(TASK, datasets.Dataset.from_pandas(data), name, on_error="rows")
    assert part["text"][:] == ["Yes", "No"]
    assert why["error"][:] == ["TypeError"] * 2
    table, why = predict(TASK, pa.table({"text": pa.array([], "string")}), name, on_error="rows")
    assert (len(table), len(why), table.column_names) == (0, 0, ["text", *LABELS])


@pytest.mark.parametrize(
    ("data", "options", "error", "said"),
    [
        ("Yes", {}, TypeError, "data must be a list, .* got 'Yes' of the type str"),
        (
            pd.DataFrame({"a": [1], "b": [1]}),
            {},
            ValueError,
            "set input= to the column of text: .* a, b",
        ),
        (pd.DataFrame({"text": ["x"], "score": [1]}), {}, ValueError, "a column 'score' already"),
        (pd.DataFrame({"text": [object()]}), {}, TypeError, r"as in list\(data\['text'\]\)"),
        (
            ["Yes"],
            {"on_error": "skip"},
            ValueError,
            "on_error must be 'raise' or 'rows', got 'skip'",
        ),
        (["Yes"], {"keyed": True}, TypeError, "keyed is an option of a transform in a pipeline"),
        (["Yes"], {"tokp_k": 1}, TypeError, "Did you mean 'top_k'"),
        ([1], {"input": "text"}, ElementError, "needs rows"),
    ],
)
def test_what_is_wrong_is_said(
    name: str, data: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        predict(TASK, data, name, **options)


def test_a_bar_is_shown_on_terminals(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(TASK, ["Yes"], name)
    assert "rows" not in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    predict(TASK, ["Yes"], name)
    assert "1/1" in capsys.readouterr().err


def test_it_is_the_function_that_the_package_has() -> None:
    assert pipelines_beam.predict is predict
