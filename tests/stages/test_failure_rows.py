"""Failed elements: a row for each, with the element as it was, and no effect on the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from support import sink
from support.comparing import same
from support.runs import RUNNER
from support.texts import CORPUS
from transformers import AutoTokenizer

from pipelines_beam import ElementError, pipeline

Model = Callable[[str], str]


def test_weights_that_do_not_load_end_the_job(model: Model, tmp_path: Path) -> None:
    """Not as failure rows: no element could have been answered."""
    shutil.copytree(model("bert-classification"), tmp_path / "empty")
    (tmp_path / "empty" / "model.safetensors").unlink()
    transform = pipeline("text-classification", str(tmp_path / "empty"))
    with (
        pytest.raises(Exception, match="cannot load the model"),
        beam.Pipeline(RUNNER) as p,
    ):
        p | beam.Create(["a", "b"]) | transform.with_exception_handling()


def test_a_text_too_long_for_the_model_fails_alone(model: Model) -> None:
    long = " ".join(CORPUS)
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        good, bad = (
            p
            | beam.Create([*CORPUS, long, None])
            | pipeline(
                "text-classification", model("bert-classification")
            ).with_exception_handling()
        )
        good | "Good" >> beam.Map(lambda x: x.example) | "G" >> beam.Map(sink.collect)
        bad | "Bad" >> beam.Map(sink.collect)
    failed = [row for row in sink.collected if not isinstance(row, str)]
    assert sorted(x for x in sink.collected if isinstance(x, str)) == sorted(CORPUS)
    assert {(row.element, row.stage) for row in failed} == {(long, "forward"), (None, "preprocess")}
    assert all(row.error and row.message and "Traceback" in row.traceback for row in failed)


class Review(NamedTuple):
    text: str


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"text": "a", "tags": ["x"], "n": 1.5}, {"text": None, "tags": [], "n": 2**60 + 1}),
        ({"text": "a", "flag": True, "n": None}, {"text": None, "flag": 2, "n": "n"}),
        (Review("a"), Review(None)),  # type: ignore[arg-type]
        (Review("a"), Review(5)),  # type: ignore[arg-type]
    ],
)
def test_an_element_of_any_kind_is_in_its_failure_row_as_it_was(
    model: Model, good: Any, bad: Any
) -> None:
    """Whatever Beam takes the type of the elements for."""
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        transform = pipeline("text-classification", model("bert-classification"), input="text")
        _, failed = p | beam.Create([good, bad]) | transform.with_exception_handling()
        failed | beam.Reshuffle() | beam.Map(sink.collect)
    (row,) = sink.collected
    assert row.stage == "preprocess"
    found = row.element if isinstance(bad, dict) else row.element.text
    expected = bad if isinstance(bad, dict) else bad.text
    assert repr(found) == repr(expected)


def test_the_failure_of_a_pair_has_the_pair(model: Model) -> None:
    sink.collected.clear()
    long = " ".join(CORPUS)
    with beam.Pipeline(RUNNER) as p:
        transform = pipeline("text-classification", model("bert-classification"), keyed=True)
        pairs = beam.Create([(7, "fine"), (8, long)])
        _, bad = p | pairs | transform.with_exception_handling()
        bad | beam.Reshuffle() | beam.Map(sink.collect)
    assert [row.element for row in sink.collected] == [(8, long)]


def test_an_element_with_a_large_file_is_shown_short() -> None:
    photo = b"\x89PNG" + bytes(50_000_000)
    error = ElementError.of("task", "stage", (1, {"photo": {"bytes": photo}}), ValueError("no"))
    assert "(1, {'photo': {'bytes': b'\\x89PNG" in str(error)
    assert "… (50000004 bytes)}})" in str(error)
    assert len(str(error)) < 600


@pytest.mark.slow
def test_a_hundred_texts_that_break_the_model_leave_the_others_alone(
    model: Model, tmp_path: Path
) -> None:
    """A token that the tokenizer knows and the model does not: an error inside forward."""
    directory = shutil.copytree(model("bert-classification"), tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_tokens(["<poison>"])
    tokenizer.save_pretrained(directory)
    good = [f"{CORPUS[i % 20]} {i}" for i in range(9_900)]
    bad = [f"{CORPUS[i % 20]} <poison> {i}" for i in range(100)]
    mixed = [text for i in range(100) for text in (*good[i * 99 : i * 99 + 99], bad[i])]

    def run(texts: list[str]) -> tuple[dict[str, Any], list[Any]]:
        sink.collected.clear()
        with beam.Pipeline(RUNNER) as p:
            transform = pipeline("text-classification", str(directory))
            answers, failures = (
                p | beam.Create(texts, reshuffle=False) | transform.with_exception_handling()
            )
            (answers, failures) | beam.Flatten() | beam.Map(sink.collect)
        rows = [row for row in sink.collected if hasattr(row, "element")]
        answered = [row for row in sink.collected if not hasattr(row, "element")]
        assert len(rows) + len(answered) == len(texts)
        return {row.example: row.inference for row in answered}, rows

    found, failed = run(mixed)
    clean, none = run(good)
    assert not none
    assert found.keys() == clean.keys() == set(good)
    assert all(same(found[text], clean[text]) for text in good)
    assert sorted(row.element for row in failed) == sorted(bad)
    assert {(row.stage, row.kind, row.error) for row in failed} == {
        ("forward", "data", "IndexError")
    }
