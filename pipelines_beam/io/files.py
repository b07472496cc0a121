"""Input files on any file system that fsspec knows: which there are, and whether they changed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from transforms.options.shown import shown

#: What file systems call the identity of a content, and the time of its last change.
_CONTENTS = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "blob_id", "oid")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
_MAGIC = frozenset("*?[")


@dataclass(frozen=True, order=True)
class InputFile:
    """A file with a certain content."""

    #: Its URI; of a file of this machine its full path.
    uri: str
    #: Bytes.
    size: int
    #: What the store calls the identity of the content (ETag and such), else the time of the last
    #: change: "name=value".
    version: str

    def is_now(self, other: InputFile) -> bool:
        """Whether a file of the same URI has the same content, as far as stores tell.

        Some do not tell the same of a file when they list it and when they are asked for it.
        """
        key, other_key = self.version.partition("=")[0], other.version.partition("=")[0]
        return self.size == other.size and (key != other_key or self.version == other.version)


class InputChangedError(RuntimeError):
    """A file is not the one any more that the job has planned to read."""


class StoreError(OSError):
    """A store does not tell which files it has."""


def listed(patterns: str | Iterable[str]) -> list[InputFile]:
    """The files that match, sorted by their URIs; of a folder, all files below it.

    Names that begin with "." or "_" are left out, as other programs leave them out.

    Raises:
      FileNotFoundError: nothing matches a pattern.
      StoreError: the store does not tell, as with credentials that are wrong.
      ValueError: a pattern is not one.

    """
    found: dict[str, InputFile] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if not isinstance(pattern, str) or not pattern or "::" in pattern:
            raise ValueError(f"files must be a path or URI, may be with *: got {shown(pattern)}")
        try:
            matches = list(_matches(pattern))
        except (FileNotFoundError, ImportError, ValueError):
            raise
        except Exception as error:  # every store has errors of its own
            raise StoreError(
                f"cannot list {shown(pattern, 200)}: {type(error).__name__}: {error}"
            ) from error
        if not matches:
            raise FileNotFoundError(f"files: nothing matches {shown(pattern, 200)}")
        found |= {each.uri: each for each in matches}
    return sorted(found.values())


def file_at(uri: str) -> InputFile:
    """A file as it is now. Raises FileNotFoundError."""
    system, path = url_to_fs(uri)
    return _file(system, system.info(path))


def check_unchanged(file: InputFile) -> None:
    """Raises InputChangedError for a file that is not the one any more that was planned."""
    now = file_at(file.uri)
    if not file.is_now(now):
        raise InputChangedError(
            f"{file.uri} has changed since the job was planned: it had {file.size} bytes "
            f"({file.version}) and has {now.size} ({now.version}). Write to another path, or "
            "overwrite the output"
        )


def _matches(pattern: str) -> Iterator[InputFile]:
    system, path = url_to_fs(pattern)
    system.invalidate_cache()
    if system.isfile(path):
        yield _file(system, system.info(path))
        return
    is_pattern = bool(_MAGIC & set(path))
    found = system.glob(path, detail=True) if is_pattern else system.find(path, detail=True)
    for name, info in found.items():
        within = posixpath.basename(name) if is_pattern else posixpath.relpath(name, path)
        if info["type"] == "file" and not _is_hidden(within):
            yield _file(system, info)


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _file(system: Any, info: Mapping[str, Any]) -> InputFile:
    if info.get("size") is None:  # a listing of a web server
        info = system.info(info["name"])
    is_local = isinstance(system, LocalFileSystem) and "file" in system.protocol
    uri = info["name"] if is_local else system.unstrip_protocol(info["name"])
    key = next((key for key in (*_CONTENTS, *_TIMES) if info.get(key)), None)
    version = "" if key is None else f"{key}={_plain(info[key])}"
    return InputFile(str(uri), int(info.get("size") or 0), version)


def _plain(value: Any) -> Any:
    """A time as seconds: some stores give it as one thing or the other."""
    return value.timestamp() if isinstance(value, datetime) else value
