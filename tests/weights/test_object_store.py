"""Models in object stores: copied once, whole or not at all, and only what is needed."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import fsspec
import pytest
import torch
import transformers
from fsspec.registry import known_implementations
from support import stores  # noqa: F401 - registers its file systems
from support.comparing import same
from support.paths import ROOT, TESTS
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import ModelLoadError, TextClassification, pipeline
from transforms.options.spec import ModelSpec
from transforms.pipelines.factory import load, weightless
from transforms.weights import object_store

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIPELINES_BEAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SLOW_STORE_LOG", str(tmp_path / "reads.log"))
    return tmp_path / "cache"


@pytest.fixture
def store(model: Model) -> Iterator[str]:
    """memory://models/mine: a model with files that nobody needs beside it."""
    memory = fsspec.filesystem("memory")
    for path in Path(model("bert-classification")).iterdir():
        memory.pipe_file(f"/models/mine/{path.name}", path.read_bytes())
    for name in ("pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", ".gitattributes"):
        memory.pipe_file(f"/models/mine/{name}", b"not needed")
    memory.pipe_file("/models/mine-too/config.json", b"another model's")
    yield "memory://models/mine"
    memory.rm("/models", recursive=True)


def names(directory: str) -> set[str]:
    return {str(path.relative_to(directory)) for path in Path(directory).rglob("*")}


def test_a_model_in_a_store_answers_as_the_local_one(store: str, model: Model, run: Run) -> None:
    directory = model("bert-classification")
    pipe = transformers.pipeline("text-classification", directory, device="cpu")
    found = run(CORPUS, TextClassification(store))
    assert len(found) == len(CORPUS)
    for result in found:
        assert result.model_id == store
        assert same(pipe(result.example), [result.inference]) or same(
            pipe(result.example), result.inference
        )


def test_only_what_is_needed_is_copied(store: str, model: Model) -> None:
    own = {path.name for path in Path(model("bert-classification")).iterdir()}
    assert names(object_store.directory(store)) == own
    shutil.rmtree(os.environ["PIPELINES_BEAM_CACHE"])
    light = object_store.directory(store, weights=False)
    assert names(light) == own - {"model.safetensors"}


def test_building_a_pipeline_copies_no_weights(store: str, cache: Path) -> None:
    beam.Pipeline() | beam.Create(["a"]) | TextClassification(store)
    assert not list(cache.rglob("*.safetensors"))
    assert list(cache.rglob("config.json"))


def test_the_whole_copy_serves_without_weights_too(store: str) -> None:
    whole = object_store.directory(store)
    assert object_store.directory(store, weights=False) == whole


def test_a_changed_model_is_another_copy(store: str) -> None:
    first = object_store.directory(store)
    assert object_store.directory(f"{store}") == first
    fsspec.filesystem("memory").pipe_file("/models/mine/config.json", b'{"model_type": "bert"}')
    second = object_store.directory(store)
    assert second != first
    assert (Path(second) / "config.json").read_bytes() == b'{"model_type": "bert"}'


def test_only_the_user_reads_the_copies(store: str, cache: Path) -> None:
    cache.mkdir(mode=0o755)
    copy = Path(object_store.directory(store))
    assert copy.parent == cache
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_another_directory_stands_in_for_is_refused(
    store: str, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    cache.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="must be a directory of this user's own"):
        object_store.directory(store)


def test_without_a_home_copies_are_in_the_temporary_directory(
    store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PIPELINES_BEAM_CACHE")
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert Path(object_store.directory(store)).parent == tmp_path / f"pipelines_beam-{os.getuid()}"


def test_a_copy_that_lost_a_file_is_mended(model: Model, cache: Path, tmp_path: Path) -> None:
    uri = f"slow://{model('bert-classification')}"
    copy = Path(object_store.directory(uri))
    before = names(str(copy))
    (copy / "config.json").unlink()
    log = tmp_path / "reads.log"
    log.unlink()
    assert object_store.directory(uri) == str(copy)
    assert names(str(copy)) == before
    assert log.read_text().split() == ["config.json"]


CHILD = """
import sys, time
from support import stores
from transforms.weights import object_store
print("ready", flush=True)
sys.stdin.readline()
print(object_store.directory(sys.argv[1]), flush=True)
"""


def child(uri: str, seconds: float) -> subprocess.Popen[str]:
    """A process that copies a model when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, uri],
        env={**os.environ, "SLOW_STORE": str(seconds), "PYTHONPATH": f"{ROOT}:{TESTS}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.slow
def test_two_processes_copy_a_model_once(model: Model, tmp_path: Path) -> None:
    uri = f"slow://{model('bert-classification')}"
    processes = [child(uri, 0.5) for _ in range(2)]
    for process in processes:
        tell(process)
    found = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert found[0] == found[1] == object_store.directory(uri)
    reads = (tmp_path / "reads.log").read_text().split()
    assert sorted(reads) == sorted(names(found[0]))


@pytest.mark.slow
def test_a_copy_that_was_killed_is_not_taken_for_whole(
    model: Model, cache: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(model("bert-classification"), source)
    for i in range(12):  # more than are copied at once
        (source / f"extra-{i:02}.txt").write_text("x" * 100)
    process = child(f"slow://{source}", 2.0)
    tell(process)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        done = [each for each in cache.rglob("*") if each.is_file() and "partial" in str(each)]
        if any(not each.name.endswith(".part") for each in done):
            break
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert [path.name for path in cache.iterdir() if path.is_dir()] != []
    assert all("." in path.name for path in cache.iterdir())  # .partial and .lock

    before = (tmp_path / "reads.log").read_text().split()
    copy = object_store.directory(f"slow://{source}")

    assert names(copy) == names(str(source))
    for path in source.iterdir():
        assert (Path(copy) / path.name).read_bytes() == path.read_bytes()
    again = (tmp_path / "reads.log").read_text().split()[len(before) :]
    assert len(again) < len(names(copy))  # what was whole is kept
    assert not list(cache.glob("*.partial"))


def test_a_model_that_changes_meanwhile_is_not_taken(
    model: Model, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(shutil.copytree(model("bert-classification"), tmp_path / "source"))
    copy = object_store._Store.copy

    def changing(self: Any, name: str, size: int, path: Path) -> None:
        copy(self, name, size, path)
        (source / "vocab.txt").write_text("other words")

    monkeypatch.setattr(object_store._Store, "copy", changing)
    with pytest.raises(OSError, match="changed while it was copied"):
        object_store.directory(f"file://{source}")
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_links_are_followed(model: Model, tmp_path: Path) -> None:
    """The hub's cache consists of them."""
    for path in Path(model("bert-classification")).iterdir():
        (tmp_path / "snapshot").mkdir(exist_ok=True)
        (tmp_path / "snapshot" / path.name).symlink_to(path)
    copy = object_store.directory(f"file://{tmp_path / 'snapshot'}")
    assert not any(path.is_symlink() for path in Path(copy).iterdir())
    assert (Path(copy) / "model.safetensors").stat().st_size > 1000


def build(model: str, **options: Any) -> None:
    beam.Pipeline() | beam.Create(["a"]) | TextClassification(model, **options)


def test_errors_when_the_pipeline_is_built(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"class": "absentfs.AbsentFS", "err": "Install absentfs to access it"}
    monkeypatch.setitem(known_implementations, "absent", absent)
    with pytest.raises(ModelLoadError, match="there is nothing at memory://models/none"):
        build("memory://models/none")
    with pytest.raises(ModelLoadError, match=r"config.json is a file; a model is a directory"):
        build(f"{store}/config.json")
    with pytest.raises(ModelLoadError, match=r"to access it \(pip install absentfs\)$"):
        build("absent://bucket/model")
    with pytest.raises(ModelLoadError, match="there is nothing at memory://tokenizers"):
        build(store, tokenizer="memory://tokenizers/none")
    with pytest.raises(ValueError, match=r"unknown protocol 'memry'. Did you mean 'memory'"):
        TextClassification("memry://models/mine")
    memory = fsspec.filesystem("memory")
    weights = memory.cat_file("/models/mine/model.safetensors")
    memory.pipe_file("/models/mine/model.safetensors", weights[:-10])
    with pytest.raises(ModelLoadError, match=r"memory://models/mine/model.safetensors is corr"):
        build(store)
    memory.rm_file("/models/mine/model.safetensors")
    with pytest.raises(ModelLoadError, match="memory://models/mine has no safetensors files"):
        build(store)
    memory.pipe_file("/models/mine/model.safetensors", weights)
    memory.pipe_file("/models/mine/config.json", b"{}")
    with pytest.raises(ModelLoadError, match="cannot load the model 'memory://models/mine'"):
        build(store)


def test_a_store_that_this_machine_may_not_read_is_left_to_the_workers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        build("forbidden:///models/mine")
    assert "cannot check the model 'forbidden:///models/mine' from here: 403" in caplog.text
    with pytest.raises(Exception, match="403 Forbidden"), beam.Pipeline(RUNNER) as p:
        p | beam.Create(["a"]) | TextClassification("forbidden:///models/mine")


def test_a_file_that_comes_short_is_an_error(model: Model, cache: Path) -> None:
    with pytest.raises(OSError, match=r"expected \d+ bytes, received \d+"):
        object_store.directory(f"short://{model('bert-classification')}")
    assert not [path for path in cache.iterdir() if "." not in path.name]


def test_a_tokenizer_in_a_store(store: str, model: Model, tmp_path: Path) -> None:
    bare = shutil.copytree(model("bert-classification"), tmp_path / "bare")
    for path in Path(bare).iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    spec = ModelSpec(task="text-classification", source=str(bare), tokenizer=store, device="cpu")
    pipe = transformers.pipeline("text-classification", model("bert-classification"), device="cpu")
    assert same(load(spec)(CORPUS[:3]), pipe(CORPUS[:3]))


def test_the_dtype_of_weights_that_are_not_copied(store: str, tmp_path: Path) -> None:
    copy = object_store.directory(store)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(
        copy, dtype=torch.bfloat16
    )
    loaded.save_pretrained(tmp_path / "half")
    config = (tmp_path / "half" / "config.json").read_bytes()
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/models/mine/config.json", config.replace(b'"dtype": "bfloat16",', b""))
    weights = (tmp_path / "half" / "model.safetensors").read_bytes()
    memory.pipe_file("/models/mine/model.safetensors", weights)
    spec = ModelSpec(task="text-classification", source=store, device="cpu")
    assert weightless(spec).model.dtype == load(spec).model.dtype == torch.bfloat16


def test_a_uri_is_no_path() -> None:
    assert pipeline("ner", "gs://bucket/some/model").spec.model.source == "gs://bucket/some/model"
