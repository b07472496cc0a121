"""Images cross to the engine as uint8, and are there what the processor itself would have given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from support import comparing, sink
from support.files import saved
from support.pictures import PICTURES, picture

from pipelines_beam import ImageClassification, Preprocess
from transforms.batching.pixels import RAW, Deferral, Finish
from transforms.batching.replica import Replica
from transforms.media.array_image import ArrayImage
from transforms.media.decoding import decoded
from transforms.options.media_limits import MediaLimits
from transforms.options.spec import ModelSpec, Spec
from transforms.pipelines.factory import weightless
from transforms.pipelines.split_call import SplitPipeline
from transforms.stages.record_pipeline import RecordPipeline
from transforms.tasks import find

Model = Callable[[str], str]

#: Besides all pictures of the tests, those of other shapes than any that a processor is tried on.
IMAGES = [*PICTURES, picture("large", 700, 300), picture("high", 90, 300)]
LABELS = {"candidate_labels": ["a cat", "a dog"]}
SUBJECT: dict[str, Any] = {"question": "What is it?"}

#: Task, model, parameters, what is asked beside the image, and whether the steps are left out.
MODELS: list[tuple[str, str, dict[str, Any], dict[str, Any], bool]] = [
    ("image-classification", "vit-classification", {}, {}, True),
    ("image-classification", "resnet-classification", {}, {}, True),
    ("image-feature-extraction", "vit-encoder", {}, {}, True),
    ("depth-estimation", "dpt-depth", {}, {}, True),
    ("depth-estimation", "depth-anything", {}, {}, True),
    ("depth-estimation", "glpn-depth", {}, {}, True),
    ("object-detection", "detr-detection", {}, {}, True),
    ("object-detection", "yolos-detection", {}, {}, True),
    ("image-segmentation", "segformer", {}, {}, True),
    ("image-segmentation", "mask2former", {}, {}, True),
    ("zero-shot-image-classification", "clip", LABELS, {}, True),
    ("zero-shot-image-classification", "siglip", LABELS, {}, True),
    ("zero-shot-object-detection", "owlvit", LABELS, {}, True),
    ("zero-shot-object-detection", "owlv2", LABELS, {}, False),  # pads what it has rescaled
    ("mask-generation", "sam", {}, {}, False),  # its processor runs beside the model
    ("document-question-answering", "donut", {}, SUBJECT, False),  # gives pixels another name
    ("image-to-image", "swin2sr", {}, {}, False),  # pads what it has rescaled
]


@pytest.mark.parametrize(("task", "name", "parameters", "beside", "is_on"), MODELS)
def test_features_are_the_processors_own(
    task: str,
    name: str,
    parameters: Mapping[str, Any],
    beside: Mapping[str, Any],
    is_on: bool,
    model: Model,
) -> None:
    spec = ModelSpec(task=task, source=model(name), device="cpu")
    stock, split = (SplitPipeline(weightless(spec), parameters) for _ in range(2))
    finish = Finish(Replica(spec)._pipe)
    deferral = Deferral(split.pipe)
    for image in [*IMAGES, *map(photo, IMAGES)]:
        example = {"image": image, **beside} if beside else image
        example = decoded(example, find(task), stock.pipe, MediaLimits())
        expected, _ = stock.preprocess(example)
        found, _ = deferral.run(functools.partial(split.preprocess, example))
        assert all((RAW in chunk) == is_on for chunk in found)
        assert bool(deferral) == is_on or name in ("sam", "donut")
        assert equal(expected, [finish(chunk) for chunk in found])


def photo(picture: Image.Image) -> bytes:
    """As a file that is decoded to what lies in memory as no processor wants it."""
    return saved(picture, "JPEG")


def equal(expected: Any, found: Any) -> bool:
    """To the bit, and of the same dtypes."""
    if isinstance(expected, torch.Tensor):
        return expected.dtype == found.dtype and torch.equal(expected, found)
    if isinstance(expected, Mapping):
        return expected.keys() == found.keys() and all(equal(expected[k], found[k]) for k in found)
    if isinstance(expected, list | tuple):
        return len(expected) == len(found) and all(map(equal, expected, found))
    return bool(expected == found)


@dataclass
class Pipe:
    """What is read of a pipeline."""

    image_processor: Any
    dtype: torch.dtype = torch.float32
    device: str = "cpu"


def alone(call: Callable[[], Any]) -> tuple[list[Any], list[int]]:
    """What a pipeline's preprocess gives of one image."""
    return [call()], [1]


def tried(processor: Any, *images: Any, **keywords: Any) -> tuple[Deferral, list[bool]]:
    """A processor's deferral, and for each image whether it left out the steps.

    What it leaves out and what it does not are checked to be exact.
    """
    stock, other = (type(processor)(**processor.to_dict()) for _ in range(2))
    deferral, finish, raw = Deferral(Pipe(processor)), Finish(Pipe(other)), []
    for image in images:
        expected = stock(images=image, return_tensors="pt", **keywords)

        call = functools.partial(processor, images=image, return_tensors="pt", **keywords)
        (found,), _ = deferral.run(functools.partial(alone, call))
        raw.append(RAW in found)
        assert equal(expected, finish(found))
    return deferral, raw


def test_a_processor_that_pads_every_image_keeps_its_steps() -> None:
    """Zeros that it pads with would be black if they were normalised, and are the mean."""
    size = {"height": 900, "width": 900}
    processor = transformers.DetrImageProcessor(size={"height": 32, "width": 32}, pad_size=size)
    deferral, raw = tried(processor, *IMAGES[:3])
    assert not deferral
    assert not any(raw)


class PadsLarge(transformers.ViTImageProcessor):  # type: ignore[misc]
    """Pads large images alone, after it has normalised them: none that it was tried on."""

    def _preprocess(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        large = images[0].shape[-1] > 500
        found = super()._preprocess(images, *args, **kwargs)
        if large:
            pixels = torch.as_tensor(found["pixel_values"])
            found["pixel_values"] = torch.nn.functional.pad(pixels, (0, 1))
        return found


def test_the_first_image_that_is_padded_has_its_steps_and_all_after_it() -> None:
    processor = PadsLarge(size={"height": 32, "width": 32})
    deferral, raw = tried(processor, IMAGES[0], picture("large", 700, 300), IMAGES[0])
    assert raw == [True, False, False]
    assert not deferral


class Flips(transformers.ViTImageProcessor):  # type: ignore[misc]
    """Turns RGB into BGR after it has normalised: the shape does not tell."""

    def _preprocess(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._preprocess(*args, **kwargs)
        found["pixel_values"] = torch.as_tensor(found["pixel_values"]).flip(1)
        return found


def test_what_follows_the_steps_is_found_out_by_trying() -> None:
    processor = Flips(image_mean=[0.1, 0.5, 0.7], image_std=[0.5, 0.2, 0.3])
    deferral, raw = tried(processor, *IMAGES[:2])
    assert not deferral
    assert not any(raw)


@pytest.mark.parametrize(
    ("settings", "is_on"),
    [
        ({}, True),
        ({"do_normalize": False}, True),
        ({"do_rescale": False}, True),
        ({"do_rescale": False, "do_normalize": False}, False),
        ({"rescale_factor": 1 / 127.5}, True),
        ({"do_resize": False}, True),
    ],
)
def test_the_settings_decide(settings: dict[str, Any], is_on: bool) -> None:
    deferral, raw = tried(transformers.ViTImageProcessor(**settings), *IMAGES)
    assert bool(deferral) == is_on
    assert raw == [is_on] * len(IMAGES)


def test_a_call_with_settings_of_its_own_keeps_its_steps() -> None:
    processor = transformers.ViTImageProcessor()
    deferral, raw = tried(processor, *IMAGES[:2], image_mean=[0.1, 0.2, 0.3])
    assert deferral
    assert raw == [False, False]


def test_a_processor_of_pillows_keeps_its_steps() -> None:
    deferral, raw = tried(transformers.ViTImageProcessorPil(), *IMAGES[:2])
    assert not deferral
    assert not any(raw)


def test_images_of_other_dtypes_keep_their_steps() -> None:
    floats = [torch.rand(3, 40, 50) * 255]
    deferral, raw = tried(transformers.ViTImageProcessor(), *floats)
    assert deferral
    assert raw == [False]


class Writes(transformers.ViTImageProcessor):  # type: ignore[misc]
    """Changes the image that it is given."""

    def _preprocess(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        images[0] += 1
        return super()._preprocess(images, *args, **kwargs)


def test_a_processor_that_writes_into_its_image_gets_a_copy() -> None:
    pixels = np.array(PICTURES[0])
    image = ArrayImage(pixels)
    deferral, raw = tried(Writes(), image, image)
    assert not deferral
    assert raw == [False, False]
    assert np.array_equal(pixels, np.asarray(PICTURES[0]))


@pytest.mark.parametrize("resample", range(4))  # torchvision has no others
def test_every_way_of_resizing(resample: int) -> None:
    images = [ArrayImage(np.array(each)) for each in IMAGES]
    deferral, raw = tried(transformers.ViTImageProcessor(resample=resample), *images)
    assert deferral
    assert all(raw)


def test_the_model_gets_its_dtype(model: Model) -> None:
    spec = ModelSpec(
        task="image-classification",
        source=model("vit-classification"),
        device="cpu",
        dtype="bfloat16",
    )
    stock, split = (SplitPipeline(weightless(spec), {}) for _ in range(2))
    deferral = Deferral(split.pipe)
    (expected,), _ = stock.preprocess(PICTURES[0])
    (found,), _ = deferral.run(lambda: split.preprocess(PICTURES[0]))
    finished = Finish(Replica(spec)._pipe)(found)
    assert found[RAW].dtype == torch.uint8
    assert finished["pixel_values"].dtype == torch.bfloat16
    assert equal(expected, finished)


def test_batches_are_planned_as_for_floats(model: Model) -> None:
    spec = Spec(model=ModelSpec(task="image-classification", source=model("vit-classification")))
    program = Replica(spec.model).program({})
    task = find("image-classification")
    raw, whole = (RecordPipeline(spec, task, for_engine=each) for each in (True, False))
    found, expected = (each.record(0, PICTURES[0], PICTURES[0]) for each in (raw, whole))
    assert expected.nbytes == 4 * found.nbytes
    (one,), (other,) = found.chunks, expected.chunks
    assert program.batch_slot(one).length == program.batch_slot(other).length
    assert program.batch_slot(one).key != program.batch_slot(other).key
    both = program.run([one, one])
    assert comparing.equal(both[0], program.run([other])[0])


class Device:
    """One that works on a batch when it is handed over."""

    def launch(self, features: Any, forward: Callable[[Any], Any]) -> Device:
        with torch.inference_mode():
            self._outputs = forward(features)
        return self

    def then(self, apart: Callable[[Any], Any]) -> Device:
        self._apart = apart
        return self

    def outputs(self) -> Any:
        return self._apart(self._outputs)


def test_a_device_that_is_not_waited_for_takes_the_steps_too(model: Model) -> None:
    spec = Spec(
        model=ModelSpec(
            task="image-classification", source=model("vit-classification"), device="cpu"
        )
    )
    program = Replica(spec.model).program({})
    made = RecordPipeline(spec, find("image-classification"), for_engine=True)
    chunks = [made.record(0, each, each).chunks[0] for each in PICTURES]
    assert all(RAW in chunk for chunk in chunks)
    expected = program.run(chunks)
    program._device = Device()  # type: ignore[assignment]
    found = program.run(chunks)
    assert all(map(comparing.equal, expected, found))


def test_a_stage_of_its_own_gives_what_the_processor_gives(
    model: Model, run: Callable[..., list[Any]]
) -> None:
    task = ImageClassification(model("vit-classification"))
    (record,) = run([PICTURES[0]], Preprocess(task))
    assert record.chunks[0]["pixel_values"].dtype == torch.float32


def test_only_a_whole_task_leaves_the_steps_to_its_engine(model: Model) -> None:
    plan = ImageClassification(model("vit-classification")).plan
    assert not plan.for_engine
    assert replace(plan, is_whole=True).for_engine
    assert not replace(plan, is_whole=True, updates="models/*").for_engine


def test_a_job_hands_over_uint8(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = model("vit-classification")
    expected = transformers.pipeline("image-classification", directory, device="cpu")
    taken: list[Any] = []
    call = Finish.__call__

    def watched(self: Finish, features: Any) -> Any:
        taken.append(features[RAW].dtype)
        return call(self, features)

    monkeypatch.setattr(Finish, "__call__", watched)
    sink.collected.clear()
    with beam.Pipeline() as p:
        pcoll = p | beam.Create(list(enumerate(PICTURES)), reshuffle=False)
        pcoll | ImageClassification(directory, keyed=True, share="process") | beam.Map(sink.collect)
    assert set(taken) == {torch.uint8}
    for i, result in sink.collected:
        assert comparing.same(result.inference, expected(PICTURES[i]))
    sink.collected.clear()


def test_a_class_of_others_gets_what_its_processor_gives(model: Model) -> None:
    stock = "transformers.pipelines.image_classification:ImageClassificationPipeline"
    spec = ModelSpec(
        task="image-classification",
        source=model("vit-classification"),
        pipeline_class=stock,
        model_classes=("AutoModelForImageClassification",),
    )
    made = RecordPipeline(Spec(model=spec), find("image-classification"), for_engine=True)
    record = made.record(0, PICTURES[0], Image.new("RGB", (50, 40)))
    assert "pixel_values" in record.chunks[0]
