"""Rows of every kind keep their columns, and gain those that were asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from image_models import PICTURES
from PIL import Image

from pipelines_beam import pipeline
from transforms.media import image

Model = Callable[[str], str]
Run = Callable[..., list[Any]]
PHOTOS = [image.png(each) for each in PICTURES[:3]]


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
        ("mask-generation", "sam", {"pred_iou_thresh": -9.0, "stability_score_thresh": -9.0}),
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
