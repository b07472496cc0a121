"""Bad input: an error that says what is wrong, as early as it can be known, and no hang."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.transforms.window import GlobalWindows
from support import sink
from support.comparing import same
from support.runs import RUNNER
from support.texts import CORPUS
from transformers import AutoTokenizer

from pipelines_beam import ElementError, ModelLoadError, pipeline
from transforms.stages.preprocess import PreprocessFn

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


def test_an_unknown_task_names_the_likely_one() -> None:
    with pytest.raises(ValueError, match="Did you mean 'text-classification'"):
        pipeline("text-clasification")


def test_an_unknown_parameter_names_the_valid_ones(model: Model) -> None:
    with pytest.raises(TypeError, match=r"'top_n'.*Did you mean 'top_k'.*function_to_apply"):
        pipeline("text-classification", model("bert-classification"), top_n=2)


def test_a_missing_parameter_is_named(model: Model) -> None:
    with pytest.raises(TypeError, match="'candidate_labels' must be given"):
        pipeline("zero-shot-classification", model("bert-nli"))


def test_a_bad_value_is_refused_when_the_pipeline_is_built(model: Model) -> None:
    with pytest.raises(
        ValueError, match=r"aggregation_strategy must .* 'frist'.*Did you mean 'first'"
    ):
        pipeline("ner", model("bert-ner"), aggregation_strategy="frist")
    transform = pipeline("ner", model("bert-ner"), aggregation_strategy="first", stride=1_000)
    with pytest.raises(ValueError, match=r"`stride` must be less than .*given: .*stride=1000"):
        beam.Pipeline() | beam.Create(["a"]) | transform


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("device", "gpu", "device must be"),
        ("dtype", "int8", "dtype must be one of auto, float32"),
        ("batch_size", 0, "batch_size must be a positive integer, got 0"),
        ("trust_remote_code", "yes", "trust_remote_code must be True or False"),
    ],
)
def test_options_are_checked(model: Model, option: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline("text-classification", model("bert-classification"), **{option: value})


def test_no_model_means_the_default_and_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"distilbert.*sst-2-english.*714eb0f"):
        pipeline("sentiment-analysis")


def test_a_missing_model_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        pipeline("text-classification", str(tmp_path / "nothing"))


def test_a_corrupt_model_file_is_found_before_the_job_runs(model: Model, tmp_path: Path) -> None:
    shutil.copytree(model("bert-classification"), tmp_path / "corrupt")
    weights = tmp_path / "corrupt" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    transform = pipeline("text-classification", str(tmp_path / "corrupt"))
    with pytest.raises(ModelLoadError, match=r"model.safetensors is corrupt: it has \d+ bytes"):
        beam.Pipeline() | beam.Create(["a"]) | transform


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


def test_a_wrong_column_is_refused_when_the_pipeline_is_built(model: Model) -> None:
    rows = beam.Pipeline() | beam.Create([beam.Row(id=1, body="a")])
    with pytest.raises(ValueError, match=r"unknown column 'text'.*body"):
        rows | pipeline("text-classification", model("bert-classification"), input="text")


def test_a_column_is_not_overwritten(model: Model) -> None:
    rows = beam.Pipeline() | beam.Create([beam.Row(text="a", label="mine")])
    with pytest.raises(ValueError, match="have a column 'label' already"):
        rows | pipeline("text-classification", model("bert-classification"), input="text")


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
    fn = PreprocessFn(transform.spec, False, transform._binding, None)
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


def test_an_empty_collection(model: Model, run: Run) -> None:
    assert run([], pipeline("text-classification", model("bert-classification"))) == []


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
