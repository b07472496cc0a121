"""Parameters and inputs that are texts: what YAML makes of yes, no and numbers is refused."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import transformers
import yaml
from support import sink
from support.checks import checked
from support.comparing import same
from support.pictures import PICTURES
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import ElementError, TaskModelHandler, pipeline
from transforms.rows.inputs import Inputs
from transforms.tasks import ABSENT, TASKS
from transforms.tasks.task import REQUIRED
from transforms.tasks.text_checks import questions, texts

Model = Callable[[str], str]
Run = Callable[..., list[Any]]
QUOTES = "in YAML, yes, no, on, off, null, numbers and dates are texts only in quotes"
NO_TEXTS = [True, 7, 1.5, datetime.date(2020, 1, 2), b"cat", {"a": "b"}, np.int64(3), np.bool_(1)]
#: Keywords within a parameter, and a task that has them.
WITHIN = [
    ("automatic-speech-recognition", "generate_kwargs", "language"),
    ("automatic-speech-recognition", "generate_kwargs", "task"),
    ("automatic-speech-recognition", "decoder_kwargs", "hotwords"),
    ("image-text-to-text", "generate_kwargs", "stop_strings"),
    ("text-to-audio", "generate_kwargs", "stop_strings"),
]
#: Texts of parameters that do not take every one.
FINE = {"hypothesis_template": "no {}", "ignore_labels": ["no"]}
DECLARED = [
    (task.name, name)
    for task in TASKS.values()
    for name, check in task.texts.items()
    if name in task.parameters and check is not questions
]


@pytest.mark.parametrize(("task", "name"), DECLARED)
def test_what_is_no_text_is_refused(task: str, name: str) -> None:
    for value in NO_TEXTS:
        with pytest.raises(TypeError, match=rf"{task}: {name} must be .*string.*, got ") as error:
            checked(task, {name: value})
        assert f"got {type(value).__name__}" in str(error.value)
        assert len(str(error.value)) < 300
    checked(task, {name: FINE.get(name, "no")})
    checked(task, {name: None} if TASKS[task].parameters[name] is not REQUIRED else {})


@pytest.mark.parametrize(
    ("task", "name"), [each for each in DECLARED if TASKS[each[0]].texts[each[1]] is texts]
)
def test_what_is_no_text_in_a_list_is_refused(task: str, name: str) -> None:
    for value in (*NO_TEXTS, None, ["cat"]):
        for given in (["cat", value], ("cat", value)):
            with pytest.raises(TypeError, match=rf"{name}\[1\] must be a string, got "):
                checked(task, {name: given})
    with pytest.raises(TypeError, match=rf"{name}\[0\] must be a string, got int64 .*2020"):
        checked(task, {name: np.array([2020, 2021])})
    for fine in (["yes", "no"], ("yes", "no"), np.array(["yes", "no"]), "yes, no"):
        checked(task, {name: fine})


@pytest.mark.parametrize(("task", "parameter", "name"), WITHIN)
def test_what_is_no_text_within_a_parameter_is_refused(
    task: str, parameter: str, name: str
) -> None:
    with pytest.raises(TypeError, match=rf"{parameter}\['{name}'\] must be .*, got bool False;"):
        checked(task, {parameter: {name: False}})
    checked(task, {parameter: {name: "no"}})
    checked(task, {parameter: {name: None, "num_beams": 2}})


@pytest.mark.parametrize("task", ["text-generation", "summarization", "any-to-any"])
def test_stop_strings_beside_other_keywords_of_generate(task: str) -> None:
    with pytest.raises(TypeError, match=r"stop_strings\[1\] must be a string, got int 7"):
        checked(task, {"stop_strings": ["end", 7]})
    checked(task, {"stop_strings": ["end", "7"], "num_beams": 2, "top_k": 3})


@pytest.mark.parametrize(
    ("labels", "item"),
    [
        ("[yes, no]", r"candidate_labels\[0\] must be a string, got bool True"),
        ("[maybe, off]", r"candidate_labels\[1\] must be a string, got bool False"),
        ("[2020, 2021]", r"candidate_labels\[0\] must be a string, got int 2020"),
        ("[a, 1.5e+3]", r"candidate_labels\[1\] must be a string, got float 1500.0"),
        ("[a, ~]", r"candidate_labels\[1\] must be a string, got None"),
        ("[2020-01-02, b]", r"candidate_labels\[0\] must be a string, got date datetime.date"),
        ("[12:30, b]", r"candidate_labels\[0\] must be a string, got int 750"),
        ("yes", "candidate_labels must be a string or a list of strings, got bool True"),
    ],
)
def test_labels_of_yaml_without_quotes(model: Model, labels: str, item: str) -> None:
    given = yaml.safe_load(f"candidate_labels: {labels}")
    with pytest.raises(TypeError, match=f"^zero-shot-classification: {item}.*; {QUOTES}$"):
        pipeline("zero-shot-classification", model("bert-nli"), **given)


@pytest.mark.parametrize("labels", ["", [], (), np.array([], str)])
def test_no_labels_are_missing_labels(model: Model, labels: Any) -> None:
    with pytest.raises(TypeError, match="'candidate_labels' must be given"):
        pipeline("zero-shot-classification", model("bert-nli"), candidate_labels=labels)


def test_inference_args_are_checked(model: Model) -> None:
    handler = TaskModelHandler(
        "zero-shot-classification", model("bert-nli"), candidate_labels=["a", "b"]
    )
    with pytest.raises(TypeError, match=r"candidate_labels\[0\] must be a string, got bool True"):
        handler.validate_inference_args({"candidate_labels": [True, False]})


@pytest.mark.parametrize(
    "labels",
    [["no", "yes"], ("no", "yes"), np.array(["no", "yes"]), ["no", "yes", "no", ""], "no, yes,"],
    ids=str,
)
def test_labels_that_are_texts_are_answered(model: Model, run: Run, labels: Any) -> None:
    directory = model("bert-nli")
    pipe = transformers.pipeline("zero-shot-classification", directory, device="cpu")
    expected = pipe(CORPUS[0], candidate_labels=labels)
    transform = pipeline("zero-shot-classification", directory, candidate_labels=labels)
    (found,) = run(CORPUS[:1], transform)
    assert found.inference["labels"] == expected["labels"]
    assert same(found.inference["scores"], expected["scores"])


def test_labels_of_rows(model: Model) -> None:
    """Those of one row, which are no parameter: a failure row that names the item."""
    directory = model("clip")
    good = [["no", "yes"], ("no", "yes"), np.array(["no", "yes"]), "no,yes"]
    bad = [[False, True], [2020, 2021], ["a", None], [b"a"], True]
    rows = [{"image": PICTURES[0], "labels": labels} for labels in (*good, *bad)]
    columns = {"image": "image", "candidate_labels": "labels"}
    transform = pipeline("zero-shot-image-classification", directory, input=columns)
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        answered, failed = (
            p | beam.Create(rows, reshuffle=False) | transform.with_exception_handling()
        )
        answered | "Answered" >> beam.Map(sink.collect)
        failed | "Failed" >> beam.Map(sink.collect)
    failures = [each for each in sink.collected if hasattr(each, "stage")]
    answers = [each["predictions"] for each in sink.collected if isinstance(each, dict)]
    sink.collected.clear()
    pipe = transformers.pipeline("zero-shot-image-classification", directory, device="cpu")
    expected = pipe(PICTURES[0], candidate_labels=["no", "yes"])
    assert len(answers) == len(good)
    for answer in answers:
        assert [each["label"] for each in answer] == [each["label"] for each in expected]
    messages = "\n".join(sorted(each.message for each in failures))
    assert len(failures) == len(bad)
    assert f"candidate_labels[0] must be a string, got bool False; {QUOTES}" in messages
    assert f"candidate_labels[0] must be a string, got int 2020; {QUOTES}" in messages
    assert "candidate_labels[1] must be a string, got None" in messages
    assert "got None;" not in messages  # files have it where nothing is
    assert "candidate_labels[0] must be a string, got bytes b'a'" in messages
    assert "candidate_labels must be a list or tuple or ndarray or a string, got bool" in messages


@pytest.mark.parametrize("value", [True, 2020, 1.5, datetime.date(2020, 1, 2)])
def test_an_input_that_yaml_made_no_text_says_to_quote_it(
    model: Model, run: Run, value: Any
) -> None:
    transform = pipeline("text-classification", model("bert-classification"), input="text")
    with pytest.raises(ElementError, match=f"text must be a string, got .*; {QUOTES}"):
        run([{"text": value}], transform)


GERMAN = {"type": "noul", "instructions": "Is it German?"}


@pytest.mark.skipif("decision" in ABSENT, reason="the installed transformers lacks the task")
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({True: GERMAN}, "a name in questions must be a string, got bool True"),
        ({"a": {"type": "noul", "instructions": True}}, r"questions\['a'\]\['instructions'\] must"),
        ({"a": {"type": "choice", "criteria": {False: "b"}}}, "an option in .* got bool False"),
        ({"a": {"type": "choice", "criteria": {"b": 7}}}, r"\['criteria'\]\['b'\] must .* int 7"),
        ({"a": {"type": "score", "criteria": ["b", 2]}}, r"\['criteria'\]\[1\] must .* int 2"),
        ('{"a": {"type": "score", "criteria": [1, 2]}}', r"\['criteria'\]\[0\] must .* int 1"),
        ("{'a'}", "questions must be a mapping or its JSON"),
    ],
)
def test_questions_of_yaml_without_quotes(asked: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        checked("decision", {"questions": asked})
    with pytest.raises(TypeError, match=message):
        Inputs(task=TASKS["decision"], parameters={}).of({"state": "a", "questions": asked})
    nested = {"text": "a", "stars": 4, "sold": True}
    fine = {"a": GERMAN, "b": {"type": "choice", "criteria": {"no": None, "yes": nested}}}
    checked("decision", {"questions": fine})


@pytest.mark.parametrize(
    ("task", "parameters", "message"),
    [
        ("zero-shot-classification", {"multi_label": "false"}, "multi_label must be True or False"),
        ("feature-extraction", {"normalize": "False"}, "normalize must be True or False"),
        (
            "text-classification",
            {"top_k": "2"},
            "top_k must be a whole number from 1, got the text '2'",
        ),
        ("text-classification", {"top_k": "None"}, "top_k must be a whole number"),
        ("summarization", {"truncation": "true"}, "truncation cannot be the text 'true'"),
    ],
)
def test_words_in_quotes_that_are_no_texts(
    task: str, parameters: dict[str, Any], message: str
) -> None:
    labels = {"candidate_labels": ["a"]} if task.startswith("zero") else {}
    with pytest.raises(TypeError, match=f"{message}.*leave out the quotes"):
        checked(task, {**labels, **parameters})


def test_words_in_quotes_that_are_texts() -> None:
    checked("zero-shot-classification", {"candidate_labels": ["true", "false", "none"]})
    checked("text-classification", {"truncation": "only_first", "padding": "max_length"})
    checked("token-classification", {"aggregation_strategy": "none"})
