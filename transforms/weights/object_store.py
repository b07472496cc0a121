"""Models in object stores: copied once per machine, then read like any local directory.

A copy's name is a hash of the URI and of what the store's listing says of each file, so that a
changed model is another one. Files are copied into a directory beside it, which is renamed when
all are there: a copy that was interrupted is never taken for a whole one, and what it has is kept.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import filelock
import fsspec
import torch
from fsspec.registry import known_implementations

from ..options import content_hash
from . import headers

logger = logging.getLogger(__name__)

#: What no pipeline reads: weights in forms that are pickled, or of other frameworks.
_SKIPPED_SUFFIXES = (
    *(".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".ot", ".npz"),
    *(".onnx", ".onnx_data", ".tflite", ".gguf", ".mlmodel"),
)
_SKIPPED_FOLDERS = frozenset({"onnx", "openvino", "coreml", "original", "runs"})
_WEIGHTS = ".safetensors"

#: What listings call that which changes with a file's content.
_MARKS = ("ETag", "etag", "md5Hash", "md5", "crc32c", "generation", "checksum", "blob_id")
_MARKS_OF_TIME = ("mtime", "LastModified", "last_modified", "created", "updated")

#: A model's files by their paths in it: each one's size, and what marks its content.
Files: TypeAlias = "dict[str, tuple[int, str]]"

_AT_ONCE = 8  # files: one connection does not fill a network card


def directory(uri: str, weights: bool = True) -> str:
    """The local copy of a model; without its weights, which may be large, if they are not needed.

    Raises:
      FileNotFoundError: nothing is there, or no weights are.
      ImportError: a package is missing that can read such URIs.
      ValueError: no package can, or a file is corrupt.
      OSError: the store cannot be read, or the model changed meanwhile.

    """
    store = _Store(uri)
    found = store.listing()
    if weights:
        _check_listing(found, uri)
    name = _name(uri, found)
    whole = _cache() / name
    if _is_whole(whole, found):
        return str(whole)
    files = found if weights else _without_weights(found)
    target = whole if weights else whole.with_name(f"{name}-light")
    with filelock.FileLock(f"{target}.lock"):
        if not _is_whole(target, files):
            logger.info("copying %s to %s", uri, target)
            partial = _copy(store, files, target)
            if store.listing() != found:
                shutil.rmtree(partial)
                raise OSError(f"the model at {uri} changed while it was copied")
            partial.rename(target)
    return str(target)


def version(uri: str) -> str:
    """The hash of which files a model has in its store now; "" where the store cannot be asked."""
    try:
        return _name(uri, _Store(uri).listing())
    except Exception as error:  # every store has errors of its own; who loads the model says so
        logger.info("cannot list %s: %s", uri, error)
        return ""


def _name(uri: str, files: Files) -> str:
    return content_hash.digest((uri, sorted(files.items())))[:32]


def check_weights(uri: str) -> None:
    """Raises FileNotFoundError if there are no weights, ValueError if they are cut short.

    They are not copied for it.
    """
    store = _Store(uri)
    files = store.listing()
    _check_listing(files, uri)
    for file, size, name in store.weights(files):
        headers.check_open(file, size, name)


def stored_dtype(uri: str) -> torch.dtype:
    """The first floating type in a model's files, as transformers infers it; float32 if unknown."""
    store = _Store(uri)
    for file, size, name in store.weights(store.listing()):
        return headers.dtype_of(file, size, name)
    return torch.float32


class _Store:
    """A model where it is stored. Raises ImportError or ValueError if nothing reads such URIs."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        try:
            self._system, root = fsspec.core.url_to_fs(uri)
        except ImportError as error:
            protocol = uri.partition(":")[0]
            package = known_implementations[protocol]["class"].partition(".")[0]
            install = f" (pip install {package})" if package != "fsspec" else ""
            raise ImportError(f"{uri} cannot be read: {error}{install}") from None
        except ValueError as error:
            raise ValueError(f"{uri} cannot be read: {error}") from None
        self._root = root.rstrip("/")

    def listing(self) -> Files:
        """The files that are needed, as the store has them now."""
        self._system.invalidate_cache()
        try:
            found: Mapping[str, Any] = self._system.find(self._root, detail=True)
        except FileNotFoundError:
            found = {}
        if self._root in found:
            raise NotADirectoryError(f"{self.uri} is a file; a model is a directory of files")
        start = f"{self._root}/"
        inside = {p.removeprefix(start): about for p, about in found.items() if p.startswith(start)}
        if not inside:
            raise FileNotFoundError(f"there is nothing at {self.uri}")
        return {name: _about(about) for name, about in inside.items() if _needed(name)}

    def weights(self, files: Files) -> Iterator[tuple[BinaryIO, int, str]]:
        """The files of weights, open, with their sizes and names."""
        for name, (size, _) in sorted(files.items()):
            if name.endswith(_WEIGHTS):
                with self._system.open(f"{self._root}/{name}", "rb") as file:
                    yield file, size, f"{self.uri}/{name}"

    def copy(self, name: str, size: int, path: Path) -> None:
        """Copy and check a file; `path` is there if it is whole."""
        if _size(path) == size:  # by who was interrupted
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        self._system.get_file(f"{self._root}/{name}", str(part))
        if (came := _size(part)) != size:
            raise OSError(f"{self.uri}: {name}: expected {size} bytes, received {came}")
        if name.endswith(_WEIGHTS):
            headers.check_file(str(part), f"{self.uri}/{name}")
        part.rename(path)


def _needed(name: str) -> bool:
    *folders, last = name.split("/")
    if any(part.startswith(".") for part in (*folders, last)) or _SKIPPED_FOLDERS & set(folders):
        return False
    # Mistral's own form of the weights that are there as model*.safetensors, too.
    return not name.endswith(_SKIPPED_SUFFIXES) and not name.startswith("consolidated")


def _about(about: Mapping[str, Any]) -> tuple[int, str]:
    """A file's size, and its checksum or tag; where there is none, when it was written."""
    marks = [f"{name}={about[name]}" for name in _MARKS if about.get(name)]
    times = [f"{name}={about[name]}" for name in _MARKS_OF_TIME if about.get(name)]
    return int(about["size"]), ",".join(marks or times)


def _without_weights(files: Files) -> Files:
    return {name: about for name, about in files.items() if not name.endswith(_WEIGHTS)}


def _check_listing(files: Files, uri: str) -> None:
    if len(_without_weights(files)) == len(files):
        raise FileNotFoundError(
            f"{uri} has no safetensors files, and weights are read from no others"
        )


def _is_whole(copy: Path, files: Files) -> bool:
    """Whether all files are there, and none of them was cleaned away."""
    return all(_size(copy / name) == size for name, (size, _) in files.items())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _copy(store: _Store, files: Files, target: Path) -> Path:
    """Copy the files to a directory beside the one that they are meant for."""
    partial = target.with_name(f"{target.name}.partial")
    if target.is_dir():  # no longer whole
        shutil.rmtree(partial, ignore_errors=True)
        target.rename(partial)
    partial.mkdir(exist_ok=True)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        copies = [
            threads.submit(store.copy, name, size, partial / name)
            for name, (size, _) in files.items()
        ]
        try:
            for copy in copies:
                copy.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return partial


def _cache() -> Path:
    """The directory of the copies, which no other user may write to or read.

    $PIPELINES_BEAM_CACHE, or pipelines_beam in the user's cache directory; where there is no home,
    as in some containers, in the temporary directory.
    """
    given = os.environ.get("PIPELINES_BEAM_CACHE")
    if given:
        return _private(Path(given))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    try:
        return _private(Path(home) / "pipelines_beam")
    except OSError as error:
        logger.info("no cache in %s: %s", home, error)
    return _private(Path(tempfile.gettempdir()) / f"pipelines_beam-{os.getuid()}")


def _private(path: Path) -> Path:
    """The directory, made if it is not there. Raises PermissionError if it is not the user's own.

    A user who can write into it could put another model in a copy's place.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{path} must be a directory of this user's own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path
