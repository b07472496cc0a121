"""Images are decoded once for several models, which answer as if they had read the files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from support import sink
from support.pictures import PICTURES
from support.runs import RUNNER

from pipelines_beam import DecodeImages, ElementError, ImageClassification
from transforms.media import jpeg

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


def files(kind: str = "JPEG") -> list[beam.Row]:
    rows = []
    for i, each in enumerate(PICTURES[:4]):
        file = io.BytesIO()
        each.save(file, kind)
        rows.append(beam.Row(id=i, photo=file.getvalue()))
    return rows


@pytest.mark.parametrize("make", [beam.Row, dict])
def test_pixels_are_those_of_the_file(run: Run, make: Any) -> None:
    rows = [make(**vars(row)) for row in files("PNG")]
    found = run(rows, DecodeImages(input="photo"))
    found = [each if isinstance(each, dict) else vars(each) for each in found]
    for row in sorted(found, key=lambda row: row["id"]):
        assert np.array_equal(row["pixels"], PICTURES[row["id"]])
        assert row["photo"]


def test_two_models_read_one_decoded_image(
    model: Model, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"device": "cpu", "share": "process"}
    models = [model("resnet-classification"), model("vit-classification")]
    wanted = run(
        files(),
        ImageClassification(models[0], input="photo", output="first", **options),
        "Second" >> ImageClassification(models[1], input="photo", output="second", **options),
    )
    decoded: list[int] = []
    decode = jpeg.decode

    def count(*given: Any) -> Any:
        decoded.append(1)
        return decode(*given)

    monkeypatch.setattr(jpeg, "decode", count)
    found = run(
        files(),
        DecodeImages(input="photo"),
        ImageClassification(models[0], input="pixels", output="first", **options),
        "Second" >> ImageClassification(models[1], input="pixels", output="second", **options),
    )
    assert len(decoded) == 4
    assert by_id(found, "first", "second") == by_id(wanted, "first", "second")


def by_id(rows: list[Any], *names: str) -> dict[int, Any]:
    return {
        row.id: [
            [(each.label, pytest.approx(each.score, abs=1e-6)) for each in getattr(row, name)]
            for name in names
        ]
        for row in rows
    }


def test_files_that_cannot_be_read_are_failure_rows() -> None:
    rows = [*files()[:2], beam.Row(id=7, photo=b"junk"), beam.Row(id=8, photo=b"")]
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        made = p | beam.Create(rows, reshuffle=False)
        good, bad = made | DecodeImages(input="photo").with_exception_handling()
        good | "Good" >> beam.Map(lambda row: sink.collect(row.id))
        bad | "Bad" >> beam.Map(sink.collect)
    assert {each for each in sink.collected if isinstance(each, int)} == {0, 1}
    failed = {each.element.id: each for each in sink.collected if not isinstance(each, int)}
    assert set(failed) == {7, 8}
    assert failed[7].stage == "preprocess"
    assert failed[7].error == "MediaError"
    assert "not an image" in failed[7].message


def test_the_first_failure_ends_a_job_that_does_not_handle_it(run: Run) -> None:
    with pytest.raises(ElementError, match=r"decode-images: preprocess failed.*not an image"):
        run([beam.Row(id=7, photo=b"junk")], DecodeImages(input="photo"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input": "picture"}, "Did you mean 'photo'|unknown column 'picture'"),
        ({"input": "photo", "output": "id"}, "have a column 'id' already"),
        ({"input": "photo", "media_limits": {"pixels": 1}}, "media_limits"),
        ({"input": "id"}, "the column 'id' has the type"),
    ],
)
def test_options_that_do_not_fit_are_refused(run: Run, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run(files(), DecodeImages(**options))
