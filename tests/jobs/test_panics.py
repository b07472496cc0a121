"""What is raised that is no Exception: a panic of Rust code is one element's failure."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pytest
import transformers
from apache_beam.ml.inference.base import RunInference
from support import panics
from support.comparing import same
from support.panics import PanicException, Panicking, PanickingHandler
from support.pictures import PICTURES
from support.runs import answers_and_failures

from pipelines_beam import CustomPipeline, Forward, TaskModelHandler, pipeline
from transforms.engine.engine import Engine
from transforms.engine.errors import PanicError, PicklableError, contained
from transforms.media import image
from transforms.options.spec import Limits, ModelSpec
from transforms.pipelines import factory
from transforms.pipelines.errors import ModelLoadError
from transforms.stages.failure_rows import failure

Model = Callable[[str], str]

#: With these, the tokenizer panics over every text that it has to cut.
CUT: dict[str, Any] = {"truncation": True, "max_length": 8, "stride": 6}
SHORT = [f"text {i}" for i in range(150)]
LONG = [f"{i} this text has more than eight tokens, whoever counts them" for i in range(2)]
SHARES = ["process", pytest.param("machine", marks=pytest.mark.slow)]


@pytest.mark.parametrize("share", SHARES)
def test_a_text_over_which_the_tokenizer_panics_fails_alone(model: Model, share: str) -> None:
    texts = [*SHORT[:70], LONG[0], *SHORT[70:], LONG[1]]
    transform = pipeline("text-classification", model("bert-classification"), share=share, **CUT)
    found, failed = answers_and_failures(texts, transform)
    assert [row.element for row in failed] == [LONG[0], LONG[1]]
    for row in failed:
        assert (row.stage, row.kind, row.error) == ("preprocess", "data", "PanicError")
        assert "PanicException: `stride` must be strictly less than" in row.message
    stock = transformers.pipeline("text-classification", model("bert-classification"))
    assert {each.example for each in found} == set(SHORT)
    assert all(same(each.inference, stock(each.example, **CUT)) for each in found)


@pytest.mark.parametrize(
    ("stage", "share"),
    [
        ("preprocess", "process"),
        ("forward", "process"),
        ("forward", "machine"),
        ("postprocess", "process"),
    ],
)
def test_a_panic_in_a_stage_is_a_row_of_it(model: Model, stage: str, share: str) -> None:
    texts = ["good", "better", stage, "a longer one", "best"]
    transform = CustomPipeline(
        model("bert-classification"), task="scores", pipeline_class=Panicking, share=share
    )
    found, failed = answers_and_failures(texts, transform)
    stock = transformers.pipeline(
        "text-classification", model("bert-classification"), pipeline_class=Panicking
    )
    assert [(row.element, row.stage, row.kind) for row in failed] == [(stage, stage, "data")]
    assert failed[0].message == f"PanicException: not in {stage}"
    assert {each.example for each in found} == set(texts) - {stage}
    assert all(same(each.inference, stock(each.example)) for each in found)


@pytest.mark.parametrize(
    ("options", "element", "stage"),
    [
        ({"preprocess": panics.panicking_function}, "bad", "preprocess"),
        ({"postprocess": panics.panicking_answer}, "bad", "postprocess"),
    ],
)
def test_a_panic_in_a_function_of_the_users(
    model: Model, options: Any, element: str, stage: str
) -> None:
    transform = pipeline("text-classification", model("bert-classification"), **options)
    _, failed = answers_and_failures([element], transform)
    assert [(row.element, row.stage, row.error) for row in failed] == [
        (element, stage, "PanicError")
    ]


def test_a_panic_in_a_handler() -> None:
    texts = ["good", "bad", "fine"]
    found, failed = answers_and_failures(texts, Forward(handler=PanickingHandler()))
    assert {each.example: each.inference for each in found} == {"good": 4, "fine": 4}
    assert [(row.element, row.stage) for row in failed] == [("bad", "forward")]


def test_a_panic_in_a_batch_of_run_inference(model: Model, run: Any) -> None:
    handler = TaskModelHandler(
        "text-classification", model("bert-classification"), return_failures=True, **CUT
    )
    found = run([*SHORT, LONG[0]], RunInference(handler))
    failed = [each for each in found if isinstance(each.inference, beam.Row)]
    assert [(each.example, each.inference.error) for each in failed] == [(LONG[0], "PanicError")]
    assert len(found) == len(SHORT) + 1


def test_a_panic_of_what_decodes_an_image(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = image.decode

    def panics_over_one(source: Any, limits: Any) -> Any:
        if source == b"bad":
            panics.panic("an image")
        return decode(source, limits)

    monkeypatch.setattr(image, "decode", panics_over_one)
    transform = pipeline("image-classification", model("vit-classification"), share="process")
    found, failed = answers_and_failures([PICTURES[0], b"bad", PICTURES[1]], transform)
    assert len(found) == 2
    assert [(row.element, row.message) for row in failed] == [
        (b"bad", "PanicException: not in an image")
    ]


def test_a_panic_while_a_model_loads_ends_the_job_with_its_reason(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "_load", lambda spec: panics.panic("the weights"))
    spec = ModelSpec(task="text-classification", source=model("bert-classification"))
    with pytest.raises(ModelLoadError, match="PanicException: not in the weights"):
        factory.load(spec)


class Failing:
    """A model whose batches raise this."""

    accelerated = False
    generates = False
    overlaps = False
    takes_rows = False
    nbytes = 0

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def program(self, parameters: Any) -> Any:
        return self

    def batch_slots(self, chunks: Any) -> Any:
        raise self.error


def test_an_engine_survives_a_panic() -> None:
    engine = Engine(lambda: Failing(PanicException("no")), Limits(), "test")
    session = engine.session({})
    for number in range(3):
        session.submit(number, [number])
    found = [session.answered.get(timeout=60).error for _ in range(3)]
    engine.close()
    assert [str(error) for error in found] == ["PanicException: no"] * 3
    assert not engine.dead


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(2),
        GeneratorExit(),
        asyncio.CancelledError(),
        BaseExceptionGroup("both", [PanicException("no"), KeyboardInterrupt()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_ends_the_work_goes_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, contained:
        raise error
    assert raised.value is error


@pytest.mark.parametrize("error", [PanicException("no"), BaseException("odd")])
def test_what_else_is_no_exception_is_made_one(error: BaseException) -> None:
    with (
        pytest.raises(PanicError, match=rf"^{type(error).__name__}: {error}$") as raised,
        contained,
    ):
        raise error
    assert raised.value.__cause__ is error
    crossed = pickle.loads(pickle.dumps(PicklableError.of(raised.value))).error()
    assert isinstance(crossed, PanicError)
    assert str(crossed) == str(raised.value)
    assert isinstance(crossed.__cause__, Exception | BaseException)


def test_an_error_that_cannot_say_what_it_is() -> None:
    class Unsayable(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    row = failure("forward", "text", Unsayable())
    assert (row.error, row.message) == ("Unsayable", "(its message fails: ValueError)")
