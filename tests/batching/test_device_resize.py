"""Images are resized on the model's device where that is asked for, whatever their sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import torch
import transformers
from support import comparing, sink
from support.files import saved
from support.pictures import PICTURES, picture
from torchvision.transforms.v2 import InterpolationMode, functional

from pipelines_beam import ImageClassification, TextClassification, predict
from transforms.batching.device_resize import DECODED, Resize
from transforms.batching.replica import Replica
from transforms.engine.blocks import Block, layout_of
from transforms.options.spec import ModelSpec, Spec
from transforms.stages.preflight import check_task
from transforms.stages.record_pipeline import RecordPipeline
from transforms.tasks import find

Model = Callable[[str], str]

IMAGES = [*PICTURES, picture("large", 700, 300), picture("high", 90, 300)]
LABELS = {"candidate_labels": ["a cat", "a dog"]}

MODELS: list[tuple[str, str, dict[str, Any]]] = [
    ("image-classification", "vit-classification", {}),
    ("image-feature-extraction", "vit-encoder", {}),
    ("zero-shot-image-classification", "clip", LABELS),
    ("zero-shot-image-classification", "siglip", LABELS),
]


def spec_of(task: str, source: str, **options: Any) -> Spec:
    return Spec(model=ModelSpec(task=task, source=source, device="cpu", **options))


@pytest.mark.parametrize(("task", "name", "parameters"), MODELS)
def test_answers_are_those_of_images_that_the_worker_resized(
    task: str, name: str, parameters: dict[str, Any], model: Model
) -> None:
    """On a CPU to the bit: both resize in the same way there."""
    plain = replace(spec_of(task, model(name)), parameters=parameters)
    there = replace(plain, model=replace(plain.model, resize_on_device=True))
    check_task(there)
    program = Replica(plain.model).program(parameters)
    own, whole = (RecordPipeline(each, find(task), for_engine=True) for each in (plain, there))
    for image in (*IMAGES, saved(IMAGES[0], "JPEG")):
        records = [each.record(0, image, each.decode(image)) for each in (own, whole)]
        for one, other in zip(*(record.chunks for record in records), strict=True):
            assert DECODED not in one
            assert DECODED in other
            assert comparing.equal(*program.run([one]), *program.run([other]))


def test_images_of_all_sizes_share_a_batch(model: Model) -> None:
    spec = spec_of("image-classification", model("vit-classification"), resize_on_device=True)
    program = Replica(spec.model).program({})
    made = RecordPipeline(spec, find("image-classification"), for_engine=True)
    chunks = [made.record(0, each, each).chunks[0] for each in IMAGES]
    plain = replace(spec, model=replace(spec.model, resize_on_device=False))
    other = RecordPipeline(plain, find("image-classification"), for_engine=True)
    slots = program.batch_slots(chunks)
    assert len({slot.key for slot in slots}) == 1
    assert {slot.length for slot in slots} == {
        program.batch_slot(other.record(0, IMAGES[0], IMAGES[0]).chunks[0]).length
    }
    layout = layout_of(chunks[0])
    assert layout is not None
    rows = Block.of(layout, chunks).rows()
    assert [program.batch_slot(row) for row in rows] == slots
    expected = [program.run([chunk])[0] for chunk in chunks]
    for batch in (chunks, rows, rows[::2], rows[:1]):
        answers = program.run(batch)
        wanted = expected[::2] if batch == rows[::2] else expected[: len(batch)]
        for one, two in zip(answers, wanted, strict=True):
            assert torch.allclose(one["logits"], two["logits"], atol=1e-6)


@pytest.mark.parametrize("of_rows", [False, True])
def test_a_job(of_rows: bool, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = model("vit-classification")
    stock = transformers.pipeline("image-classification", directory, device="cpu")
    resized: list[int] = []
    call = Resize.__call__

    def watched(self: Resize, features: Any) -> Any:
        resized.append(len(features.get(DECODED, ())))
        return call(self, features)

    monkeypatch.setattr(Resize, "__call__", watched)
    files = [saved(image, "PNG") for image in IMAGES]
    if of_rows:
        rows = [{"path": None, "image": each} for each in files]
        found = [
            row["predictions"][0]["label"]
            for row in predict(
                "image-classification",
                rows,
                model=directory,
                input="image",
                resize_on_device=True,
            )
        ]
    else:
        sink.collected.clear()
        with beam.Pipeline() as p:
            task = ImageClassification(directory, resize_on_device=True, share="process")
            p | beam.Create(files, reshuffle=False) | task | beam.Map(sink.collect)
        found = [each.inference[0]["label"] for each in sink.collected]
    expected = [stock(image)[0]["label"] for image in IMAGES]
    assert sorted(found) == sorted(expected)
    assert sum(resized) == len(IMAGES)
    assert max(resized) > 1


@pytest.mark.parametrize(
    ("task", "name", "parameters", "message"),
    [
        ("object-detection", "detr-detection", {}, "makes more of an image than its pixels"),
        (
            "image-classification",
            "resnet-classification",
            {},
            "several sizes, which share no batch",
        ),
        ("depth-estimation", "glpn-depth", {}, "images of several sizes"),
        ("text-classification", "bert-classification", {}, "the task has no images"),
    ],
)
def test_what_cannot_be_resized_there_is_refused(
    task: str, name: str, parameters: dict[str, Any], message: str, model: Model
) -> None:
    spec = spec_of(task, model(name), resize_on_device=True)
    with pytest.raises(ValueError, match=f"resize_on_device must be False here: .*{message}"):
        check_task(replace(spec, parameters=parameters))


def test_a_first_stage_of_the_users_own_is_refused(model: Model) -> None:
    spec = spec_of("image-classification", model("vit-classification"), resize_on_device=True)
    with pytest.raises(ValueError, match="its first stage is your own"):
        check_task(spec, ["preprocess"])


def test_it_is_true_or_false() -> None:
    with pytest.raises(ValueError, match="resize_on_device must be True or False, got 'yes'"):
        TextClassification("organisation/name", resize_on_device="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(("way", "most"), [("bilinear", 1), ("bicubic", 2)])
def test_what_an_accelerator_rounds_otherwise(way: str, most: int) -> None:
    """It resizes in floats, as here: few values differ, by a level or two of 255."""
    image = torch.from_numpy(np.array(picture("photo", 640, 480))).permute(2, 0, 1)
    image = torch.stack([image, image.flip(1)])
    options: Any = {"size": [224, 224], "interpolation": InterpolationMode(way), "antialias": True}
    own = functional.resize(image, **options).int()
    there = functional.resize(image.float(), **options).round().clamp(0, 255).int()
    assert (own - there).abs().max() <= most
    assert 0 < (own != there).float().mean() < 0.2
