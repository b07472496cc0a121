"""Downloads over HTTP: complete files, within a time limit."""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.error
import urllib.request
from typing import Any

_HEADERS = {"User-Agent": "pipelines-beam"}  # some servers refuse urllib's own
_MIN_BYTES_PER_SECOND = 100_000  # a faster server may take longer than the timeout in total


class CutOffError(OSError):
    """A server sent fewer bytes than it announced."""


def download(url: str, limit: int, timeout: float) -> bytes:
    """The content of a URL, at most `limit` + 1 bytes.

    Raises CutOffError for an incomplete response; TimeoutError for a server that sends nothing for
    `timeout` seconds, or takes longer in total than `timeout` plus one second for every 100 kB; and
    the errors of urllib.
    """
    request = urllib.request.Request(url, headers=_HEADERS)  # noqa: S310 - http or https
    opener = urllib.request.build_opener(_Handler, _SecureHandler)
    try:
        with opener.open(request, timeout=timeout) as answer:
            length = answer.length
            data: bytes = answer.read(limit + 1)
    except urllib.error.HTTPError as error:
        error.close()  # or the connection stays open as long as the error is kept
        raise
    except http.client.IncompleteRead as error:
        raise CutOffError(f"was cut off: received {len(error.partial):,} bytes") from error
    if length is not None and len(data) < min(length, limit + 1):
        raise CutOffError(f"was cut off: expected {length:,} bytes, received {len(data):,}")
    return data


class _Timely(io.RawIOBase):
    """A stream from a server that raises TimeoutError when the whole of it takes too long.

    The timeout of a socket applies to each read, which may return a single byte.
    """

    def __init__(self, sent: io.RawIOBase, connection: socket.socket) -> None:
        self._sent = sent
        self._connection = connection
        self._timeout: float = connection.gettimeout() or float("inf")
        self._deadline = time.monotonic() + self._timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(min(left, self._timeout))
        count = self._sent.readinto(buffer)
        self._deadline += (count or 0) / _MIN_BYTES_PER_SECOND
        return count

    def close(self) -> None:
        self._sent.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Timely(self.fp.detach(), sock))


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, request)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, request)
