"""`datasets` shows the images and has the sounds of the output of a job over files."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import soundfile
from apache_beam.options.pipeline_options import PipelineOptions
from PIL.Image import Image
from support.models.speech import needs_speech
from support.pictures import PICTURES
from support.runs import RUNNER

from pipelines_beam import ImageSegmentation, TextToAudio
from pipelines_beam.io import process_files

Model = Callable[[str], str]
datasets.disable_progress_bars()


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Any]:
    """What `datasets` loads of the output of a job over the files in the folder `in`."""
    (tmp_path / "in").mkdir()

    def loaded(task: Any) -> Any:
        done = process_files(
            str(tmp_path / "in"),
            task,
            str(tmp_path / "out"),
            options=PipelineOptions([], runner=RUNNER),
            rows_per_shard=2,
        )
        assert len(done.files) == 2
        assert len(done.failures) == 1
        return datasets.load_dataset(
            "parquet",
            data_files=str(tmp_path / "out/part-*"),
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )

    return loaded


def test_masks_of_a_folder_of_images(
    model: Model, loaded: Callable[..., Any], tmp_path: Path
) -> None:
    for i, picture in enumerate(PICTURES[:3]):
        picture.save(tmp_path / f"in/{i}.png")
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    found = loaded(ImageSegmentation(model("segformer"), input="path"))
    assert sorted(found["name"]) == ["0.png", "1.png", "2.png"]
    for row in found:
        size = PICTURES[int(row["name"][0])].size
        assert row["segments"]
        for segment in row["segments"]:
            assert isinstance(segment["mask"], Image)
            assert segment["mask"].size == size
            assert segment["mask"].getextrema() in [(0, 255), (0, 0), (255, 255)]
            assert isinstance(segment["label"], str)


@needs_speech
def test_sounds_of_lines_of_text(model: Model, loaded: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "in/lines.csv").write_text("id,text\n0,Yes\n1,no one answered\n2,\n")
    found = loaded(TextToAudio(model("vits"), input="text"))
    assert isinstance(found.features["audio"], datasets.Audio)
    whole = found.cast_column("audio", datasets.Audio(decode=False))  # else it needs torchcodec
    assert whole["text"] == ["Yes", "no one answered"]
    for row in whole:
        samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
        assert rate == row["sampling_rate"] == 16_000
        assert samples.std() > 0
