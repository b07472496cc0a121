"""Promise 1 for pipeline classes of users and of models' repositories."""

from __future__ import annotations

import json
import random
import shutil
from collections import UserDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import transformers
from apache_beam.metrics import MetricsFilter
from apache_beam.typehints import typehints
from support import custom_pipelines, sink
from support.comparing import same
from support.custom_pipelines import Doomed, Pair, Probabilities, Windows
from support.runs import RUNNER
from support.texts import CORPUS
from transformers.pipelines import PIPELINE_REGISTRY, SUPPORTED_TASKS

from pipelines_beam import CustomPipeline, ElementError, ModelLoadError, pipeline, provider
from transforms.batching.replica import Replica
from transforms.batching.verified_program import VerifiedProgram
from transforms.tasks.columns import Image

Run = Callable[..., list[Any]]


Model = Callable[[str], str]


@dataclass(frozen=True)
class Case:
    """A class on a model with parameters."""

    name: str
    model: str = "bert-classification"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    task: str = "text-classification"
    inputs: Sequence[Any] = tuple(CORPUS)
    #: Whether its chunks share batches.
    batches: bool = True

    @property
    def cls(self) -> Any:
        return getattr(custom_pipelines, self.name)

    def __str__(self) -> str:
        return "-".join([self.name, self.model, *self.parameters])


PAIRS = [{"inputs": a, "other": b} for a, b in zip(CORPUS[:8], CORPUS[8:16], strict=True)]


CASES = [
    Case("Plain"),
    Case("Probabilities"),
    Case("Probabilities", "gpt2-classification", {"scale": 0.5}),
    Case("Windows"),
    Case("Windows", "roberta-classification", {"size": 5}),
    Case("FirstRow", batches=False),
    Case("Number", batches=False),
    Case("Least", batches=False),
    Case("Mixed", batches=False),
    Case("Continued", "llama-lm", {"max_new_tokens": 12}, "text-generation"),
    Case("Sayings", "llama-lm", {}, "text-generation", batches=False),
    Case("Routed", parameters={"loud": 3.0}),
    Case("Pair", inputs=PAIRS),
]


def alone(case: Case, model: Model) -> list[Any]:
    pipe = transformers.pipeline(
        case.task, model(case.model), pipeline_class=case.cls, device="cpu"
    )
    return [pipe(x, **case.parameters) for x in case.inputs]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_answer_is_the_class_s_own(case: Case, model: Model, run: Run) -> None:
    expected = alone(case, model)
    elements = list(enumerate(case.inputs))
    for batch in (1, 4, 512):
        transform = pipeline(
            case.task,
            model(case.model),
            pipeline_class=case.cls,
            keyed=True,
            batch_size=batch,
            **case.parameters,
        )
        found = dict(run(elements, transform))
        assert found.keys() == set(range(len(expected)))
        for i, answer in enumerate(expected):
            assert same(answer, found[i].inference), (answer, found[i].inference)
        random.Random(7).shuffle(elements)
    assert len({repr(answer) for answer in expected}) >= 0.6 * len(expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_who_can_be_batched_is(case: Case, model: Model) -> None:
    """Else the test above could pass by running all classes one at a time."""
    made = pipeline(case.task, model(case.model), pipeline_class=case.cls, device="cpu")
    program = Replica(made.spec.model).program(case.parameters)
    assert isinstance(program, VerifiedProgram)
    pipe = program._pipe
    groups: dict[Any, list[Any]] = defaultdict(list)
    for word in dict.fromkeys(" ".join(CORPUS).split()):
        given = {"inputs": word, "other": "c"} if case.cls is Pair else word
        found = pipe.preprocess(given)
        for features in list(found) if case.cls is Windows else [found]:
            groups[program.batch_slot(features).key].append(features)
    features = max(groups.values(), key=len)[:6]
    same_ones = [features[0]] * 3
    program.run(same_ones)
    assert not program._shown, "equal rows show nothing"
    assert len(program.run(features)) == 6
    assert program._padding.can_batch is case.batches
    assert len({program.batch_slot(each).key for each in same_ones}) == (1 if case.batches else 3)


def test_a_call_that_chooses_how_to_run_the_model_is_refused(model: Model, run: Run) -> None:
    transform = pipeline(
        "my-task", model("bert-classification"), pipeline_class=custom_pipelines.Chooses
    )
    with pytest.raises(ElementError, match="chooses parameters of _forward for each input"):
        run(["Hello!"], transform)


def test_a_task_that_nobody_knows(model: Model, run: Run) -> None:
    """The model is then of the class that its configuration names."""
    case = Case("Probabilities")
    for given in (Probabilities, "support.custom_pipelines.Probabilities"):
        transform = pipeline("my-task", model(case.model), pipeline_class=given)
        assert isinstance(transform, CustomPipeline)
        assert transform.default_label() == "Probabilities"
        found = {result.example: result.inference for result in run(CORPUS, transform)}
        for text, answer in zip(CORPUS, alone(case, model), strict=True):
            assert same(answer, found[text])


def test_a_task_that_is_registered(model: Model, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUPPORTED_TASKS, "windows", None)  # gone again after the test
    PIPELINE_REGISTRY.supported_tasks.pop("windows")
    PIPELINE_REGISTRY.register_pipeline(
        "windows", Windows, pt_model=transformers.AutoModelForSequenceClassification
    )
    pipe = transformers.pipeline("windows", model("bert-classification"), device="cpu")
    for result in run(CORPUS[:5], pipeline("windows", model("bert-classification"))):
        assert same(pipe(result.example), result.inference)


def test_rows_have_a_column_of_the_declared_type(model: Model, run: Run) -> None:
    rows = [{"id": i, "text": text} for i, text in enumerate(CORPUS[:6])]
    directory = model("bert-classification")
    transform = pipeline("my-task", directory, pipeline_class=Windows, input="text")
    pipe = transformers.pipeline("text-classification", directory, pipeline_class=Windows)
    for row in run(rows, transform):
        assert row.keys() == {"id", "text", "inference"}
        assert same(pipe(row["text"]), row["inference"])
    struct = pa.struct([("label", pa.string()), ("score", pa.float64())])
    assert transform.schema() == pa.schema([("inference", pa.list_(struct))])

    transform = pipeline(
        "my-task", directory, pipeline_class=Probabilities, input="text", output="found"
    )
    (row,) = run([beam.Row(text="a")], transform)
    assert isinstance(row.found, list)
    assert isinstance(row.found[0], float)
    assert transform.schema().field("found").type == pa.list_(pa.float64())


def test_rows_of_a_class_that_takes_a_mapping(model: Model, run: Run) -> None:
    directory = model("bert-classification")
    columns = {"inputs": "question", "other": "body"}
    transform = pipeline("my-task", directory, pipeline_class=Pair, input=columns)
    pipe = transformers.pipeline("text-classification", directory, pipeline_class=Pair)
    (row,) = run([{"question": "Why?", "body": "Hello there"}], transform)
    expected = pipe({"inputs": "Why?", "other": "Hello there"})
    assert same(expected, row["inference"])


def test_beam_yaml_knows_it(model: Model, run: Run) -> None:
    config = {
        "task": "my-task",
        "pipeline_class": "support.custom_pipelines.Probabilities",
        "model": model("bert-classification"),
        "input": "text",
        "scale": 0.5,
    }
    made = provider.provider().create_transform("CustomPipeline", config, None)
    directory = model("bert-classification")
    pipe = transformers.pipeline("text-classification", directory, pipeline_class=Probabilities)
    (row,) = run([beam.Row(text="a")], made)
    assert same(pipe("a", scale=0.5), row.inference)


def test_parameters_are_checked(model: Model) -> None:
    directory = model("bert-classification")
    with pytest.raises(TypeError, match=r"unknown parameter 'sclae'. Did you mean 'scale'"):
        pipeline("my-task", directory, pipeline_class=Probabilities, sclae=2.0)
    with pytest.raises(TypeError, match="Valid: loud, scale"):
        pipeline("my-task", directory, pipeline_class=custom_pipelines.Routed, top_k=2)
    with pytest.raises(ValueError, match=r"frobnicate"):
        (
            beam.Pipeline()
            | beam.Create(["a"])
            | pipeline(
                "text-generation",
                model("llama-lm"),
                pipeline_class=custom_pipelines.Continued,
                return_full_text=True,
                return_tensors=True,
                frobnicate=1,
            )
        )


class Here(Probabilities):
    pass


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (custom_pipelines.NoPipeline, TypeError, "must be a subclass of transformers.Pipeline"),
        (7, TypeError, "must be a subclass of transformers.Pipeline, got 7"),
        ("support.custom_pipelines.Nothing", ValueError, "cannot be imported"),
        ("nowhere.Nothing", ValueError, "cannot be imported: No module named 'nowhere'"),
        ("Nothing", ValueError, "cannot be imported"),
        (custom_pipelines.Whole, TypeError, "Whole has a run_single of its own"),
    ],
)
def test_a_wrong_class_is_refused(
    model: Model, given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pipeline("my-task", model("bert-classification"), pipeline_class=given)


def test_a_class_that_workers_cannot_import_is_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Local(Probabilities):
        pass

    monkeypatch.setattr(Here, "__module__", "__main__")
    for cls in (Local, Here):
        with pytest.raises(ValueError, match="move it to the top level of a module"):
            pipeline("my-task", model("bert-classification"), pipeline_class=cls)
    with pytest.raises(TypeError, match="needs a model"):
        pipeline("my-task", pipeline_class=Probabilities)


CODE = """
from pathlib import Path

import transformers

Path({ran!r}).touch()


class Loudest(transformers.Pipeline):
    def _sanitize_parameters(self, times=None):
        return {{}}, {{}}, {{}} if times is None else {{"times": times}}

    def preprocess(self, text):
        return self.tokenizer(text, return_tensors="pt")

    def _forward(self, inputs):
        return self.model(**inputs)

    def postprocess(self, outputs, times=1) -> float:
        return outputs.logits.amax().item() * times
"""


@pytest.fixture
def repository(model: Model, tmp_path: Path) -> Callable[[str], tuple[str, Path]]:
    """A model with a class of its own for a task; and a file that is there if its code has run."""

    def made(task: str) -> tuple[str, Path]:
        directory = tmp_path / task.replace("-", "_")
        ran = tmp_path / f"{task}.ran"
        shutil.copytree(model("bert-classification"), directory)
        (directory / "loudest.py").write_text(CODE.format(ran=str(ran)))
        config = json.loads((directory / "config.json").read_text())
        config["custom_pipelines"] = {
            task: {"impl": "loudest.Loudest", "pt": ["AutoModelForSequenceClassification"]}
        }
        (directory / "config.json").write_text(json.dumps(config))
        return str(directory), ran

    return made


@pytest.mark.parametrize("task", ["its-task", "text-classification"])
def test_a_repository_s_own_class(
    task: str, repository: Callable[[str], tuple[str, Path]], run: Run
) -> None:
    directory, _ = repository(task)
    pipe = transformers.pipeline(task, directory, trust_remote_code=True, device="cpu")
    expected = {text: pipe(text, times=2) for text in CORPUS}
    for batch in (1, 4, 512):
        transform = pipeline(task, directory, trust_remote_code=True, times=2, batch_size=batch)
        found = {result.example: result.inference for result in run(CORPUS, transform)}
        assert same(expected, found)
    assert transform.default_label() == "Loudest"
    with pytest.raises(TypeError, match=r"unknown parameter 'time'. Did you mean 'times'"):
        pipeline(task, directory, trust_remote_code=True, time=2)
    rows = pipeline(task, directory, trust_remote_code=True, input="text")
    (row,) = run([{"text": CORPUS[0]}], rows)
    assert same(row["inference"], pipe(CORPUS[0]))
    assert rows.schema() == pa.schema([("inference", pa.float64())])


@pytest.mark.parametrize("task", ["its-task", "text-classification"])
def test_its_code_is_not_run_without_trust(
    task: str, repository: Callable[[str], tuple[str, Path]]
) -> None:
    directory, ran = repository(task)
    with pytest.raises((ValueError, ModelLoadError), match="trust_remote_code=True"):
        beam.Pipeline() | beam.Create(["a"]) | pipeline(task, directory)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        CustomPipeline(directory, task=task)
    assert not ran.exists()


def test_a_user_s_class_on_such_a_repository(
    repository: Callable[[str], tuple[str, Path]], run: Run
) -> None:
    """None of the repository's code is needed for it."""
    directory, ran = repository("its-task")
    transform = pipeline("its-task", directory, pipeline_class=Probabilities)
    assert len(run(CORPUS[:3], transform)) == 3
    assert not ran.exists()


def test_a_known_task_without_a_class_of_its_own(model: Model) -> None:
    with pytest.raises(ValueError, match="TextClassification is its transform"):
        CustomPipeline(model("bert-classification"), task="sentiment-analysis")
    with pytest.raises(ValueError, match="unknown task 'my-task'"):
        CustomPipeline(model("bert-classification"), task="my-task")


class Photo(NamedTuple):
    bytes: bytes
    path: str


@dataclass
class Scan:
    bytes: bytes
    path: str


@pytest.mark.parametrize("kind", [Photo, Scan, beam.Row, Image, dict])
def test_rows_in_a_column_are_dicts(kind: Any, model: Model, run: Run) -> None:
    """As Beam makes classes of its own of theirs, and as other tasks take them apart."""
    options: dict[str, Any] = {"pipeline_class": custom_pipelines.Struct}
    pipe = transformers.pipeline(
        "text-classification", model("bert-classification"), device="cpu", **options
    )
    file, other = ({"bytes": b"x", "path": text} for text in ("good", "so bad"))

    def made(_: Any) -> Any:  # in the same stage: some cannot be pickled on their way
        return {"one": kind(**file), "both": (kind(**file), kind(**other))}

    for column, given in (("one", file), ("both", (file, other))):
        transform = pipeline(
            "text-classification", model("bert-classification"), input=column, **options
        )
        (row,) = run([0], beam.Map(made).with_output_types(typehints.Any), transform)
        assert same(row["inference"], pipe(given))


def test_what_is_no_row_in_a_column_reaches_the_class_as_it_is(model: Model, run: Run) -> None:
    directory, cls = model("bert-classification"), custom_pipelines.Kind
    pipe = transformers.pipeline("text-classification", directory, pipeline_class=cls, device="cpu")
    things = [pd.DataFrame({"a": [1]}), np.float32(1), np.ones(2), UserDict(a=1), (1, 2), "text"]
    rows = run(
        [{"thing": thing} for thing in things],
        pipeline("text-classification", directory, pipeline_class=cls, input="thing"),
    )
    assert len(rows) == len(things)
    for row in rows:
        assert same(row["inference"], pipe(row["thing"]))
    elements = [*things, Photo(b"", ""), Scan(b"", "")]
    for found in run(elements, pipeline("text-classification", directory, pipeline_class=cls)):
        assert same(found.inference, pipe(found.example))


@pytest.mark.slow
def test_each_end_is_a_failure_row_of_its_kind(model: Callable[[str], str]) -> None:
    transform: Any = pipeline(
        "my-doom",
        model("bert-classification"),
        pipeline_class=Doomed,
        share="machine",
        batch_timeout=8,
    )
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        texts = [*CORPUS, *Doomed.ends[1:]]
        good, bad = p | beam.Create(texts, reshuffle=False) | transform.with_exception_handling()
        good | beam.Map(lambda result: ("", result.example)) | "Good" >> beam.Map(sink.collect)
        bad | beam.Map(lambda row: (row.kind, row.element)) | "Bad" >> beam.Map(sink.collect)
    assert sorted(sink.collected) == sorted(
        [
            *(("", t) for t in CORPUS),
            ("memory", "no memory"),
            ("timeout", "hangs"),
            ("crash", "dies"),
        ]
    )
    found = p.result.metrics().query(MetricsFilter().with_namespace("pipelines_beam"))
    counters = {each.key.metric.name: each.committed for each in found["counters"]}
    assert {counters[f"failures_{kind}"] for kind in ("memory", "timeout", "crash")} == {1}
    assert counters["engine_restarts"] >= 4
    assert counters["replayed"] >= 4


def test_a_misspelt_option_of_a_custom_pipeline(model: Model) -> None:
    options: dict[str, Any] = {"task": "x", "pipeline_class": "support.custom_pipelines.Plain"}
    with pytest.raises(TypeError, match=r"unknown option 'modle'\. Did you mean 'model'"):
        CustomPipeline(modle=model("bert-classification"), **options)
    with pytest.raises(TypeError, match=r"'btach_size'\. Did you mean 'batch_size'"):
        CustomPipeline(model("bert-classification"), btach_size=3, **options)
