"""Weights that a checkpoint lacks: those that are read end the job, others change nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from apache_beam.ml.inference.base import RunInference
from support import sink
from support.comparing import same
from support.pictures import picture
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import (
    CustomPipeline,
    FeatureExtraction,
    TaskModelHandler,
    TextClassification,
    TextToImage,
    cli,
    pipeline,
)
from transforms.batching.replica import Replica
from transforms.engine.errors import EngineError
from transforms.options.spec import ModelSpec
from transforms.pipelines.random_weights import RandomWeight, Trial
from transforms.stages.preflight import check_task

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


def without(directory: str, target: Path, *names: str) -> str:
    """A copy of a model that lacks the weights whose names contain one of these."""
    shutil.copytree(directory, target)
    lacking = 0
    for path in target.rglob("*.safetensors"):
        weights = safetensors.torch.load_file(path)
        kept = {key: each for key, each in weights.items() if not any(n in key for n in names)}
        lacking += len(weights) - len(kept)
        safetensors.torch.save_file(kept, path, {"format": "pt"})
    assert lacking, f"{directory} has no {names}"
    return str(target)


@dataclass(frozen=True)
class Case:
    """A task on a model without some of its weights."""

    task: str
    model: str
    names: tuple[str, ...]
    input: Any = CORPUS[0]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.task, self.model, *self.names])


_PICTURE = picture("cat", 32, 24)
_SHORT = {"max_new_tokens": 4}
_SAMPLED = {**_SHORT, "do_sample": True}
_LABELS = {"candidate_labels": ["a", "b"]}
READ = [
    Case("text-classification", "bert-classification", ("classifier",)),
    Case("text-classification", "bert-classification", ("classifier.bias",)),
    Case("text-classification", "bert-classification", ("pooler",)),
    Case("text-classification", "bert-classification", ("layer.1.attention.self.query",)),
    Case("token-classification", "bert-ner", ("classifier",)),
    Case("fill-mask", "bert-mlm", ("transform.dense",), "a [MASK] house"),
    Case("zero-shot-classification", "bart-nli", ("head.out_proj",), CORPUS[0], _LABELS),
    Case("text-generation", "gpt2-lm", ("wpe",), CORPUS[0], _SHORT),
    Case("text-generation", "gpt2-lm", ("h.0.mlp",), CORPUS[0], _SAMPLED),
    Case("summarization", "bart-seq2seq", ("decoder.layers.0.encoder_attn",), CORPUS[0], _SHORT),
    Case("image-classification", "vit-classification", ("classifier",), _PICTURE),
    Case("image-classification", "resnet-classification", ("running_var",), _PICTURE),
    Case("image-feature-extraction", "vit-encoder", ("pooler",), _PICTURE, {"pool": True}),
    Case("image-to-text", "vit-gpt2", ("crossattention",), _PICTURE, _SHORT),
    Case("zero-shot-image-classification", "clip", ("visual_projection",), _PICTURE, _LABELS),
    Case("object-detection", "detr-detection", ("bbox_predictor",), _PICTURE),
    Case("text-to-speech", "vits", ("flow.flows.0",), "a"),
]
UNREAD = [
    Case("feature-extraction", "bert-encoder", ("pooler",)),
    Case("image-feature-extraction", "vit-encoder", ("pooler",), _PICTURE),
    Case("text-generation", "gpt2-lm", ("lm_head",), CORPUS[0], _SHORT),
    Case("depth-estimation", "dpt-depth", ("fusion_stage.layers.0.residual_layer1",), _PICTURE),
    Case("image-classification", "resnet-classification", ("num_batches_tracked",), _PICTURE),
]


def _one(transform: Any, run: Run, element: Any) -> Any:
    return run([element], transform)[0].inference


_QUICK = {"classifier", "h.0.mlp", "running_var"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case.names[0] in _QUICK else pytest.mark.slow, id=str(case))
        for case in READ
    ],
)
def test_weights_that_are_read_end_the_job(
    case: Case, model: Model, tmp_path: Path, run: Run
) -> None:
    directory = without(model(case.model), tmp_path / "model", *case.names)
    transform = pipeline(case.task, directory, device="cpu", **case.parameters)
    with pytest.raises(Exception, match="allow_random_weights=True") as caught:
        run([case.input], transform)
    assert case.names[0] in str(caught.value)


@pytest.mark.parametrize("case", UNREAD, ids=str)
def test_weights_that_are_not_read_change_nothing(
    case: Case, model: Model, tmp_path: Path, run: Run
) -> None:
    directory = model(case.model)
    if case.names != ("lm_head",):  # tied: never saved
        directory = without(directory, tmp_path / "model", *case.names)
    options = {"device": "cpu", **case.parameters}
    right = _one(pipeline(case.task, model(case.model), **options), run, case.input)
    assert same(_one(pipeline(case.task, directory, **options), run, case.input), right)


def test_a_token_for_masked_positions_is_not_read(model: Model, tmp_path: Path, run: Run) -> None:
    directory = model("wav2vec2-layer-ctc")
    sound = np.sin(np.arange(16_000) / 20).astype(np.float32)
    right = _one(pipeline("automatic-speech-recognition", directory, device="cpu"), run, sound)
    path = without(directory, tmp_path / "model", "masked_spec_embed")
    found = _one(pipeline("automatic-speech-recognition", path, device="cpu"), run, sound)
    assert found == right


def test_no_row_is_answered_and_none_fails(model: Model) -> None:
    transform = TextClassification(model("bert-encoder"), device="cpu").with_exception_handling()
    sink.collected.clear()
    with pytest.raises(Exception, match=r"classifier\.bias, classifier\.weight"):
        _both(transform)
    assert not sink.collected


def _both(transform: Any) -> None:
    with beam.Pipeline(RUNNER) as p:
        good, bad = p | beam.Create(CORPUS[:8], reshuffle=False) | transform
        for name, rows in (("good", good), ("bad", bad)):
            _ = rows | name >> beam.Map(sink.collect)


def test_they_are_answered_with_where_that_is_asked_for(
    model: Model, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    transform = TextClassification(model("bert-encoder"), device="cpu", allow_random_weights=True)
    assert len(run(CORPUS[:3], transform)) == 3
    assert "2 weights are random, as allowed: classifier.bias" in caplog.text


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_the_option_is_checked(model: Model, value: Any) -> None:
    with pytest.raises(ValueError, match="allow_random_weights must be True or False"):
        TextClassification(model("bert-encoder"), allow_random_weights=value)


def test_weights_of_another_shape_are_named(model: Model, run: Run) -> None:
    labels = {"num_labels": 7}
    with pytest.raises(Exception, match=r"classifier.weight has the shape \(3, 32\)"):
        run(["a"], TextClassification(model("bert-classification"), model_kwargs=labels))
    ignored = {**labels, "ignore_mismatched_sizes": True}
    message = (
        r"has 2 weights in another shape that text-classification reads "
        r"\(classifier.bias: \(3,\) in place of \(7,\), classifier.weight: \(3, 32\) in place of "
        r"\(7, 32\)\).*allow_random_weights=True"
    )
    with pytest.raises(Exception, match=message):
        run(["a"], TextClassification(model("bert-classification"), model_kwargs=ignored))


def test_a_head_of_another_shape_is_refused_while_the_pipeline_is_built(model: Model) -> None:
    directory = model("bert-classification")
    transform = TextClassification(directory, model_kwargs={"num_labels": 5})
    message = r"{'num_labels': 5}: classifier.weight has the shape \(3, 32\).* and \(5, 32\) in"
    with pytest.raises(ValueError, match=message):
        check_task(transform.spec)
    for fine in ({"num_labels": 3}, {"num_labels": 5, "ignore_mismatched_sizes": True}):
        check_task(TextClassification(directory, model_kwargs=fine).spec)


def test_a_task_in_run_inference(model: Model, run: Run) -> None:
    directory = model("bert-encoder")
    handler = TaskModelHandler("text-classification", directory, device="cpu")
    with pytest.raises(Exception, match=r"2 weights that text-classification reads"):
        run(["a"], RunInference(handler))
    allowed = TaskModelHandler(
        "text-classification", directory, device="cpu", allow_random_weights=True
    )
    assert len(run(["a"], RunInference(allowed))) == 1


def test_a_pipeline_class_of_ones_own(model: Model, run: Run, tmp_path: Path) -> None:
    options = {"task": "text-classification", "pipeline_class": "support.custom_pipelines.Plain"}
    with pytest.raises(Exception, match="lacks 2 weights"):
        run(["a"], CustomPipeline(model("bert-encoder"), **options))
    # Its outputs have the pooler's vector, which its postprocess does not take.
    options = {"task": "feature-extraction", "pipeline_class": "support.custom_pipelines.Hidden"}
    path = without(model("bert-encoder"), tmp_path / "model", "pooler")
    right = _one(CustomPipeline(model("bert-encoder"), **options), run, "a")
    assert same(_one(CustomPipeline(path, **options), run, "a"), right)


def test_only_those_that_are_read_are_named(model: Model, tmp_path: Path) -> None:
    path = without(model("bert-encoder"), tmp_path / "model", "token_type_embeddings", "pooler")
    replica = Replica(ModelSpec(task="feature-extraction", source=path, device="cpu"))
    tokens = transformers.AutoTokenizer.from_pretrained(path)("a", return_tensors="pt")
    program = replica.program({})
    with pytest.raises(EngineError, match=r"1 weights.*token_type_embeddings"):
        program.run([tokens])


def test_the_model_is_as_it_was_after_the_trial(model: Model, tmp_path: Path, run: Run) -> None:
    path = without(model("bert-encoder"), tmp_path / "model", "pooler")
    found = run(CORPUS[:6], FeatureExtraction(path, device="cpu", batch_size=2))
    stock = transformers.pipeline("feature-extraction", path, device="cpu")
    assert all(same(each.inference, stock(each.example)) for each in found)


def test_compiled_models_are_tried_without_it(model: Model, run: Run) -> None:
    transform = TextClassification(
        model("bert-encoder"), device="cpu", torch_compile={"backend": "eager"}
    )
    with pytest.raises(Exception, match="lacks 2 weights"):
        run(["a"], transform)


@pytest.mark.parametrize(("names", "fails"), [("pooler", False), ("layer.1.output.dense", True)])
def test_quantized_weights_are_tried_too(
    model: Model, tmp_path: Path, run: Run, names: str, fails: bool
) -> None:
    """What the module of such a weight gives is spoilt in its place."""
    directory = without(model("bert-encoder"), tmp_path / "lacking", names)
    quanto = {"quant_method": "quanto", "weights": "int8"}
    transform = FeatureExtraction(directory, quantization_config=quanto)
    if not fails:
        assert len(run(CORPUS[:3], transform)) == 3
        return
    with pytest.raises(Exception, match=r"lacks \d+ weights that feature-extraction reads"):
        run(CORPUS[:3], transform)


@pytest.mark.slow
def test_a_model_of_diffusers(model: Model, tmp_path: Path, run: Run) -> None:
    path = without(model("sd-ddim"), tmp_path / "model", "conv_out.weight")
    with pytest.raises(Exception, match=r"conv_out\.weight"):
        run(["a red house"], TextToImage(path, device="cpu", num_inference_steps=1))


@pytest.mark.parametrize("broken", ["weight", "input"])
def test_weights_that_memory_left_there(broken: str) -> None:
    """A chunk that fails by what is in them depends on them; if it fails anyway, not."""
    module = torch.nn.Linear(2, 1)
    made = module.weight
    torch.nn.init.constant_(made, float("nan"))

    def forward(features: dict[str, torch.Tensor]) -> torch.Tensor:
        output: torch.Tensor = module(features["x"])
        if not torch.isfinite(output).all():
            raise RuntimeWarning("invalid value encountered in cast")
        return output

    pipe = SimpleNamespace(model=module, task="text-to-image")
    trial = Trial(pipe, [RandomWeight(module, "weight", made)], forward, {}, "a/model")
    chunks = [{"x": torch.full((1, 2), float("nan") if broken == "input" else 1.0)}]
    expects: AbstractContextManager[Any] = nullcontext()
    if broken == "weight":
        expects = pytest.raises(EngineError, match="lacks 1 weights that text-to-image reads")
    with expects:
        trial.check(chunks)
    assert made.isnan().all()


@pytest.mark.slow
def test_an_engine_in_a_process_of_its_own(model: Model, run: Run) -> None:
    with pytest.raises(Exception, match=r"classifier\.bias, classifier\.weight"):
        run(["a"], TextClassification(model("bert-encoder"), share="machine"))


@pytest.mark.slow
def test_on_the_command_line(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config: dict[str, Any] = {"model": model("bert-encoder"), "input": "text", "device": "cpu"}
    assert _job(tmp_path, config) != 0
    assert "2 weights that text-classification reads" in capsys.readouterr().err
    assert _job(tmp_path, {**config, "allow_random_weights": True}) == 0


def _job(folder: Path, config: Mapping[str, Any]) -> int:
    create = {"type": "Create", "config": {"elements": [{"text": "a"}, {"text": "b"}]}}
    transforms = [create, {"type": "TextClassification", "config": dict(config)}]
    job = {"pipeline": {"type": "chain", "transforms": transforms}}
    path = folder / "job.yaml"
    path.write_text(json.dumps(job))
    return cli.main(["run", str(path)])


def adapter(base: str, folder: Path) -> str:
    """A model's directory with an adapter of it, all of whose weights are other than at first."""
    peft = pytest.importorskip("peft")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"])
    adapted = peft.get_peft_model(model, config)
    for weight in adapted.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    adapted.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return str(folder)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own
def test_weights_that_an_adapter_lacks(model: Model, run: Run, tmp_path: Path) -> None:
    whole = adapter(model("bert-classification"), tmp_path / "whole")
    stock = transformers.pipeline("text-classification", whole, device="cpu")
    (found,) = run(CORPUS[:1], TextClassification(whole))
    assert same(found.inference, stock(CORPUS[0]))
    for names in (("lora_A",), ("layer.1", "lora_B"), ("classifier",)):
        lacking = without(whole, tmp_path / "-".join(names), *names)
        with pytest.raises(Exception, match=r"lacks \d+ weights that text-classification reads"):
            run(CORPUS[:1], TextClassification(lacking))
        assert len(run(CORPUS[:1], TextClassification(lacking, allow_random_weights=True))) == 1
