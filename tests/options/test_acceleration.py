"""Options that make a model faster or smaller: checked, passed on, and the answers those of stock.

Compilers are torch's and these here: what they are given is the same for each, and no C++
compiler is needed.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import torch
import transformers
from support import sink
from support.comparing import same
from support.runs import RUNNER
from support.texts import CORPUS
from transformers import BitsAndBytesConfig, QuantoConfig

from pipelines_beam import pipeline
from transforms.batching.replica import Replica
from transforms.options.spec import ModelSpec

Model = Callable[[str], str]
Run = Callable[..., list[Any]]

INT8 = {"quant_method": "quanto", "weights": "int8"}

compiled: list[int] = []


def counting(graph: Any, inputs: Any) -> Any:
    """A compiler that counts what it compiles, and does nothing to it."""
    compiled.append(len(inputs))
    return graph.forward


def broken(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no compiler today")


def once(graph: Any, inputs: Any) -> Any:
    """A compiler that fails from the second time on."""
    counting(graph, inputs)
    if len(compiled) > 1:
        raise RuntimeError("not again")
    return graph.forward


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch.compiler.reset()
    compiled.clear()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": 0, "device_map": "auto"}, "device and device_map exclude each other"),
        ({"device_map": "every"}, "device_map must be one of auto, balanced.*got 'every'"),
        ({"device_map": {"bert": -1}}, "device_map must be one of"),
        ({"device_map": {}}, "device_map must be one of"),
        ({"device_map": 1.5}, "device_map must be one of"),
        ({"torch_compile": "max-autotune"}, "torch_compile must be True, False or a mapping"),
        ({"torch_compile": None}, "torch_compile must be True, False or a mapping"),
        ({"torch_compile": {"dynamc": True}}, "unknown keyword 'dynamc'. Did you mean 'dynamic'"),
        ({"torch_compile": {"mode": "fast"}}, "torch_compile=.*'fast'.*fast"),
        ({"torch_compile": {"mode": "default", "options": {"x": 1}}}, "torch_compile=.*mode"),
        ({"quantization_config": "int8"}, "quantization_config must be one of transformers'"),
        ({"quantization_config": {"weights": "int8"}}, "unknown quant_method None.*quanto"),
        ({"quantization_config": {"quant_method": "quant"}}, "Did you mean 'quanto'"),
        ({"quantization_config": {**INT8, "weights": "int7"}}, "quantization_config=.*int8"),
        (
            {"quantization_config": {"quant_method": "quanto", "weight": "int8"}},
            "unknown option 'weight'. Did you mean 'weights'",
        ),
        (
            {"attn_implementation": "sdpa", "model_kwargs": {"attn_implementation": "eager"}},
            "attn_implementation is given twice",
        ),
        ({"max_wait_ms": -1}, "max_wait_ms must be a number of milliseconds.*got -1"),
        ({"max_wait_ms": "soon"}, "max_wait_ms must be a number"),
    ],
)
def test_options_are_checked_when_the_pipeline_is_built(
    model: Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline("text-classification", model("bert-classification"), **options)


def _spec(directory: str, **options: Any) -> ModelSpec:
    return ModelSpec(task="text-classification", source=directory, **options)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (
            {"device_map": {"bert": 0, "classifier": 1}},
            {"device_map": {"bert": 1, "classifier": 1}},
        ),
        ({"torch_compile": {"mode": "default", "backend": counting}}, {"torch_compile": True}),
        ({"quantization_config": INT8}, {"quantization_config": {**INT8, "weights": "int4"}}),
        (
            {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)},
            {"quantization_config": BitsAndBytesConfig(load_in_4bit=True)},
        ),
        ({"model_kwargs": {"a": 1, "b": {"c": 2}}}, {"model_kwargs": {"a": 1, "b": {"c": 3}}}),
    ],
)
def test_equal_options_are_one_model_and_others_are_not(
    model: Model, left: dict[str, Any], right: dict[str, Any]
) -> None:
    directory = model("bert-classification")
    turned = {
        name: dict(reversed(value.items())) if isinstance(value, dict) else value
        for name, value in left.items()
    }
    spec = _spec(directory, **left)
    assert spec.identity == _spec(directory, **turned).identity
    assert spec.identity == pickle.loads(pickle.dumps(spec)).identity
    assert spec.identity != _spec(directory, **right).identity
    assert " at 0x" not in spec.identity


@pytest.mark.parametrize(
    "options",
    [
        {"attn_implementation": "eager"},
        {"attn_implementation": "sdpa"},
        {"dtype": "bfloat16"},
        {"device_map": "auto"},
        {"device_map": {"": "cpu"}},
        {"device_map": {"": "cpu"}, "dtype": "bfloat16"},
        {"quantization_config": INT8},
        {"quantization_config": QuantoConfig(weights="int8")},
        {"quantization_config": QuantoConfig(weights="int8"), "device_map": "cpu"},
        {"torch_compile": {"backend": counting}},
        *(
            pytest.param(options, marks=pytest.mark.slow, id="-".join(options))
            for options in (
                {"torch_compile": {"backend": "aot_eager"}, "dtype": "bfloat16"},
                {"torch_compile": {"backend": counting}, "quantization_config": INT8},
                {"torch_compile": {"backend": counting}, "attn_implementation": "eager"},
            )
        ),
    ],
    ids="-".join,
)
def test_answers_are_those_of_stock_with_the_same_option(
    model: Model, run: Run, options: dict[str, Any]
) -> None:
    directory = model("bert-classification")
    for_stock = {name: value for name, value in options.items() if name != "torch_compile"}
    quantization = for_stock.pop("quantization_config", None)
    if isinstance(quantization, dict):
        quantization = QuantoConfig(weights=quantization["weights"])
    if quantization is not None:
        for_stock["model_kwargs"] = {"quantization_config": quantization}
    if "attn_implementation" in for_stock:
        for_stock["model_kwargs"] = {"attn_implementation": for_stock.pop("attn_implementation")}
    if "device_map" not in options:
        options, for_stock = {**options, "device": "cpu"}, {**for_stock, "device": "cpu"}
    stock = transformers.pipeline("text-classification", directory, **for_stock)
    found = run(CORPUS, pipeline("text-classification", directory, top_k=None, **options))
    assert len(found) == len(CORPUS)
    tolerance = 2e-2 if options.get("dtype") == "bfloat16" else 1e-5
    for result in found:
        scores = {each["label"]: each["score"] for each in result.inference}
        expected = {each["label"]: each["score"] for each in stock(result.example, top_k=None)}
        assert same(scores, expected, tolerance), result.example


def test_the_options_reach_the_model(model: Model, tmp_path: Path) -> None:
    directory = model("bert-classification")
    plain = Replica(_spec(directory, device="cpu"))
    small = Replica(_spec(directory, device="cpu", quantization_config=INT8))
    names = ("bert.embeddings", "bert.encoder", "bert.pooler", "classifier")
    places = dict(zip(names, ("cpu", "cpu", "disk", "cpu"), strict=True))
    more = {"offload_folder": str(tmp_path)}
    placed = Replica(
        _spec(directory, device_map=places, attn_implementation="eager", model_kwargs=more)
    )
    assert small.nbytes < plain.nbytes
    assert "int8" in {str(w.dtype).removeprefix("torch.") for w in _inner(small)}
    assert placed._pipe.model.hf_device_map == places
    assert placed._pipe("a text")[0]["label"]
    assert placed._pipe.model.config._attn_implementation == "eager"
    assert not placed.accelerated


def _inner(replica: Replica) -> Iterator[torch.Tensor]:
    """The tensors that quantized weights are made of."""
    for weight in replica._pipe.model.parameters():
        if hasattr(weight, "__tensor_flatten__"):
            names, _ = weight.__tensor_flatten__()
            yield from (getattr(weight, name) for name in names)


@pytest.mark.slow
def test_batches_of_all_shapes_share_a_few_programs(model: Model, run: Run) -> None:
    directory = model("bert-classification")
    texts = [" ".join(CORPUS[i % 15].split()[: 1 + i % 9]) + f" {i}" for i in range(400)]
    found = run(
        texts,
        pipeline(
            "text-classification", directory, device="cpu", torch_compile={"backend": counting}
        ),
    )
    stock = transformers.pipeline("text-classification", directory, device="cpu")
    assert len(found) == 400
    assert all(same(result.inference, stock(result.example)) for result in found[::7])
    assert 1 <= len(compiled) <= 4


@pytest.mark.slow
def test_generated_texts_are_those_of_stock(model: Model, run: Run) -> None:
    directory = model("gpt2-lm")
    options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False}
    found = run(
        CORPUS,
        pipeline(
            "text-generation",
            directory,
            device="cpu",
            torch_compile={"backend": counting},
            **options,
        ),
    )
    stock = transformers.pipeline("text-generation", directory, device="cpu")
    assert len(found) == len(CORPUS)
    assert all(result.inference == stock(result.example, **options) for result in found)
    assert 1 <= len(compiled) <= 8


@pytest.mark.slow
def test_the_default_compiler(model: Model, run: Run) -> None:
    """Where there is a C++ compiler; where there is none, that is what the error says."""
    directory = model("bert-classification")
    transform = pipeline("text-classification", directory, device="cpu", torch_compile=True)
    if not shutil.which(os.environ.get("CXX", "g++")):
        with pytest.raises(Exception, match="does not compile"):
            run(CORPUS, transform)
        return
    stock = transformers.pipeline("text-classification", directory, device="cpu")
    found = run(CORPUS, transform)
    assert len(found) == len(CORPUS)
    assert all(same(result.inference, stock(result.example)) for result in found)


def test_a_model_that_does_not_compile_ends_the_job(model: Model) -> None:
    """Not as failure rows: no element could have been answered as asked for."""
    transform = pipeline(
        "text-classification",
        model("bert-classification"),
        device="cpu",
        torch_compile={"backend": broken},
    )
    with (
        pytest.raises(
            Exception, match=r"(?s)torch_compile=.*does not compile: .*no compiler today"
        ),
        beam.Pipeline(RUNNER) as p,
    ):
        p | beam.Create(CORPUS) | transform.with_exception_handling()


@pytest.mark.slow
def test_a_shape_that_does_not_compile_is_answered_all_the_same(
    model: Model, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    directory = model("bert-classification")
    keywords = {"backend": once, "dynamic": False}
    found = run(
        CORPUS,
        pipeline("text-classification", directory, device="cpu", torch_compile=keywords),
    )
    stock = transformers.pipeline("text-classification", directory, device="cpu")
    assert len(found) == len(CORPUS)
    assert all(same(result.inference, stock(result.example)) for result in found)
    assert len(compiled) > 1
    assert "without torch.compile" in caplog.text


@pytest.mark.slow
def test_an_error_of_the_data_is_the_one_without_compiling(model: Model) -> None:
    long = " ".join(CORPUS)
    sink.collected.clear()
    cases: list[dict[str, Any]] = [{}, {"torch_compile": {"backend": counting}}]
    for options in cases:
        transform = pipeline(
            "text-classification", model("bert-classification"), device="cpu", **options
        )
        with beam.Pipeline(RUNNER) as p:
            texts = [*CORPUS[:9], long, *CORPUS[9:]]
            good, bad = (
                p | beam.Create(texts, reshuffle=False) | transform.with_exception_handling()
            )
            good | beam.combiners.Count.Globally() | "Good" >> beam.Map(sink.collect)
            bad | "Bad" >> beam.Map(sink.collect)
    counts = [found for found in sink.collected if isinstance(found, int)]
    eager, traced = [found for found in sink.collected if not isinstance(found, int)]
    assert counts == [len(CORPUS)] * 2
    assert eager.element == traced.element == long
    assert (eager.error, eager.message) == (traced.error, traced.message)
