"""The bytes of media in memory, files, URIs and base64."""

from __future__ import annotations

import base64
import errno
import io
import os
import re
import urllib.error
from collections.abc import Mapping
from typing import Any, TypeAlias

import fsspec

from ..options.shown import cut, shown
from .download import CutOffError, download

Source: TypeAlias = "bytes | str | os.PathLike[str] | Mapping[str, Any]"

_URI = re.compile(r"data:|[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_HERE = ("data:", "file:", "memory:")
_BYTES = ("B", "b", "c")  # what the struct module calls them
#: Base64 of at least so many characters is taken for a file. A shorter text, or one with other
#: characters in between, must begin like a known format: it may be the path of a missing file.
_LONG_BASE64 = 64
_FILE_SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF|BM|II\*\0|MM\0\*|P[1-6]\s|fLaC|OggS|ID3", re.DOTALL
)


class MediaError(ValueError):
    """A medium cannot be read, or is not valid: the message says why."""


class _NoSourceError(Exception):
    """A text is neither the path of a file nor a file in base64."""


def read(source: Source, limit: int, what: str, timeout: float = 60.0) -> bytes:
    """The bytes of a medium. Raises MediaError.

    Args:
      source: the bytes themselves; a local path; a URI that fsspec knows (https, s3, gs, hf,
        memory, data, …); or a {"bytes", "path"} struct of datasets, whose bytes take precedence
        over its path. Any other string may be the bytes in base64.
      limit: the largest number of bytes that is read.
      what: the kind of medium, for messages.
      timeout: seconds to wait for a server that sends nothing. With http and https it limits the
        whole download, too, plus one second for every 100 kB.

    """
    held = in_memory(_of_struct(source, what) if isinstance(source, Mapping) else source)
    data = held if isinstance(held, bytes) else _fetched(held, limit, what, timeout)
    if not data:
        raise MediaError(f"the {what} is empty: it has 0 bytes")
    if len(data) > limit:
        raise MediaError(f"the {what} has more bytes than the limit of {limit:,} ({what}_bytes)")
    return data


def in_memory(source: Any) -> Any:
    """The bytes of a file in an object that holds bytes; any other value unchanged.

    Such an object is a bytearray, memoryview, io.BytesIO, mmap, or buffer or scalar of pyarrow, or
    anything else with a buffer of single bytes. So one-dimensional arrays and tensors of uint8 or
    int8 are files, too: no image has one dimension, and no model takes samples of 8 bits.
    """
    if isinstance(source, bytes | str | Mapping):
        return source
    if hasattr(source, "as_buffer"):  # a scalar of pyarrow: bytes, or the path in a string
        return source.as_py()
    if isinstance(source, io.BytesIO):
        return b"" if source.closed else source.getvalue()
    try:
        view = memoryview(source.numpy() if hasattr(source, "numpy") else source)
    except (TypeError, ValueError, RuntimeError):  # not made of bytes, or closed, or on a GPU
        return source
    if view.ndim == 0:
        is_file = view.format.endswith(("s", "x"))  # numpy's own bytes, and its void
    else:
        is_file = view.ndim == 1 and view.format.lstrip("@=<>") in _BYTES
    return view.tobytes() if is_file else source


def is_remote(source: object) -> bool:
    """Whether reading a medium needs a server."""
    if isinstance(source, Mapping):
        samples = source.keys() & {"array", "raw"}  # an audio's path says where it came from
        source = None if samples or source.get("bytes") is not None else source.get("path")
    if not isinstance(source, str):
        return False
    return _URI.match(source) is not None and not source.startswith(_HERE)


def _of_struct(struct: Mapping[str, Any], what: str) -> bytes | str | os.PathLike[str]:
    for name in ("bytes", "path"):
        if struct.get(name) is not None:
            held: object = in_memory(struct[name])
            if isinstance(held, bytes | str | os.PathLike):
                return held
            raise MediaError(f"the {what}'s {name} must be bytes or a string, got {shown(held)}")
    raise MediaError(f"the {what} has neither bytes nor a path: got {shown(struct)}")


def _fetched(source: str | os.PathLike[str], limit: int, what: str, timeout: float) -> bytes:
    """The bytes at a path or URI, at most `limit` + 1."""
    location = os.fspath(source)
    try:
        if location.startswith(("http://", "https://")):
            return download(location, limit, timeout)
        if location.startswith("data:image/"):
            return _of_data_uri(location)
        if _URI.match(location):
            with fsspec.open(location, "rb") as file:
                return bytes(file.read(limit + 1))
        return _local(location, limit)
    except Exception as error:  # every file system has errors of its own
        raise MediaError(f"the {what} {shown(location, 200)} {_reason(error)}") from error


def _of_data_uri(uri: str) -> bytes:
    """The bytes as transformers reads them: as base64, whatever encoding the URI declares."""
    _, comma, text = uri.partition(",")
    if not comma:
        raise ValueError("a data: URI must have a comma, and the file in base64 after it")
    return base64.decodebytes(text.partition(",")[0].encode())


def _local(text: str, limit: int) -> bytes:
    """The bytes of the file at a path, or in a text of base64."""
    try:
        with open(text, "rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        if (data := _base64(text)) is not None:
            return data
        if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
            raise
        raise _NoSourceError(
            "is not there: it must be the path of a file, a URI, or a whole file in base64"
        ) from error


def _base64(text: str) -> bytes | None:
    """The bytes in a text of base64, decoded as leniently as by transformers; or None."""
    try:
        data = base64.decodebytes(text.encode())
    except ValueError:
        return None
    return data if _FILE_SIGNATURE.match(data) or _is_long_base64(text) else None


def _is_long_base64(text: str) -> bool:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return False
    return len(text) >= _LONG_BASE64


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"cannot be read: the server answered {error.code} {error.reason}"
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return "cannot be read: the server did not answer in time (timeout)"
    if isinstance(error, CutOffError | _NoSourceError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "is not there"
    text = str(error) or type(error).__name__
    return f"cannot be read: {cut(text, 200)}"
