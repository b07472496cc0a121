"""Text-to-image: what test_answers.py does not ask of it."""

from __future__ import annotations

import inspect
import io
import json
import re
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import diffusers
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cases import Case
from cases.text_to_image import CASES, FEW, PROMPTS, alone, copies_arrays
from PIL import Image
from support.comparing import apart

from pipelines_beam import (
    ElementError,
    Forward,
    ModelLoadError,
    Postprocess,
    Preprocess,
    TextToImage,
)
from transforms.batching.replica import Replica
from transforms.options.spec import ModelSpec
from transforms.pipelines.classes import text_to_image
from transforms.pipelines.construction_lock import computing
from transforms.pipelines.factory import load, weightless

pytestmark = copies_arrays

DDIM = CASES[0]

Run = Callable[..., list[Any]]


def spec_of(directory: str, **options: Any) -> ModelSpec:
    return ModelSpec(task="text-to-image", source=directory, **{"device": "cpu", **options})


def test_the_seed_chooses_among_images(model: Callable[[str], str], run: Run) -> None:
    def images(**parameters: Any) -> list[Any]:
        found = run(["a red house"] * 3, TextToImage(model("sd-ddim"), **FEW, **parameters))
        return [each.inference for each in found]

    first, other = images(), images(seed=1)
    assert all(apart(first[0], image) <= 1 for image in first)
    assert all(apart(other[0], image) <= 1 for image in other)
    assert apart(first[0], other[0]) > 20
    assert apart(first[0], images(seed=0)[0]) <= 1


def test_pipelines_batch_that_make_all_prompts_equally_long() -> None:
    """Where a tokenizer pads to the longest of a batch, it is only to say what is cut off."""
    for name in text_to_image.BATCHES:
        source = inspect.getsource(sys.modules[getattr(diffusers, name).__module__])
        assert 'padding="max_length"' in source
        others = [line for line in source.splitlines() if re.search(r"padding=(?!.max_l)", line)]
        assert all("untruncated_ids = " in line for line in others), name


def test_other_pipelines_run_one_prompt_at_a_time(
    model: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_to_image, "BATCHES", frozenset())
    program = Replica(spec_of(model("sd-ddim"))).program(FEW)
    chunk = weightless(spec_of(model("sd-ddim"))).preprocess("a red house")
    assert program.batch_slot(chunk).key != program.batch_slot(chunk).key


@pytest.mark.parametrize("case", [case for case in CASES if case.model != "flux"], ids=str)
def test_large_images_make_small_batches(
    case: Case, model: Callable[[str], str], reference: Callable[[Case], list[Any]]
) -> None:
    replica = Replica(spec_of(model(case.model)))
    chunk = weightless(spec_of(model(case.model))).preprocess("a red house")
    assert (
        replica.program(case.parameters).batch_slot(chunk).length == reference(case)[0].size // 768
    )
    large = replica.program({**case.parameters, "height": 512, "width": 1024})
    assert large.batch_slot(chunk).length == 512 * 1024 * 3 // 768


def test_rows_and_parquet(
    model: Callable[[str], str],
    reference: Callable[[Case], list[Any]],
    run: Run,
    tmp_path: Path,
) -> None:
    texts = [each if isinstance(each, dict) else {"prompt": each} for each in PROMPTS]
    rows = [
        {"id": i, "text": each["prompt"], "not": each.get("negative_prompt")}
        for i, each in enumerate(texts)
    ]
    given = pa.schema([("id", pa.int64()), ("text", pa.string()), ("not", pa.string())])
    columns = {"prompt": "text", "negative_prompt": "not"}
    transform = TextToImage(model("sd-ddim"), input=columns, **FEW)
    path = str(tmp_path / "images")

    run(rows, transform, beam.io.WriteToParquet(path, transform.schema(given)))

    (written,) = tmp_path.glob("images*")
    table = pq.read_table(written)
    assert table.column_names == ["id", "text", "not", "image"]
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}}
    for row in table.to_pylist():
        image = Image.open(io.BytesIO(row["image"]["bytes"]))
        assert image.format == "PNG"
        assert apart(image, reference(DDIM)[row["id"]]) <= 1


def test_stages_may_be_far_apart(
    model: Callable[[str], str], reference: Callable[[Case], list[Any]], run: Run
) -> None:
    of = TextToImage(model("sd-ddim"), keyed=True, **FEW)
    steps = [beam.Reshuffle(), Forward(of), "Again" >> beam.Reshuffle(), Postprocess(of)]

    found = dict(run(list(enumerate(PROMPTS)), Preprocess(of), *steps))

    for i, expected in enumerate(reference(DDIM)):
        assert apart(found[i].inference, expected) <= 1


class _Both(beam.PTransform):  # type: ignore[misc]
    """Results and failures of a transform in one PCollection."""

    def __init__(self, transform: TextToImage) -> None:
        super().__init__()
        self._transform = transform

    def expand(self, pcoll: Any) -> Any:
        good, bad = pcoll | self._transform.with_exception_handling()
        return (good, bad | beam.Map(lambda row: {"message": row.message})) | beam.Flatten()


def test_a_bad_prompt_harms_no_other(
    model: Callable[[str], str], reference: Callable[[Case], list[Any]], run: Run
) -> None:
    transform = TextToImage(model("sd-ddim"), **FEW)
    found = run([PROMPTS[0], 7, {"negative_prompt": "rain"}], _Both(transform))
    bad = [each["message"] for each in found if isinstance(each, dict)]
    (good,) = (each.inference for each in found if not isinstance(each, dict))
    assert apart(good, reference(DDIM)[0]) <= 1
    number, missing = sorted(bad)
    assert number.startswith("prompt must be a string, got int 7; in YAML")
    assert missing.startswith("the input 'prompt' is missing; got negative_prompt")


def test_what_diffusers_refuses_is_said(model: Callable[[str], str], run: Run) -> None:
    with pytest.raises(ElementError, match="custom timestep"):
        run(["a red house"], TextToImage(model("sd-ddim"), timesteps=[3, 1], **FEW))


def build(transform: Any) -> None:
    beam.Pipeline() | beam.Create(["a red house"]) | transform


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"num_inference_step": 2},
            r"StableDiffusionPipeline: unknown parameter 'num_inference_step'. "
            r"Did you mean 'num_inference_steps'\? "
            "Valid: clip_skip, cross_attention_kwargs, eta, guidance_rescale, guidance_scale, "
            "height, num_inference_steps, seed, sigmas, timesteps, width",
        ),
        ({"guidence_scale": None}, "Did you mean 'guidance_scale'"),
        ({"max_sequence_length": 32}, "unknown parameter 'max_sequence_length'"),
        ({"generator": 3}, "unknown parameter 'generator'"),
        ({"num_images_per_prompt": 2}, "unknown parameter 'num_images_per_prompt'"),
        ({"num_inference_steps": 0}, "num_inference_steps must be a positive integer, got 0"),
        ({"height": "512"}, "height must be a positive integer, got '512'"),
        ({"seed": 0.5}, r"seed must be an integer, got 0\.5"),
        ({"height": 31, "width": 32}, "divisible by 8 but are 31 and 32"),
        ({"width": 13}, "divisible by 8 but are 1024 and 13"),
        ({"clip_skip": "yes"}, "clip_skip must be an integer, got str 'yes'"),
    ],
)
def test_bad_parameters_are_refused_when_the_pipeline_is_built(
    parameters: dict[str, Any], message: str, model: Callable[[str], str]
) -> None:
    transform = TextToImage(model("sd-ddim"), **parameters)
    with pytest.raises(ValueError, match=message):
        build(transform)


@pytest.mark.parametrize("options", [{"width": 48, "clip_skip": 1}, {"clip_skip": None}])
def test_good_parameters_are_taken(options: dict[str, Any], model: Callable[[str], str]) -> None:
    build(TextToImage(model("sd-ddim"), **options))


def test_a_prompt_is_an_input_and_no_parameter(model: Callable[[str], str]) -> None:
    named = r'input={"prompt": …, "negative_prompt": …}'
    with pytest.raises(TypeError, match=f"negative_prompt is an input: .*{named}"):
        TextToImage(model("sd-ddim"), negative_prompt="a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": "a/tokenizer"}, "text-to-image has no tokenizer, got 'a/tokenizer'"),
        ({"attn_implementation": "eager"}, "has no attn_implementation"),
        ({"device_map": "auto"}, "has no device_map"),
        ({"torch_compile": True}, "has no torch_compile"),
        ({"trust_remote_code": True}, "runs no code of a model's repository"),
        ({"model_kwargs": {"custom_pipeline": "x"}}, r"leave out model_kwargs\['custom_pipe"),
    ],
)
def test_options_that_it_does_not_have_are_refused(
    options: dict[str, Any], message: str, model: Callable[[str], str]
) -> None:
    with pytest.raises(ModelLoadError, match=message):
        build(TextToImage(model("sd-ddim"), **options))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("StableDiffusionInpaintPipeline", "does not make images of texts alone"),
        ("DDPMPipeline", "does not make images of texts alone"),
        ("AutoencoderKL", "has no pipeline 'AutoencoderKL'"),
        (["mine", "MyPipeline"], "has no pipeline"),
        (None, r"it has no model_index\.json"),
    ],
)
def test_models_of_other_kinds_are_refused(name: Any, message: str, tmp_path: Path) -> None:
    if name is not None:
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
    with pytest.raises(ModelLoadError, match=message):
        build(TextToImage(str(tmp_path)))


def test_pickled_weights_are_refused(model: Callable[[str], str], tmp_path: Path) -> None:
    pipe = diffusers.DiffusionPipeline.from_pretrained(model("sd-ddim"))
    pipe.save_pretrained(tmp_path, safe_serialization=False)
    assert not list((tmp_path / "unet").glob("*.safetensors"))
    with pytest.raises(ModelLoadError, match=r"safetensors"):
        load(spec_of(str(tmp_path)))


def test_without_diffusers_it_says_what_to_install(
    model: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transform, spec = TextToImage(model("sd-ddim")), spec_of(model("sd-ddim"))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setattr("transforms.stages.preflight._checked", {})
    for use in (lambda: build(transform), lambda: load(spec)):
        with pytest.raises(ModelLoadError) as error:
            use()
        said = str(error.value)
        assert said.endswith(
            "text-to-image needs diffusers: pip install 'pipelines-beam[diffusers]'"
        )
        assert "\n" not in said


def test_a_model_of_the_hub_that_is_out_of_reach_is_checked_by_the_workers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    build(TextToImage("nobody/nothing"))
    assert "cannot check the model 'nobody/nothing' from here" in caplog.text


def test_a_model_of_the_hub_is_read_from_its_cache(
    model: Callable[[str], str],
    reference: Callable[[Case], list[Any]],
    run: Run,
    tmp_path: Path,
) -> None:
    cached = tmp_path / "models--somebody--house"
    shutil.copytree(model("sd-ddim"), cached / "snapshots" / ("a" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "v1").write_text("a" * 40)
    transform = TextToImage(
        "somebody/house", revision="v1", model_kwargs={"cache_dir": str(tmp_path)}, **FEW
    )
    (found,) = run([PROMPTS[0]], transform)
    assert apart(found.inference, reference(DDIM)[0]) <= 1


def _dtypes(pipe: Any) -> set[torch.dtype]:
    return {each.dtype for each in pipe.model.parameters()}


def test_auto_is_the_dtype_that_the_denoiser_is_saved_in(
    model: Callable[[str], str], tmp_path: Path
) -> None:
    full = diffusers.DiffusionPipeline.from_pretrained(model("pixart-alpha"))
    full.save_pretrained(tmp_path / "both")
    full.to(torch.bfloat16).save_pretrained(tmp_path / "both", variant="bf16")
    full.save_pretrained(tmp_path / "half")

    def dtypes(name: str, **options: Any) -> set[torch.dtype]:
        return _dtypes(load(spec_of(str(tmp_path / name), **options)))

    assert dtypes("half") == {torch.bfloat16}
    assert dtypes("half", dtype="float32") == {torch.float32}
    assert dtypes("both") == {torch.float32}
    assert dtypes("both", model_kwargs={"variant": "bf16"}) == {torch.bfloat16}


def test_the_dtype_is_heeded(model: Callable[[str], str], run: Run) -> None:
    pipe = diffusers.DiffusionPipeline.from_pretrained(model("sd-ddim"), dtype=torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    transform = TextToImage(model("sd-ddim"), dtype="bfloat16", batch_size=1, **FEW)
    (found,) = run([PROMPTS[0]], transform)
    assert apart(found.inference, alone(pipe, PROMPTS[0], **FEW)) <= 1


def test_nobody_computes_under_another_default_dtype_while_it_loads(
    model: Callable[[str], str],
) -> None:
    stop = threading.Event()
    seen: set[torch.dtype] = set()

    def compute() -> None:
        while not stop.is_set():
            with computing:
                seen.update(torch.zeros(1).dtype for _ in range(100))

    threads = [threading.Thread(target=compute) for _ in range(2)]
    found: list[set[torch.dtype]] = []

    def build_one(dtype: str) -> None:
        found.append(_dtypes(load(spec_of(model("pixart-alpha"), dtype=dtype))))

    names = ["bfloat16", "float32", "bfloat16"]
    threads += [threading.Thread(target=build_one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads[2:]:
        thread.join(60)
    stop.set()
    for thread in threads[:2]:
        thread.join(60)
    assert sorted(map(str, found)) == sorted(str({getattr(torch, name)}) for name in names)
    assert seen == {torch.float32}
    assert torch.get_default_dtype() == torch.float32


def test_who_constructs_may_compute() -> None:
    done = threading.Event()

    def construct() -> None:
        with computing.constructing(), computing.excluded(), computing:
            done.set()

    threading.Thread(target=construct, daemon=True).start()
    assert done.wait(10)


def test_a_pipeline_without_negative_prompts_says_so() -> None:
    class Pipe:
        def __call__(self, prompt: str, generator: Any, output_type: str) -> None: ...

    pipe = text_to_image.TextToImagePipeline(Pipe, device=torch.device("meta"))
    assert pipe.preprocess("a house").keys() == {"prompt", "seed"}
    given: Mapping[str, str] = {"prompt": "a house", "negative_prompt": "rain"}
    with pytest.raises(ValueError, match="Pipe takes no negative_prompt"):
        pipe.preprocess(given)
