"""The folder of a job's output: files appear in it whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import posixpath
import time
import uuid
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from transforms.options.file_times import changed

#: Stores that show a file only when all of it is there: nothing is renamed, which is a copy there.
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"})
_TRIES = 3
#: Errors of a disk, or of a user's share of it, that has no room.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Folders within the output. Readers of a folder leave out names that begin with "_".
JOB, FAILURES, AUDIT = "_job", "_failures", "_audit"
_TEMPORARY = f"{JOB}/temporary"
#: Answers of a cache, for shards of which other rows are computed.
CACHED = f"{JOB}/cached"
#: Answers that several shards need.
SHARED = f"{JOB}/shared"


class OutputError(RuntimeError):
    """The output cannot be written to."""


class Output:
    """A folder on any file system that fsspec knows. Names are relative to it."""

    def __init__(self, uri: str) -> None:
        self._system, root = url_to_fs(uri)
        self._root = root.rstrip("/")
        #: Its URI; on this machine its full path, since workers may run in another folder.
        self.uri = self._root if self._is_local else str(self._system.unstrip_protocol(self._root))

    @property
    def _is_local(self) -> bool:
        return type(self._system) is LocalFileSystem

    def __reduce__(self) -> Any:
        return Output, (self.uri,)

    def path(self, name: str) -> str:
        """The URI of a file, for people and other programs."""
        return f"{self.uri}/{name}"

    def names(self, folder: str = "") -> list[str]:
        """The names of what is in a folder, in any order; none of a folder that does not exist.

        Raises OutputError if the store does not tell.
        """
        self._system.invalidate_cache()
        try:
            found = self._system.ls(self._full(folder), detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:  # every store has errors of its own
            raise OutputError(
                f"output: cannot list {self.uri}: {type(error).__name__}: {error}"
            ) from error
        return [posixpath.basename(str(each).rstrip("/")) for each in found]

    def times(self, folder: str = "") -> dict[str, float]:
        """When what is in a folder was last changed, in seconds since 1970, where that is known."""
        self._system.invalidate_cache()
        try:
            found = self._system.ls(self._full(folder), detail=True)
        except FileNotFoundError:
            return {}
        times = {posixpath.basename(each["name"].rstrip("/")): changed(each) for each in found}
        return {name: time for name, time in times.items() if time is not None}

    def size(self, name: str) -> int:
        """The number of bytes of a file. Raises FileNotFoundError."""
        return int(self._system.size(self._full(name)))

    def exists(self, name: str) -> bool:
        """Whether there is a file now."""
        self._system.invalidate_cache(posixpath.dirname(self._full(name)))
        return bool(self._system.exists(self._full(name)))

    def read(self, name: str) -> bytes:
        """The content of a file. Raises FileNotFoundError."""
        return bytes(self._system.cat_file(self._full(name)))

    def open(self, name: str) -> Any:
        """A file to read parts of. Raises FileNotFoundError."""
        # Some systems take the size from a listing, which may be older than the file.
        self._system.invalidate_cache(posixpath.dirname(self._full(name)))
        return self._system.open(self._full(name), "rb")

    def write(self, name: str, data: bytes) -> None:
        """Write a file, in place of one of that name: at no time is there a part of it.

        Raises OutputError if that fails again and again.
        """
        for left in reversed(range(_TRIES)):
            try:
                self._write(name, data)
                return
            except Exception as error:  # every store has errors of its own
                if not left or not isinstance(error, OSError):
                    raise self._refused(name, error) from error
                time.sleep(0.1)

    def check_writable(self) -> None:
        """Write a file and remove it, with the folders that it needed. Raises OutputError."""
        probe = f"{JOB}/{uuid.uuid4().hex}"
        folders = [self._full(JOB), self._root]
        made = [each for each in folders if not self._system.exists(each)]
        try:
            self._system.makedirs(self._full(JOB), exist_ok=True)
            self._system.pipe_file(self._full(probe), b"probe")
            self._system.rm_file(self._full(probe))
        except Exception as error:  # every store has errors of its own
            raise self._refused(JOB, error) from error
        for each in made:
            with contextlib.suppress(Exception):  # stores have no empty folders
                self._system.rmdir(each)

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._system.rm(self._full(name), recursive=True)

    def clean(self) -> None:
        """Remove what killed workers have left."""
        self.remove(_TEMPORARY)
        self.remove(CACHED)

    def clear(self) -> None:
        """Remove everything that jobs have written; other files stay."""
        for name in self.names():
            if name in (JOB, FAILURES, AUDIT) or is_shard(name):
                self.remove(name)

    def _full(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _refused(self, name: str, error: Exception) -> OutputError:
        """The error that says why a file cannot be written, and what to do if the disk is full."""
        text = f"output: cannot write to {self.uri}: {name}: {type(error).__name__}: {error}"
        if self._is_local and getattr(error, "errno", None) in _FULL:
            disk = _mount_point(self._root)
            text = (
                f"output: cannot write to {self.uri}: {name}: the disk is full that is mounted at "
                f"{disk}. The files that are there are whole: free some space and resume the job"
            )
        return OutputError(text)

    def _write(self, name: str, data: bytes) -> None:
        path = self._full(name)
        protocols = self._system.protocol
        if not _WHOLE.isdisjoint([protocols] if isinstance(protocols, str) else protocols):
            self._system.pipe_file(path, data)
            return
        temporary = self._full(f"{_TEMPORARY}/{uuid.uuid4().hex}")
        for each in (temporary, path):
            self._system.makedirs(posixpath.dirname(each), exist_ok=True)
        try:
            self._move_in(temporary, path, data)
        except BaseException:
            with contextlib.suppress(OSError):
                self._system.rm_file(temporary)
            raise

    def _move_in(self, temporary: str, path: str, data: bytes) -> None:
        if self._is_local:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # else a power cut may leave an empty file of that name
            os.replace(temporary, path)
            return
        self._system.pipe_file(temporary, data)
        try:
            self._system.mv(temporary, path)
        except Exception:  # not all systems rename to a name that exists
            if not (self._system.exists(path) and self._system.exists(temporary)):
                raise
            self._system.rm_file(path)
            self._system.mv(temporary, path)


def _mount_point(path: str) -> str:
    """Where the disk is mounted that holds a folder, which need not exist yet."""
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def is_shard(name: str) -> bool:
    """Whether a name is one that shards have."""
    return name.startswith("part-") and name.endswith(".parquet")


def as_parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file: the same for equal tables."""
    file = io.BytesIO()
    with pq.ParquetWriter(file, table.schema, compression="zstd") as writer:
        if len(table):  # `datasets` cannot read a row group without rows
            writer.write_table(table.combine_chunks())
    return file.getvalue()
