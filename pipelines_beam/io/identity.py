"""What decides the results of a job: two runs with the same description have the same results."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transforms import TaskTransform
from transforms.options import content_hash
from transforms.options.shown import shown
from transforms.options.sources import is_local, is_uri

from .files import listed

#: Packages that decide what a model answers; the others, what its media are decoded to.
_PACKAGES = ("pipelines-beam", "transformers", "tokenizers", "torch")
_OF_MEDIA = ("av", "diffusers", "pillow", "soundfile", "torchvision")
#: Fields of the model's spec that do not decide what it answers, but for noise of floating point.
_SPEED = ("task", "device", "device_map", "torch_compile", "attn_implementation")
_SOURCES = {"model", "tokenizer", "processor"}
_WHOLE = 1024 * 1024  # bytes: files up to this size are read whole
_SAMPLES, _SAMPLE = 16, 64 * 1024  # of larger ones

#: Names, and what they are, as text.
Description = Mapping[str, str]


class JobChangedError(ValueError):
    """An output is to be resumed by a job that is not the one that began it."""


def described(task: TaskTransform, columns: Any, format: str) -> Description:
    """What decides the results, by names for people.

    Not in it is what changes only speed or noise of floating point: devices, batches, limits.

    Raises ValueError for a task whose model changes while it runs.
    """
    plan = task.plan.pinned
    if plan.updates is not None:
        raise ValueError(
            "a job over files has one model: model_metadata_pcoll and watch_model_pattern change it"
        )
    model = {
        name: value
        for name, value in vars(plan.spec.model).items()
        if name not in _SPEED and value not in (None, {}, ())
    }
    model["model"] = model.pop("source")
    for name in _SOURCES & model.keys():
        model[name] = _source(model[name])
    binding = {name: getattr(plan.binding, name) for name in ("input", "output", "json_chats")}
    binding |= plan.binding.row_options
    stages = {name: getattr(plan, name) for name in plan.replaced_stages}
    packages = [*_PACKAGES, *(_OF_MEDIA if plan.binding.task.media else ())]
    versions = {f"version of {name}": _version(name) for name in packages}
    options = {**model, **binding, **stages, **plan.spec.parameters, "columns": columns}
    found = {"task": plan.spec.task, "format": format, **options, **versions}
    return {name: _text(value) for name, value in found.items() if value is not None}


def hashed(description: Description) -> str:
    """The hash of a description."""
    text = json.dumps(dict(description), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_same(was: Description, now: Description, output: str) -> None:
    """Raises JobChangedError for a description that is not that of the job that began an output."""
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if names:
        nothing = "not given"
        changes = "; ".join(
            f"{name} was {was.get(name, nothing)}, and is {now.get(name, nothing)}"
            for name in names
        )
        raise JobChangedError(
            f"{output} was begun by another job: {changes}. To resume needs the same job; else "
            "overwrite the output, or write to another path"
        )


def _text(value: Any) -> str:
    """A value as text: the same for equal values in every process."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return f"{shown(value)} ({content_hash.digest(value)[:12]})"
    return text if len(text) < 300 else f"{shown(value)} ({_digest(text.encode())})"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _source(source: str) -> str:
    """A model's source, with what is in it; one of the hub has a revision.

    Of a local directory the content counts, wherever it lies.
    """
    if is_uri(source):
        files = [(each.uri, each.size, each.version) for each in listed(source)]
        return f"{source} ({_digest(repr(files).encode())})"
    if not is_local(source):
        return source
    paths = sorted(path for path in Path(source).rglob("*") if path.is_file())
    parts = [(str(path.relative_to(source)), _sampled(path)) for path in paths]
    return f"a directory with the content {_digest(repr(parts).encode())}"


def _sampled(path: Path) -> str:
    """The hash of a file's size and content; of a large file, of samples all over it.

    Other weights differ everywhere. The times of files do not count: they differ in copies.
    """
    size = os.path.getsize(path)
    with path.open("rb") as file:
        if size <= _WHOLE:
            return _digest(file.read())
        parts = [str(size).encode()]
        for i in range(_SAMPLES):
            file.seek((size - _SAMPLE) * i // (_SAMPLES - 1))
            parts.append(file.read(_SAMPLE))
        return _digest(b"".join(parts))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
