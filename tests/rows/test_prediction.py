"""Rows of every kind keep their columns, and gain those that were asked for."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import transformers
from packaging.version import Version
from PIL import Image
from support.models.speech import needs_speech
from support.pictures import PICTURES
from transformers import GenerationConfig

from pipelines_beam import pipeline
from transforms.rows.files import png

Model = Callable[[str], str]
Run = Callable[..., list[Any]]
#: So that a model that was never trained finds masks.
LOOSE: dict[str, Any] = {
    "points_per_crop": 4,
    "pred_iou_thresh": -9.0,
    "stability_score_thresh": -9.0,
}
PHOTOS = [png(each) for each in PICTURES[:3]]


def written(run: Run, rows: list[Any], transform: Any, path: Path) -> pa.Table:
    """What Parquet holds of the rows' predictions, typed rows by Beam's own schema."""
    given = pa.schema([("id", pa.int64()), ("input", pa.string())])
    if not isinstance(rows[0], dict):
        run(rows, transform, beam.io.WriteToParquet(str(path)))
    else:
        given = given.set(1, pa.field("input", pa.infer_type([rows[0]["input"]])))
        run(rows, transform, beam.io.WriteToParquet(str(path), transform.schema(given)))
    return pq.read_table(sorted(path.parent.glob(f"{path.name}*"))).sort_by("id")


@pytest.mark.parametrize("kind", [dict, beam.Row])
@pytest.mark.parametrize("output", [None, "found"])
@pytest.mark.parametrize(
    ("task", "name", "parameters"),
    [
        ("depth-estimation", "dpt-depth", {}),
        ("image-segmentation", "segformer", {}),
        ("image-to-image", "swin2sr", {}),
        ("mask-generation", "sam", LOOSE),
    ],
)
def test_images_of_rows_are_files(
    task: str,
    name: str,
    parameters: dict[str, Any],
    output: str | None,
    kind: Any,
    model: Model,
    run: Run,
    tmp_path: Path,
) -> None:
    rows = [kind(id=i, input=each) for i, each in enumerate(PHOTOS)]
    transform = pipeline(task, model(name), input="input", output=output, **parameters)
    table = written(run, rows, transform, tmp_path / "rows")
    assert table.column_names == ["id", "input", *transform.schema().names]
    for row in table.drop(["id", "input"]).to_pylist():
        files = list(files_of(row))
        assert files
        assert {Image.open(io.BytesIO(each)).format for each in files} == {"PNG"}


@needs_speech
@pytest.mark.parametrize("kind", [dict, beam.Row])
def test_sounds_of_rows_are_files(kind: Any, model: Model, run: Run, tmp_path: Path) -> None:
    rows = [kind(id=0, input="Yes"), kind(id=1, input="no one answered")]
    transform = pipeline("text-to-audio", model("vits"), input="input", output="found")
    table = written(run, rows, transform, tmp_path / "rows")
    for row in table["found"].to_pylist():
        _, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
        assert rate == row["sampling_rate"]
    features = json.loads(transform.schema().metadata[b"huggingface"])["info"]["features"]
    assert features["found"]["audio"] == {"_type": "Audio"}


TWO = {"num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 4}
ASKING_FOR_TWO = pytest.mark.parametrize(
    "parameters",
    [
        TWO,
        {"generate_kwargs": TWO},
        {"generation_config": GenerationConfig(**TWO)},
        {"generate_kwargs": {"generation_config": GenerationConfig(**TWO)}},
    ],
    ids=str,
)


@ASKING_FOR_TWO
@pytest.mark.parametrize("task", ["image-text-to-text", "any-to-any"])
def test_all_answers_that_were_asked_for_are_in_the_row(
    task: str, parameters: dict[str, Any], model: Model, run: Run
) -> None:
    # Their own pipelines heed those of generation when constructed, `generate_kwargs` when called.
    constructed = copy.deepcopy(parameters)
    called = {"generate_kwargs": constructed.pop("generate_kwargs", {})}
    stock = transformers.pipeline(task, model("llava"), device="cpu", **constructed)
    expected = stock(text="<image> What?", images=PICTURES[0], **called)
    columns = {"text": "asked", "images": "photo"}
    transform = pipeline(task, model("llava"), input=columns, **parameters)
    (row,) = run([{"asked": "<image> What?", "photo": PHOTOS[0]}], transform)
    assert transform.schema().field("generated_text").type == pa.list_(pa.string())
    assert row["generated_text"] == [each["generated_text"] for each in expected]
    # Older versions keep the first alone.
    assert len(expected) == (2 if Version(transformers.__version__) >= Version("5.23") else 1)


@ASKING_FOR_TWO
def test_all_captions_that_were_asked_for_are_in_the_row(
    parameters: dict[str, Any], model: Model, run: Run
) -> None:
    transform = pipeline("image-to-text", model("vit-gpt2"), input="photo", **parameters)
    (row,) = run([{"photo": PHOTOS[0]}], transform)
    assert transform.schema().field("generated_text").type == pa.list_(pa.string())
    assert len(row["generated_text"]) == 2
    assert {type(each) for each in row["generated_text"]} == {str}


@pytest.mark.parametrize("kind", [dict, beam.Row])
def test_run_lengths_of_masks_are_in_the_row(
    kind: Any, model: Model, run: Run, tmp_path: Path
) -> None:
    rows = [kind(id=i, input=each) for i, each in enumerate(PHOTOS)]
    transform = pipeline(
        "mask-generation",
        model("sam"),
        input="input",
        output_rle_mask=True,
        output_bboxes_mask=True,
        **LOOSE,
    )
    table = written(run, rows, transform, tmp_path / "rows")
    assert table.column_names[2:] == ["masks", "scores", "rle_mask", "bounding_boxes"]
    for row in table.to_pylist():
        assert row["masks"]
        for file, run_lengths in zip(row["masks"], row["rle_mask"], strict=True):
            mask = np.asarray(Image.open(io.BytesIO(file["bytes"]))) > 0
            assert run_lengths["size"] == list(mask.shape)
            flat = np.repeat(np.arange(len(run_lengths["counts"])) % 2, run_lengths["counts"])
            assert np.array_equal(flat.reshape(mask.shape[::-1]).T, mask)


def files_of(value: Any) -> Any:
    """The bytes of the files in nested rows."""
    if isinstance(value, dict):
        if value.keys() == {"bytes", "path"}:
            yield value["bytes"]
        for item in value.values():
            yield from files_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from files_of(item)
