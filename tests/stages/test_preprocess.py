"""Elements that cannot be preprocessed are named before the model runs."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms.window import GlobalWindows

from pipelines_beam import ElementError, pipeline
from transforms.stages.preprocess import PreprocessFn

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


@pytest.mark.parametrize(
    ("options", "added"),
    [({}, "label"), ({"output": "mine"}, "mine"), ({"watch_model_pattern": "x*"}, "model_id")],
)
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("kind", [dict, beam.Row, namedtuple])
def test_a_column_that_only_the_row_shows_is_found_before_the_model_runs(
    model: Model, kind: Any, keyed: bool, options: dict[str, str], added: str
) -> None:
    transform = pipeline(
        "text-classification", model("bert-classification"), input="text", keyed=keyed, **options
    )
    fn = PreprocessFn(transform.spec, False, transform.plan.binding, None)
    fn.setup()
    fn.start_bundle()
    make = namedtuple("Named", ["text", added]) if kind is namedtuple else kind
    row = make(**{"text": "good", added: "theirs"})
    element = ("key", row) if keyed else row
    with pytest.raises(ElementError, match=f"have a column '{added}' already.*output="):
        list(fn.process(element, GlobalWindows.windowed_value(element)))


@pytest.mark.parametrize("value", [None, 7, b"bytes"])
def test_a_wrong_value_names_the_column_and_the_row(model: Model, run: Run, value: Any) -> None:
    transform = pipeline("text-classification", model("bert-classification"), input="text")
    with pytest.raises(ElementError, match=r"'id': 2.*column 'text': text must be a string, got"):
        run([{"id": 1, "text": "good"}, {"id": 2, "text": value}], transform)
