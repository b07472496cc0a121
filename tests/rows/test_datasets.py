"""`datasets` itself shows the images and plays the sounds of the Parquet files that jobs write."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import datasets
import pyarrow as pa
import pytest
import soundfile
from PIL.Image import Image
from support.models.speech import needs_speech
from support.pictures import PICTURES

from pipelines_beam import pipeline
from transforms.rows.files import png

Model = Callable[[str], str]
Run = Callable[..., list[Any]]
datasets.disable_progress_bars()
PHOTOS = [{"id": i, "input": png(each)} for i, each in enumerate(PICTURES[:3])]
SENTENCES = [{"id": i, "input": each} for i, each in enumerate(("Yes", "no one answered"))]


@pytest.fixture
def loaded(run: Run, tmp_path: Path) -> Callable[..., Any]:
    """What `datasets` loads of the rows that a job has written."""

    def loaded(rows: list[Any], transform: Any) -> Any:
        given = pa.schema([(name, pa.scalar(value).type) for name, value in rows[0].items()])
        path = str(tmp_path / "part")
        run(rows, transform, beam.io.WriteToParquet(path, transform.schema(given)))
        found = datasets.load_dataset(
            "parquet", data_files=f"{path}*", split="train", cache_dir=str(tmp_path / "cache")
        )
        assert set(found.column_names) == {*given.names, *transform.schema().names}
        return found

    return loaded


@pytest.mark.parametrize("output", [None, "found"])
def test_images_are_shown(output: str | None, model: Model, loaded: Callable[..., Any]) -> None:
    transform = pipeline("depth-estimation", model("dpt-depth"), input="input", output=output)
    found = loaded(PHOTOS, transform)
    features = found.features[output] if output else found.features
    assert isinstance(features["depth"], datasets.Image)
    for row in found:
        depth = (row[output] if output else row)["depth"]
        assert isinstance(depth, Image)
        assert depth.size == PICTURES[row["id"]].size


@pytest.mark.parametrize("output", [None, "found"])
def test_images_in_lists_are_shown(
    output: str | None, model: Model, loaded: Callable[..., Any]
) -> None:
    transform = pipeline("image-segmentation", model("segformer"), input="input", output=output)
    found = loaded(PHOTOS, transform)
    for row in found:
        segments = row[output or "segments"]
        assert segments
        for segment in segments:
            assert isinstance(segment["mask"], Image)
            assert segment["mask"].size == PICTURES[row["id"]].size
            assert isinstance(segment["label"], str)


@needs_speech
@pytest.mark.parametrize("output", [None, "found"])
def test_sounds_are_played(output: str | None, model: Model, loaded: Callable[..., Any]) -> None:
    transform = pipeline("text-to-audio", model("vits"), input="input", output=output)
    found = loaded(SENTENCES, transform)
    features = found.features[output] if output else found.features
    assert isinstance(features["audio"], datasets.Audio)
    for row in found.with_format("arrow")[:].to_pylist():  # decoded, they would need torchcodec
        answer = row[output] if output else row
        _, rate = soundfile.read(io.BytesIO(answer["audio"]["bytes"]))
        assert rate == answer["sampling_rate"]
