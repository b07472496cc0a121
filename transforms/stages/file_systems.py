"""The file systems of fsspec as file systems of Beam, for the schemes that Beam does not know.

Once this is imported, hf://, https://, memory:// and the others can be read and written by
ReadFromText, ReadFromParquet, WriteToParquet and whatever else goes through Beam's `FileSystems`.
Credentials and settings are those of fsspec: its environment variables and configuration files.
Beam tells its workers which modules have file systems, so they import this one, too.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

from apache_beam.io import filesystems
from apache_beam.io.filesystem import (
    BeamIOError,
    CompressedFile,
    CompressionTypes,
    FileMetadata,
    FileSystem,
    MatchResult,
)
from fsspec import available_protocols
from fsspec.core import url_to_fs

from ..options.file_times import changed

_MIME = "application/octet-stream"
_MAGIC = frozenset("*[?")
_HTTP_MAGIC = frozenset("*[")  # "?" begins a query
#: What fsspec calls local files, and systems that need another one to read from.
_NOT_ALONE = {"file", "local", "dir", "reference", "generic", "cached", "blockcache", "filecache"}
_NOT_ALONE |= {"simplecache", "async_wrapper", "zip", "tar", "libarchive", "data"}


class FsspecFileSystem(FileSystem):  # type: ignore[misc]
    """A file system of fsspec. Each scheme has a subclass, since Beam finds it by its class."""

    _scheme = ""  # no URI has it

    @classmethod
    def scheme(cls) -> str:
        """The scheme of its URIs."""
        return cls._scheme

    def join(self, basepath: str, *paths: str) -> str:
        """A URI with names added to it."""
        return posixpath.join(basepath, *paths)

    def split(self, path: str) -> tuple[str, str]:
        """The URI of the folder of a file, and its name."""
        scheme, mark, rest = path.partition("://")
        folder, name = posixpath.split(rest)
        return f"{scheme}{mark}{folder}", name

    def has_dirs(self) -> bool:
        """Whether there are folders; of stores, fsspec makes it look so."""
        return True

    def mkdirs(self, path: str) -> None:
        """Make a folder and those that it is in. Raises BeamIOError if it is there."""
        with _naming("create the folder", path):
            system, inner = url_to_fs(path)
            system.makedirs(inner, exist_ok=False)

    def match(self, patterns: Sequence[str], limits: Any = None) -> list[MatchResult]:
        """The files that match each pattern. Raises BeamIOError."""
        found, errors = [], {}
        for pattern, limit in zip(patterns, limits or [None] * len(patterns), strict=True):
            try:
                files = list(self._list(pattern + "*" if pattern.endswith("/") else pattern))
                found.append(MatchResult(pattern, files[:limit]))
            except BeamIOError as error:
                errors[pattern] = error
        if errors:
            raise BeamIOError("Match operation failed", errors)
        return found

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        """The files that match a pattern, or the one of that URI."""
        pattern = dir_or_prefix
        with _naming("list", pattern):
            system, inner = url_to_fs(pattern)
            system.invalidate_cache()
            magic = _HTTP_MAGIC if pattern.startswith(("http:", "https:")) else _MAGIC
            if magic.isdisjoint(inner):
                found = {inner: system.info(inner)} if system.exists(inner) else {}
            else:
                found = system.glob(inner, detail=True)
            if not pattern.endswith(inner):
                raise ValueError(f"{type(system).__name__} has other paths than its URIs: {inner}")
            prefix = pattern.removesuffix(inner)  # http keeps whole URIs, others their paths
            for path, info in sorted(found.items()):
                if info["type"] == "file":
                    size = _size(system, path, info)
                    yield FileMetadata(f"{prefix}{path}", size, changed(info) or 0.0)

    def create(
        self, path: str, mime_type: str = _MIME, compression_type: str = CompressionTypes.AUTO
    ) -> Any:
        """A file to write to, in a folder that is made if it is not there."""
        with _naming("write to", path):
            system, inner = url_to_fs(path)
            with contextlib.suppress(NotImplementedError):
                system.makedirs(posixpath.dirname(inner), exist_ok=True)
            return self._opened(system.open(inner, "wb"), "wb", path, compression_type)

    def open(
        self, path: str, mime_type: str = _MIME, compression_type: str = CompressionTypes.AUTO
    ) -> Any:
        """A file to read from."""
        if path.endswith(".jar"):  # Beam's own downloads, which know mirrors and proxies
            raise ValueError(f"files that end in .jar are left to Beam: {path}")
        with _naming("read", path):
            system, inner = url_to_fs(path)
            return self._opened(system.open(inner, "rb"), "rb", path, compression_type)

    def _opened(self, file: Any, mode: str, path: str, compression_type: str) -> Any:
        kind = self._get_compression_type(path, compression_type)
        if kind == CompressionTypes.UNCOMPRESSED:
            return file
        if not hasattr(file, "mode"):  # which Beam asks for
            file.mode = mode
        return CompressedFile(file, compression_type=kind)

    def copy(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        """Copy files and folders. Raises BeamIOError."""
        self._move("copy", source_file_names, destination_file_names)

    def rename(
        self, source_file_names: Sequence[str], destination_file_names: Sequence[str]
    ) -> None:
        """Rename files and folders. Raises BeamIOError."""
        self._move("mv", source_file_names, destination_file_names)

    def _move(self, method: str, sources: Sequence[str], destinations: Sequence[str]) -> None:
        errors: dict[Any, Exception] = {}
        for source, destination in zip(sources, destinations, strict=True):
            try:
                system, inner = url_to_fs(source)
                recursive = system.isdir(inner)
                target = url_to_fs(destination)[1]
                getattr(system, method)(inner, target, recursive=recursive)
            except Exception as error:  # each system has errors of its own
                errors[(source, destination)] = error
        if errors:
            raise BeamIOError(f"{method} failed", errors)

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""
        with _naming("look for", path):
            system, inner = url_to_fs(path)
            system.invalidate_cache()
            return bool(system.exists(inner))

    def size(self, path: str) -> int:
        """The number of bytes of a file. Raises BeamIOError."""
        return int(self.metadata(path).size_in_bytes)

    def last_updated(self, path: str) -> float:
        """When a file was last changed, in seconds since 1970; 0 if that is not known."""
        return float(self.metadata(path).last_updated_in_seconds)

    def checksum(self, path: str) -> str:
        """What changes with the content of a file, as far as the store tells: its ETag, or size."""
        with _naming("look at", path):
            system, inner = url_to_fs(path)
            info = system.info(inner)
            return str(info.get("ETag") or info.get("etag") or _size(system, inner, info))

    def metadata(self, path: str) -> FileMetadata:
        """The size of a file, and when it was changed. Raises BeamIOError."""
        with _naming("look at", path):
            system, inner = url_to_fs(path)
            info = system.info(inner)
            return FileMetadata(path, _size(system, inner, info), changed(info) or 0.0)

    def delete(self, paths: Sequence[str]) -> None:
        """Remove files and folders. Raises BeamIOError."""
        errors: dict[str, Exception] = {}
        for path in paths:
            try:
                system, inner = url_to_fs(path)
                if system.isdir(inner):
                    system.rm(inner, recursive=True)
                else:  # its name may have characters that `rm` takes for a pattern
                    system.rm_file(inner)
            except Exception as error:  # each system has errors of its own
                errors[path] = error
        if errors:
            raise BeamIOError("Delete operation failed", errors)


@contextlib.contextmanager
def _naming(what: str, uri: str) -> Iterator[None]:
    """Errors in here name the URI.

    Raises BeamIOError; ValueError, as where there is no file system, if its package is missing:
    Beam then downloads in a way of its own.
    """
    try:
        yield
    except BeamIOError:
        raise
    except ImportError as error:
        raise ValueError(f"cannot {what} {uri}: {error}") from error
    except Exception as error:  # each system has errors of its own
        reason = f"{type(error).__name__}: {error}"
        raise BeamIOError(f"cannot {what} {uri}: {reason}", {uri: error}) from error


def _size(system: Any, path: str, info: dict[str, Any]) -> int:
    """The number of bytes of a file; one whose server does not tell it is read."""
    size = info.get("size")
    return len(system.cat_file(path)) if size is None else int(size)


def _add_schemes() -> dict[str, type[FsspecFileSystem]]:
    """A class for each scheme of fsspec that Beam has none for."""
    systems = filesystems.FileSystem.get_all_subclasses()
    known = {each.scheme() for each in systems} | _NOT_ALONE
    return {
        scheme: type(f"Fsspec_{scheme}", (FsspecFileSystem,), {"_scheme": scheme})
        for scheme in available_protocols()
        if scheme not in known
    }


#: The classes by their schemes. Beam finds them as subclasses, which nothing else would keep.
SCHEMES = _add_schemes()
