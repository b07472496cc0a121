"""Tasks in Beam's own RunInference: the answers are transformers' own there, too."""

from __future__ import annotations

import gc
import inspect
import io
import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import transformers
from apache_beam.metrics import MetricsFilter
from apache_beam.ml.inference.base import (
    KeyedModelHandler,
    KeyModelMapping,
    ModelMetadata,
    PredictionResult,
    RunInference,
)
from cases.text import CHATS, TABLES
from support import sink
from support.comparing import same
from support.pictures import PICTURES
from support.runs import RUNNER
from support.sounds import SOUNDS, copied
from support.texts import CORPUS

from pipelines_beam import (
    ElementError,
    ModelLoadError,
    TaskModelHandler,
    TaskTransform,
)
from transforms.stages.run_inference import ALTERNATIVES, SUPPORTED

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


GREEDY = {"do_sample": False, "max_new_tokens": 6}


LONG = " ".join(CORPUS)


def png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


CASES: list[tuple[str, str, dict[str, Any], list[Any]]] = [
    ("text-classification", "bert-classification", {"top_k": None}, CORPUS),
    ("zero-shot-classification", "bert-nli", {"candidate_labels": ["sport", "home"]}, CORPUS[::4]),
    ("text-generation", "llama-lm", GREEDY, CORPUS[:8]),
    ("text-generation", "llama-lm", GREEDY, list(CHATS)),
    ("table-question-answering", "tapas-qa", {}, list(TABLES)),
    ("automatic-speech-recognition", "wav2vec2-layer-ctc", {}, list(SOUNDS)),
]


def ask(task: str, directory: str, parameters: dict[str, Any], examples: list[Any]) -> list[Any]:
    """What transformers answers, one example at a time."""
    pipe = transformers.pipeline(task, directory, device="cpu")
    return [pipe(dict(x) if isinstance(x, dict) else copied(x), **parameters) for x in examples]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{len(case[3])}")
def test_the_answer_is_transformers_own(case: Any, model: Model, run: Run) -> None:
    task, name, parameters, examples = case
    expected = ask(task, model(name), parameters, examples)
    handler = TaskModelHandler(task, model(name), max_batch_size=7, **parameters)
    pairs = list(enumerate(examples))
    random.Random(7).shuffle(pairs)

    found = dict(run(pairs, RunInference(KeyedModelHandler(handler))))

    assert found.keys() == set(range(len(examples)))
    for i, answer in enumerate(expected):
        assert isinstance(found[i], PredictionResult)
        assert found[i].model_id == model(name)
        assert same(examples[i], found[i].example)
        assert same(answer, found[i].inference), (answer, found[i].inference)


def test_files_of_images(model: Model, run: Run) -> None:
    expected = ask("image-classification", model("vit-classification"), {}, list(PICTURES))
    handler = TaskModelHandler("image-classification", model("vit-classification"))
    files = [png(picture) for picture in PICTURES]
    found = {result.example: result.inference for result in run(files, RunInference(handler))}
    for file, answer in zip(files, expected, strict=True):
        assert same(answer, found[file])


def test_results_keep_the_order_of_a_batch(model: Model) -> None:
    handler = TaskModelHandler("text-classification", model("bert-classification"))
    loaded = handler.load_model()
    results = list(handler.run_inference(CORPUS, loaded))
    assert [result.example for result in results] == CORPUS
    assert handler.get_num_bytes(["abc", "de"]) == 5
    assert list(handler.run_inference([], loaded)) == []


def test_the_engine_ends_with_the_model(model: Model) -> None:
    """Beam never says that it is done with a model."""
    handler = TaskModelHandler("text-classification", model("bert-classification"))
    loaded = handler.load_model()
    list(handler.run_inference(CORPUS[:3], loaded))
    thread = loaded._engine._thread
    assert thread.is_alive()
    del loaded
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


def test_several_threads_ask_one_model(model: Model) -> None:
    directory = model("bert-classification")
    handler = TaskModelHandler("text-classification", directory)
    loaded = handler.load_model()
    expected = ask("text-classification", directory, {}, CORPUS)

    def work(i: int) -> bool:
        texts = CORPUS[i:] + CORPUS[:i]
        found = [result.inference for result in handler.run_inference(texts, loaded)]
        return all(map(same, expected[i:] + expected[:i], found))

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(work, range(24)))


def test_a_window_bounds_what_is_in_flight(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may be larger than memory: features are made as the engine takes them."""
    directory = model("bert-classification")
    handler = TaskModelHandler("text-classification", directory)
    object.__setattr__(handler._spec.limits, "window_bytes", 2000)
    loaded = handler.load_model()
    most = 0
    submit = loaded._engine.submit

    def counted(ticket: Any) -> None:
        nonlocal most
        submit(ticket)
        live = len(loaded._engine._core._live) + loaded._engine._arrivals.qsize()
        most = max(most, live)

    monkeypatch.setattr(loaded._engine, "submit", counted)
    results = list(handler.run_inference(CORPUS * 5, loaded))
    assert len(results) == 5 * len(CORPUS)
    assert most < len(CORPUS)
    monkeypatch.undo()


@pytest.mark.parametrize("options", [{"large_model": True}, {"model_copies": 2}], ids=str)
def test_a_model_shared_by_processes(options: Any, model: Model, run: Run) -> None:
    directory = model("bert-classification")
    handler = TaskModelHandler("text-classification", directory, max_batch_size=16, **options)
    assert handler.share_model_across_processes()
    assert handler.model_copies() == options.get("model_copies", 1)
    expected = dict(zip(CORPUS, ask("text-classification", directory, {}, CORPUS), strict=True))
    found = run(CORPUS, RunInference(handler))
    assert len(found) == len(CORPUS)
    for result in found:
        assert same(expected[result.example], result.inference)


def test_inference_args_come_before_the_handlers_parameters(model: Model, run: Run) -> None:
    directory = model("bert-classification")
    handler = TaskModelHandler("text-classification", directory, top_k=1)
    found = run(CORPUS[:5], RunInference(handler, inference_args={"top_k": 2}))
    expected = ask("text-classification", directory, {"top_k": 2}, CORPUS[:5])
    answers = {result.example: result.inference for result in found}
    assert all(same(answers[x], y) for x, y in zip(CORPUS[:5], expected, strict=True))


def test_inputs_are_read_with_the_inference_args(model: Model, run: Run) -> None:
    words, directory = ["New", "York"], model("bert-ner")
    arguments: dict[str, Any] = {"is_split_into_words": True, "ignore_labels": []}
    handler = TaskModelHandler("token-classification", directory)
    found = run([words, json.dumps(words)], RunInference(handler, inference_args=arguments))
    (expected,) = ask("token-classification", directory, arguments, [words])
    assert len(found) == 2
    assert all(same(each.inference, expected) for each in found)


def test_required_parameters_may_be_inference_args(model: Model, run: Run) -> None:
    directory = model("bert-nli")
    handler = TaskModelHandler("zero-shot-classification", directory)
    labels = {"candidate_labels": ["sport", "home"]}
    (found,) = run(CORPUS[:1], RunInference(handler, inference_args=labels))
    (expected,) = ask("zero-shot-classification", directory, labels, CORPUS[:1])
    assert same(found.inference, expected)
    lacking: list[Any] = [None, {}, {"multi_label": True}, {"candidate_labels": []}]
    for arguments in lacking:
        with pytest.raises(TypeError, match="'candidate_labels' must be given"):
            beam.Pipeline() | beam.Create(["a"]) | RunInference(handler, inference_args=arguments)


def test_the_timeout_of_media_may_be_an_inference_arg(model: Model) -> None:
    handler = TaskModelHandler("image-classification", model("vit-classification"))
    with pytest.raises(ValueError, match="timeout"):
        handler.validate_inference_args({"timeout": -1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_n": 2}, r"'top_n'.*Did you mean 'top_k'"),
        ({"function_to_apply": "sigmod"}, "got str 'sigmod'. Did you mean"),
    ],
)
def test_inference_args_are_checked_when_the_pipeline_is_built(
    arguments: Any, message: str, model: Model
) -> None:
    handler = TaskModelHandler("text-classification", model("bert-classification"))
    with pytest.raises((TypeError, ValueError), match=message):
        beam.Pipeline() | beam.Create(["a"]) | RunInference(handler, inference_args=arguments)


def test_the_model_is_checked_when_the_pipeline_is_built(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    handler = TaskModelHandler("text-classification", str(tmp_path))
    with pytest.raises(ModelLoadError, match="cannot load the model"):
        beam.Pipeline() | beam.Create(["a"]) | RunInference(handler)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match=r"unknown parameter 'min_batchsize'"):
        TaskModelHandler("text-classification", "org/model", min_batchsize=2)
    with pytest.raises(TypeError, match=r"no option 'keyed': wrap the handler in .*KeyedModel"):
        TaskModelHandler("text-classification", "org/model", keyed=True)


def test_batching_options_reach_beam() -> None:
    handler = TaskModelHandler(
        "text-classification",
        "org/model",
        min_batch_size=4,
        max_batch_size=8,
        max_batch_duration_secs=2,
        env_vars={"A": "b"},
    )
    assert handler.batch_elements_kwargs() == {
        "min_batch_size": 4,
        "max_batch_size": 8,
        "max_batch_duration_secs": 2,
    }
    assert handler._env_vars == {"A": "b"}


def test_an_error_names_the_example_and_fails_its_batch(model: Model) -> None:
    handler = TaskModelHandler("text-classification", model("bert-classification"))
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        texts = p | beam.Create([["a", LONG, None], ["b", "c"]]) | beam.Map(list)
        good, failed = texts | RunInference(handler.with_no_batching()).with_exception_handling()
        good | beam.Map(lambda result: result.example) | "G" >> beam.Map(sink.collect)
        failed.failed_inferences | "B" >> beam.Map(sink.collect)
    answered = [each for each in sink.collected if isinstance(each, str)]
    ((batch, (kind, message, _)),) = (each for each in sink.collected if isinstance(each, tuple))
    assert sorted(answered) == ["b", "c"]
    assert batch == ["a", LONG, None]
    assert kind is ElementError
    assert "text-classification: " in message


def test_failures_as_inferences_leave_the_others_answered(model: Model, run: Run) -> None:
    directory = model("bert-classification")
    handler = TaskModelHandler("text-classification", directory, return_failures=True)
    found = run([*CORPUS, LONG, None], RunInference(handler))
    failed = {r.example: r.inference for r in found if isinstance(r.inference, beam.Row)}
    answers = {r.example: r.inference for r in found if r.example not in failed}
    assert {(example, row.stage) for example, row in failed.items()} == {
        (LONG, "forward"),
        (None, "preprocess"),
    }
    expected = ask("text-classification", directory, {}, CORPUS)
    assert answers.keys() == set(CORPUS)
    assert all(same(answers[x], y) for x, y in zip(CORPUS, expected, strict=True))


def test_a_model_update(model: Model) -> None:
    """The side input's model answers, under its own name."""
    first, second = model("bert-classification"), model("distilbert-classification")
    handler = TaskModelHandler("text-classification", first)
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        path = f"{second}/model.safetensors"
        update = p | "Update" >> beam.Create([ModelMetadata(path, "second")])
        texts = p | beam.Create(CORPUS)
        texts | RunInference(handler, model_metadata_pcoll=update) | beam.Map(sink.collect)
    expected = dict(zip(CORPUS, ask("text-classification", second, {}, CORPUS), strict=True))
    assert len(sink.collected) == len(CORPUS)
    for result in sink.collected:
        assert result.model_id == second
        assert same(expected[result.example], result.inference)


def test_a_model_for_each_key(model: Model, run: Run) -> None:
    names = {"a": "bert-classification", "b": "distilbert-classification"}
    handler = KeyedModelHandler(
        [
            KeyModelMapping([key], TaskModelHandler("text-classification", model(name)))
            for key, name in names.items()
        ]
    )
    pairs = [("ab"[i % 2], text) for i, text in enumerate(CORPUS)]
    found = run(pairs, RunInference(handler))
    assert sorted((key, result.example) for key, result in found) == sorted(pairs)
    for key, name in names.items():
        mine = [result for other, result in found if other == key]
        examples = [result.example for result in mine]
        expected = ask("text-classification", model(name), {}, examples)
        assert all(same(r.inference, y) for r, y in zip(mine, expected, strict=True))


def test_metrics_are_beside_those_of_the_transforms(model: Model) -> None:
    with beam.Pipeline(RUNNER) as p:
        handler = TaskModelHandler("text-classification", model("bert-classification"))
        p | beam.Create(CORPUS, reshuffle=False) | RunInference(handler)
    found = p.result.metrics().query(MetricsFilter().with_namespace("pipelines_beam"))
    counters = {each.key.metric.name: each.committed for each in found["counters"]}
    assert counters["num_inferences"] == len(CORPUS)
    assert counters["compute_micro_secs"] > 0
    spreads = {each.key.metric.name: each.committed for each in found["distributions"]}
    assert spreads["padding_percent"].count >= 1


def test_a_handler_honours_or_refuses_every_option_of_a_transform() -> None:
    taken = inspect.signature(TaskTransform.__init__).parameters.values()
    options = {each.name for each in taken if each.kind is each.KEYWORD_ONLY}
    assert not SUPPORTED & ALTERNATIVES.keys()
    assert options == SUPPORTED | ALTERNATIVES.keys()


@pytest.mark.parametrize("name", sorted(ALTERNATIVES))
def test_a_handler_says_where_run_inference_has_an_option(model: Model, name: str) -> None:
    option: dict[str, Any] = {name: None}
    with pytest.raises(TypeError, match=f"no option '{name}': (use|wrap) .*"):
        TaskModelHandler("ner", model("bert-ner"), **option)


def test_an_option_that_came_later_is_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.stages.run_inference.SUPPORTED", SUPPORTED - {"dtype"})
    with pytest.raises(TypeError, match="no option 'dtype'"):
        TaskModelHandler("ner", model("bert-ner"), dtype="float32")
