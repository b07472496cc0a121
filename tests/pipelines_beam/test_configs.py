"""Every job in configs/ runs: on a few rows of its kind, with tiny models for those of the hub."""

from __future__ import annotations

import itertools
import json
import os
import re
import runpy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from support.paths import CONFIGS
from support.pictures import film, picture
from support.sounds import RATE, sound
from support.texts import CORPUS

from pipelines_beam import cli
from pipelines_beam.commands import statuses

Model = Callable[[str], str]


def _table(folder: Path, **columns: list[Any]) -> str:
    """A Parquet file with these columns and one of names."""
    (count,) = {len(cells) for cells in columns.values()}
    names = [f"n{i}" for i in range(count)]
    pq.write_table(pa.table({"name": names, **columns}), folder / "in.parquet")
    return str(folder / "in.parquet")


def _texts(folder: Path) -> str:
    return _table(folder, text=[*CORPUS[:6], None])


def _prompts(folder: Path) -> str:
    return _table(folder, prompt=["a fox", "a house", None])


def _pictures(folder: Path) -> str:
    sizes = {"wide": (90, 40), "high": (30, 70), "square": (64, 64)}
    for name, (width, height) in sizes.items():
        picture(name, width, height).save(folder / f"{name}.png")
    (folder / "junk.png").write_bytes(b"junk")
    return str(folder / "*.png")


def _questions(folder: Path) -> str:
    _pictures(folder)
    names = ("wide", "high", "square", "junk")
    images = [str(folder / f"{name}.png") for name in names]
    return _table(folder, image=images, question=[f"Is it {name}?" for name in names])


def _photos(folder: Path) -> str:
    _pictures(folder)
    names = ("wide", "high", "square", "junk")
    return _table(folder, image=[(folder / f"{name}.png").read_bytes() for name in names])


def _recordings(folder: Path) -> str:
    for name, seconds in {"short": 0.3, "long": 2.0, "middle": 1.1}.items():
        soundfile.write(folder / f"{name}.wav", sound(name, seconds), RATE)
    (folder / "junk.wav").write_bytes(b"junk")
    return str(folder / "*.wav")


def _calls(folder: Path) -> str:
    _recordings(folder)
    names = ("short", "long", "middle", "junk")
    return _table(folder, audio=[str(folder / f"{name}.wav") for name in names])


def _films(folder: Path) -> str:
    for name in ("first", "second"):
        (folder / f"{name}.mp4").write_bytes(film(name, 20, 64, 48))
    (folder / "junk.mp4").write_bytes(b"junk")
    return str(folder / "*.mp4")


def _check_routes(output: Path) -> None:
    """Rows of one label have gone to the last model, and no others."""
    routes = {name: next(output.glob(f"{name}-*.parquet")) for name in ("complaints", "others")}
    labels = {name: set(pq.read_table(path)["label"].to_pylist()) for name, path in routes.items()}
    assert labels["complaints"] <= {"positive"}
    assert "positive" not in labels["others"]
    topics = pq.read_table(routes["complaints"])["topic"].to_pylist()
    assert all(set(each["labels"]) == {"delivery", "price", "quality"} for each in topics)


@dataclass(frozen=True)
class Job:
    """What a test gives a file, and what comes of it."""

    #: Makes its input in a folder; one row of it fails.
    input: Callable[[Path], str]
    #: What is said of that row.
    reason: str
    #: The columns of the results.
    columns: list[str]
    #: The tiny models that stand in for its own, by the variables of the file.
    models: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    #: What else must hold of its output.
    check: Callable[[Path], None] = lambda output: None


_FILE = ["path", "name", "size"]
_NO_TEXT = "text must be a string, got None"
_JUNK = "not an image"
#: Jobs of one task over files: see configs/make_jobs.py.
OVER_FILES = {
    "sentiment.yaml": Job(
        _texts, _NO_TEXT, ["name", "text", "label", "score"], {"model": "bert-classification"}
    ),
    "images.yaml": Job(
        _pictures, _JUNK, [*_FILE, "predictions"], {"model": "resnet-classification"}
    ),
    "speech.yaml": Job(_recordings, "not audio|audio", [*_FILE, "text"], {"model": "whisper"}),
    "video.yaml": Job(_films, "video", [*_FILE, "predictions"], {"model": "videomae"}),
    "questions.yaml": Job(
        _questions, _JUNK, ["name", "image", "question", "answers"], {"model": "vilt-vqa"}
    ),
    "text_to_image.yaml": Job(
        _prompts,
        "prompt must be a string, got None",
        ["name", "prompt", "image"],
        {"model": "sd-ddim"},
    ),
}
#: Jobs of several steps.
OF_STEPS = {
    "quickstart.yaml": Job(_texts, _NO_TEXT, ["name", "text", "embedding"]),
    "gpu_workers.yaml": Job(
        _texts, _NO_TEXT, ["name", "text", "label", "score"], {"model": "bert-classification"}
    ),
    "graph_images.yaml": Job(
        _photos,
        _JUNK,
        ["name", "image", "classes", "embedding"],
        {"model": "resnet-classification", "embedder": "vit-encoder"},
    ),
    "graph_speech.yaml": Job(
        _calls,
        "audio",
        ["name", "audio", "said", "label", "score"],
        {"listener": "whisper", "model": "bert-classification", "sorter": "bart-nli"},
        {"label": "positive"},
        _check_routes,
    ),
}


def test_every_file_has_a_test() -> None:
    assert {*OVER_FILES, *OF_STEPS} == {path.name for path in CONFIGS.glob("*.yaml")}


@pytest.mark.parametrize("name", OVER_FILES)
def test_a_job_of_one_task_is_what_new_prints(name: str) -> None:
    made: dict[str, Any] = runpy.run_path(str(CONFIGS / "make_jobs.py"))
    assert list(made["JOBS"]) == list(OVER_FILES)
    assert made["text"](name) == (CONFIGS / name).read_text(), "run configs/make_jobs.py"


@pytest.mark.parametrize("name", OF_STEPS)
def test_every_option_has_a_comment(name: str) -> None:
    """Where it first stands; options of one comment follow each other."""
    lines = (CONFIGS / name).read_text().splitlines()
    uncommented = []
    seen = {"type", "name", "input", "config", "output"}  # of every step
    for before, line in itertools.pairwise(lines):
        option = re.match(r" {8}(\w+):", line)
        if option and option[1] not in seen:
            told = before.lstrip().startswith("#") or re.match(r" {8}\w+:", before)
            uncommented += [] if told else [option[1]]
            seen.add(option[1])
    assert not uncommented


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command puts the folder of its file there."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))


def run(name: str, job: Job, model: Model, folder: Path, files: str) -> Path:
    """Run a file; its output."""
    given = {files: job.input(folder), "output": str(folder / "out"), **job.settings}
    given |= {variable: model(tiny) for variable, tiny in job.models.items()}
    arguments = ["run", str(CONFIGS / name), *(f"--set={k}={v}" for k, v in given.items())]
    assert cli.main(arguments) == statuses.ROWS_FAILED
    return folder / "out"


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "sentiment.yaml" else pytest.mark.slow) for n in OVER_FILES],
)
def test_a_job_of_one_task_runs(name: str, model: Model, tmp_path: Path) -> None:
    job = OVER_FILES[name]
    output = run(name, job, model, tmp_path, "files")
    (written,) = output.glob("part-*.parquet")
    assert pq.read_schema(written).names == job.columns
    (failed,) = pq.read_table(output / "_failures").to_pylist()
    assert re.search(job.reason, failed["message"])


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_STEPS)
def test_a_job_of_several_steps_runs(name: str, model: Model, tmp_path: Path) -> None:
    job = OF_STEPS[name]
    output = run(name, job, model, tmp_path, "input")
    rows = pa.concat_tables(
        [pq.read_table(each) for each in output.glob("*.parquet*")], promote_options="default"
    )
    assert rows.column_names[: len(job.columns)] == job.columns
    (written,) = output.glob("failed-*.json")
    (failed,) = map(json.loads, written.read_text().splitlines())
    assert re.search(job.reason, failed["message"])
    names = [*rows["name"].to_pylist(), failed["element"]["name"]]
    assert sorted(names) == [f"n{i}" for i in range(len(names))]
    assert len(names) == pq.read_metadata(tmp_path / "in.parquet").num_rows
    job.check(output)
