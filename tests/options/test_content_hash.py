"""What is the same, and what is not: parameters, engines, models that were checked or copied."""

from __future__ import annotations

import enum
import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import torch
import transformers
from apache_beam.internal.cloudpickle import cloudpickle
from support.comparing import same
from support.custom_pipelines import Chosen
from support.runs import RUNNER
from transformers import BertConfig, GenerationConfig

from pipelines_beam import CustomPipeline, ModelLoadError, TextClassification
from transforms.engine import registry
from transforms.engine.process import launch
from transforms.engine.tickets import Parameters
from transforms.options.content_hash import digest, of_directory, of_keywords
from transforms.options.spec import Limits, ModelSpec, Sharing, Spec
from transforms.pipelines.custom import class_of
from transforms.pipelines.prefetch import prefetching
from transforms.stages import engines, preflight
from transforms.stages.run_inference import TaskModel

Model = Callable[[str], str]

_ZEROS = np.zeros(2000)
_SEVEN = _ZEROS.copy()
_SEVEN[1000] = 7
_LIMIT = 1


class Colour(enum.IntEnum):
    RED = 1


def _adds(number: Any) -> Callable[[Any], Any]:
    def adds(x: Any, y: Any = 0) -> Any:
        return x + y + number

    return adds


def _made(number: int) -> Any:
    class Made:
        value = number

        def method(self) -> int:
            return number

    return Made


def _circle(last: int) -> list[Any]:
    found: list[Any] = [last]
    found.append(found)
    return found


def _objects(last: str) -> Any:
    return np.array(["a", None, last], dtype=object)


# Pairs that look alike, and differ.
DIFFERENT: list[tuple[Any, Any]] = [
    (_ZEROS, _SEVEN),
    (torch.zeros(3), torch.tensor([0, 1e-6, 0])),
    (torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.float16)),
    (torch.tensor(1.0), torch.tensor([1.0])),
    (np.zeros((2, 3)), np.zeros((3, 2))),
    (np.zeros(2, ">f4"), np.zeros(2, "<f4")),
    (_objects("b"), _objects("c")),
    (1, True),
    (1, 1.0),
    (1, "1"),
    (1, np.int64(1)),
    (1, Colour.RED),
    ("a", b"a"),
    (0.0, -0.0),
    ([1], (1,)),
    ({1}, frozenset([1])),
    (["a", "b"], ["ab"]),
    ([["a"], "b"], [["a", "b"]]),
    ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}),
    (lambda x: x, lambda x: x + 1),
    (lambda x: x.lower, lambda x: x.upper),
    (_adds(1), _adds(2)),
    (_adds(_ZEROS), _adds(_SEVEN)),
    (functools.partial(max, 1), functools.partial(max, 2)),
    (_made(1), _made(2)),
    (_made(1)(), _made(2)()),
    (functools.lru_cache(_adds(1)), functools.lru_cache(_adds(2))),
    (BertConfig(), BertConfig(hidden_size=24)),
    (GenerationConfig(max_new_tokens=3), GenerationConfig(max_new_tokens=4)),
    (torch.float16, torch.float32),
    (_circle(1), _circle(2)),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_things_are_different(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)
    assert digest([one]) != digest([other])
    assert of_keywords({"a": one}) != of_keywords({"a": other})


EQUAL: list[tuple[Any, Any]] = [
    (_ZEROS, np.zeros(4000)[::2]),
    (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    (torch.arange(6).reshape(2, 3).T, torch.arange(6).reshape(2, 3).T.contiguous()),
    (torch.ones(2, dtype=torch.bfloat16), torch.ones(4, dtype=torch.bfloat16)[::2]),
    ({"a", "bb", "ccc"}, {"ccc", "bb", "a"}),
    (float("nan"), float("nan")),
    (_adds(1), _adds(1)),
    (_made(1), _made(1)),
    (BertConfig(), BertConfig()),
    (GenerationConfig(max_new_tokens=3), GenerationConfig(max_new_tokens=3)),
    (_circle(1), _circle(1)),
    (_objects("b"), _objects("b")),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_things_are_the_same(one: Any, other: Any) -> None:
    assert digest(one) == digest(other)


def test_keywords_are_the_same_in_any_order() -> None:
    assert of_keywords({"a": 1, "b": 2}) == of_keywords({"b": 2, "a": 1})


def test_a_function_is_another_when_what_it_reads_is(monkeypatch: pytest.MonkeyPatch) -> None:
    function = lambda x: x > _LIMIT  # noqa: E731
    before = digest(function)
    assert before == digest(function)
    monkeypatch.setattr(sys.modules[__name__], "_LIMIT", 2)
    assert before != digest(function)


def test_what_cannot_be_taken_apart_is_the_same_as_itself() -> None:
    one, other = threading.Event(), threading.Event()
    assert digest({"a": one}) == digest({"a": one}) != digest({"a": other})


def test_what_is_nested_too_deeply_is_never_the_same() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert digest(deep) != digest(deep)


def test_what_was_pickled_is_the_same() -> None:
    known = Parameters({"values": [{"b", "a", "c"}, _adds(2), BertConfig(), _ZEROS]})
    assert Parameters(pickle.loads(known.pickled)).key == known.key
    assert cloudpickle.loads(cloudpickle.dumps(known)).key == known.key


@pytest.mark.slow
def test_other_processes_find_the_same() -> None:
    limits, shared = Limits(), Sharing(share="machine")
    known = Parameters({"values": [{"b", "a", "c"}, _adds(2), BertConfig(), limits, shared]})
    program = (
        "import pickle, sys\n"
        "from transforms.engine.tickets import Parameters\n"
        "print(Parameters(pickle.load(sys.stdin.buffer)).key)"
    )
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        input=known.pickled,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )
    assert found.stdout.decode().strip() == known.key


# Through engines.


def _chosen(directory: str, **options: Any) -> CustomPipeline:
    options = {"task": "chosen", "pipeline_class": Chosen, "device": "cpu", **options}
    return CustomPipeline(directory, **options)


@pytest.mark.parametrize("share", ["process", pytest.param("machine", marks=pytest.mark.slow)])
def test_stages_with_other_parameters_have_other_programs(
    model: Model, tmp_path: Path, share: str
) -> None:
    directory = model("bert-classification")
    asked: dict[str, dict[str, Any]] = {
        "zeros": {"numbers": _ZEROS},
        "seven": {"numbers": _SEVEN},
        "tensor": {"numbers": torch.from_numpy(_SEVEN) + 1e-5},
        "more": {"numbers": _SEVEN, "function": lambda number: number + 1},
        "less": {"numbers": _SEVEN, "function": lambda number: number - 1},
        "closure": {"numbers": _SEVEN, "function": _adds(_SEVEN[1000])},
    }
    right = {"zeros": 0, "seven": 7, "tensor": 7.00001, "more": 8, "less": 6, "closure": 14}
    with beam.Pipeline(RUNNER) as p:
        texts = p | beam.Create(["a", "b"], reshuffle=False)
        for name, parameters in asked.items():
            found = texts | name >> _chosen(directory, share=share, **parameters)
            _write(found, name, tmp_path / name)
    for name, value in right.items():
        assert same(json.loads((tmp_path / name).read_text()), [value] * 2), name


def _write(found: Any, name: str, path: Path) -> None:
    def write(values: list[Any]) -> None:
        path.write_text(json.dumps(values))

    numbers = found | f"{name} number" >> beam.Map(lambda each: each.inference)
    _ = numbers | f"{name} list" >> beam.combiners.ToList() | f"{name} write" >> beam.Map(write)


def test_inference_args_have_programs_of_their_own(model: Model) -> None:
    task = _chosen(model("bert-classification"), numbers=_ZEROS)
    loaded = TaskModel(task.spec, task.plan.binding)
    arguments: list[dict[str, Any]] = [
        {},
        {"numbers": _SEVEN},
        {},
        {"numbers": torch.from_numpy(_SEVEN)},
    ]
    assert [loaded.infer(["a"], each, False)[1] for each in arguments] == [[0], [7], [0], [7]]


def test_models_with_other_functions_are_others(model: Model) -> None:
    def spec(function: Any) -> ModelSpec:
        keywords = {"a": 1, "function": function}
        return ModelSpec(
            task="text-classification", source=model("bert-classification"), model_kwargs=keywords
        )

    assert spec(_adds(1)).identity == spec(_adds(1)).identity != spec(_adds(2)).identity
    assert spec(lambda: 1).identity != spec(lambda: 2).identity


def test_engines_with_another_timeout_are_others(model: Model) -> None:
    spec = ModelSpec(task="text-classification", source=model("bert-classification"))
    keys = {
        launch.engine_key(engines.engine_spec(Spec(model=spec, sharing=Sharing(timeout=timeout))))
        for timeout in (None, 1.0, 2.0)
    }
    assert len(keys) == 3


def test_a_tokenizer_is_never_answered_from_other_keywords(model: Model) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model("bert-classification"))
    pipe = type("Pipe", (), {"tokenizer": tokenizer})()
    prefetch = prefetching(pipe).prefetch
    texts = ["a red house", "by the sea"]
    wide = np.array([1, 2])
    for keywords in ({"max_length": 3}, {"max_length": True}, {"stride": wide}, {"stride": wide}):
        options = {"return_tensors": "pt", "truncation": True, **keywords}
        plain = transformers.AutoTokenizer.from_pretrained(model("bert-classification"))
        for text in texts:
            assert _tokens(tokenizer, text, options) == _tokens(plain, text, options)
            prefetch(texts)


def _tokens(tokenizer: Any, text: str, keywords: Any) -> Any:
    try:
        return tokenizer(text, **keywords)["input_ids"].tolist()
    except Exception as error:
        return type(error).__name__


# Models that were overwritten.


def _copy(directory: str, path: Path) -> Path:
    return Path(shutil.copytree(directory, path, dirs_exist_ok=True))


def test_an_overwritten_model_is_checked_again(model: Model, tmp_path: Path) -> None:
    directory = _copy(model("bert-classification"), tmp_path / "model")
    spec = Spec(model=ModelSpec(task="text-classification", source=str(directory)))
    preflight.check_task(spec)
    (directory / "config.json").write_text("{}")
    with pytest.raises(ModelLoadError):
        preflight.check_task(spec)


def _swap_labels(directory: Path) -> None:
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(directory)
    with torch.no_grad():
        loaded.classifier.weight.mul_(-1)
        loaded.classifier.bias.mul_(-1)
    loaded.save_pretrained(directory)


def _answers(directory: Path, run: Any, **options: Any) -> Any:
    transform = TextClassification(str(directory), device="cpu", top_k=None, **options)
    found = [each.inference for each in run(["a red house"], transform)]
    stock = transformers.pipeline("text-classification", str(directory), device="cpu")
    assert same(found, [stock("a red house", top_k=None)])
    return found


def test_an_overwritten_model_has_an_engine_of_its_own(
    model: Model, tmp_path: Path, run: Callable[..., list[Any]]
) -> None:
    directory = _copy(model("bert-classification"), tmp_path / "model")
    spec = ModelSpec(task="text-classification", source=str(directory), device="cpu")
    _, release = registry.acquire(engines.engine_spec(Spec(model=spec)))  # a job that still runs
    before = _answers(directory, run)
    _swap_labels(directory)
    assert not same(before, _answers(directory, run))
    release()


@pytest.mark.slow
def test_an_overwritten_model_has_a_process_of_its_own(
    model: Model, tmp_path: Path, run: Callable[..., list[Any]]
) -> None:
    directory = _copy(model("bert-classification"), tmp_path / "model")
    before = _answers(directory, run, share="machine")
    _swap_labels(directory)
    assert not same(before, _answers(directory, run, share="machine"))


def test_only_what_is_read_of_a_directory_counts(model: Model, tmp_path: Path) -> None:
    directory = _copy(model("bert-classification"), tmp_path / "model")
    before = of_directory(str(directory))
    (directory / ".cache").mkdir()
    (directory / ".cache" / "a.json").write_text("{}")
    (directory / "training.log").write_text("epoch 1")
    assert of_directory(str(directory)) == before
    (directory / "part").mkdir()
    (directory / "part" / "config.json").write_text("{}")
    assert of_directory(str(directory)) != before


def test_an_overwritten_class_of_a_repository_is_imported_again(
    model: Model, tmp_path: Path
) -> None:
    directory = _copy(model("bert-classification"), tmp_path / "model")
    spec = ModelSpec(
        task="mine", source=str(directory), pipeline_class="mine.Mine", trust_remote_code=True
    )
    for number in (1, 2):
        (directory / "mine.py").write_text(
            f"import transformers\nclass Mine(transformers.Pipeline):\n    number = {number}\n"
        )
        assert class_of(spec).number == number
