"""Input files on any file system that fsspec knows: which there are, and whether they changed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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
    #: The store's identity of the content (ETag and such), else the time of the last change.
    version: str


class InputChangedError(RuntimeError):
    """A file is not the one any more that the job has planned to read."""


def listed(patterns: str | Iterable[str]) -> list[InputFile]:
    """The files that match, sorted by their URIs; of a folder, all files below it.

    Names that begin with "." or "_" are left out, as other programs leave them out.

    Raises:
      FileNotFoundError: nothing matches a pattern.
      ValueError: a pattern is not one.

    """
    found: dict[str, InputFile] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if not isinstance(pattern, str) or not pattern or "::" in pattern:
            raise ValueError(f"files must be a path or URI, may be with *: got {shown(pattern)}")
        matches = list(_matches(pattern))
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
    if now != file:
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
    is_local = isinstance(system, LocalFileSystem) and "file" in system.protocol
    uri = info["name"] if is_local else system.unstrip_protocol(info["name"])
    version = next((info[key] for key in (*_CONTENTS, *_TIMES) if info.get(key)), "")
    return InputFile(str(uri), int(info.get("size") or 0), str(version))
