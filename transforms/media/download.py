"""Files from HTTP servers: whole, and in time."""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.error
import urllib.request
from typing import Any

_HEADERS = {"User-Agent": "pipelines-beam"}  # some servers refuse urllib's own
_SLOWEST = 100_000  # bytes a second: a server that sends more may take its time


class CutOffError(OSError):
    """A server said that it would send more than it did."""


def download(url: str, limit: int, timeout: float) -> bytes:
    """Up to `limit` bytes, and one more if there are more.

    Raises CutOffError; TimeoutError for a server that is silent for `timeout` seconds, or that
    takes these and one for every 100 kB; and what urllib raises.
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
        raise CutOffError(f"was cut off: {len(error.partial):,} bytes came") from error
    if length is not None and len(data) < min(length, limit + 1):
        raise CutOffError(f"was cut off: {len(data):,} of {length:,} bytes came")
    return data


class _Timely(io.RawIOBase):
    """What a server sends, as long as it does so in time.

    A socket's own timeout is one for each piece, and a piece may be a byte.
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
        self._deadline += (count or 0) / _SLOWEST
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
