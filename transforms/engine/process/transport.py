"""Bytes between a worker and an engine's process: framed, and proof of the key before them.

A frame is a number of bytes and the bytes. Many bytes are not sent through the socket, which holds
few and would have the sender wait for a reader that is busy: they are in a file in memory, whose
descriptor goes along.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterator
from multiprocessing import AuthenticationError

from .arena import anonymous_file

_HEADER = struct.Struct("!Q?")  # bytes; whether they are in a file
#: Bytes: a socket holds a few times as many. On macOS a file that its sender has closed may be gone
#: before it is read.
_LARGE = 64 * 1024 if sys.platform != "darwin" else sys.maxsize
_READ = 256 * 1024  # bytes
_CHALLENGE = 32  # bytes
_DIGEST = 32


class Outgoing:
    """Frames on their way into a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        #: Bytes, and descriptors that go along with the first of them.
        self._parts: deque[tuple[bytearray, list[int]]] = deque()

    def __len__(self) -> int:
        """How many bytes are left to send, those in files not counted."""
        return sum(len(data) for data, _ in self._parts)

    @property
    def large(self) -> bool:
        """Whether something is left to send that is in a file."""
        return any(descriptors for _, descriptors in self._parts)

    def add(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Put a frame behind the others; copies of the descriptors go along. Raises OSError."""
        passed: list[int] = []
        try:
            passed += [os.dup(each) for each in descriptors]
            if len(data) < _LARGE:
                framed = _HEADER.pack(len(data), False) + data
            else:
                passed.append(_file_of(data))
                framed = _HEADER.pack(len(data), True)
        except BaseException:
            _close(passed)
            raise
        # Each call of `send` takes room in the socket's buffer beside its bytes.
        if not passed and self._parts and len(self._parts[-1][0]) < _LARGE:
            self._parts[-1][0].extend(framed)
        else:
            self._parts.append((bytearray(framed), passed))

    def send(self) -> None:
        """Send all; or, through a socket that does not block, as much as it takes now.

        Raises OSError.
        """
        while self._parts:
            data, descriptors = self._parts[0]
            try:
                if descriptors:
                    sent = socket.send_fds(self._socket, [data], descriptors)
                else:
                    sent = self._socket.send(data)
            except BlockingIOError:
                return
            _close(descriptors)
            del data[:sent]
            if not data:
                self._parts.popleft()

    def clear(self) -> None:
        """Drop what is left."""
        for _, descriptors in self._parts:
            _close(descriptors)
        self._parts.clear()


def _file_of(data: bytes) -> int:
    """A file in memory with these bytes."""
    descriptor = anonymous_file()
    with open(descriptor, "wb", buffering=0, closefd=False) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
    return descriptor


class Incoming:
    """Frames as they come out of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        #: Descriptors that came along and belong to no frame's bytes.
        self.descriptors: deque[int] = deque()
        #: The most bytes of a frame that are accepted; None: any number.
        self.limit: int | None = None

    def receive(self) -> Iterator[bytes]:
        """Frames that are complete after one read. Raises EOFError at the end, and OSError."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, _READ, 4)
        self.descriptors += descriptors
        if self.limit is not None and len(self.descriptors) > 1:
            raise AuthenticationError("descriptors before a proof of the key")
        if not data:
            raise EOFError
        self._buffer += data
        while (frame := self._next()) is not None:
            yield frame

    def frame(self) -> bytes:
        """The next frame, of a peer that sends one at a time; waits for it."""
        while (frame := self._next()) is None:
            for complete in self.receive():
                return complete
        return frame

    def close(self) -> None:
        """Close descriptors that nobody took."""
        _close(list(self.descriptors))
        self.descriptors.clear()

    def _next(self) -> bytes | None:
        if len(self._buffer) < _HEADER.size:
            return None
        size, in_file = _HEADER.unpack_from(self._buffer)
        if self.limit is not None and (in_file or size > self.limit):
            raise AuthenticationError(f"{size} bytes before a proof of the key")
        if in_file:
            del self._buffer[: _HEADER.size]
            return self._from_file(size)
        end = _HEADER.size + size
        if len(self._buffer) < end:
            return None
        data = bytes(memoryview(self._buffer)[_HEADER.size : end])
        del self._buffer[:end]
        return data

    def _from_file(self, size: int) -> bytes:
        with open(self.descriptors.popleft(), "rb", buffering=0) as file:
            data = os.pread(file.fileno(), size, 0)
            while len(data) < size:  # a read has at most 2 GB
                more = os.pread(file.fileno(), size - len(data), len(data))
                if not more:
                    raise EOFError
                data += more
        return data


class Doorkeeper:
    """The engine's side of a greeting: it answers a worker that proves to know the key.

    Challenges and proofs cross as frames: the challenge of the engine; the worker's proof and its
    own challenge; the engine's proof and its process id; then the worker's arena.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.challenge = os.urandom(_CHALLENGE)

    def answer(self, frame: bytes) -> bytes:
        """The answer to a worker's first frame. Raises AuthenticationError."""
        proof, challenge = frame[:_DIGEST], frame[_DIGEST:]
        if not hmac.compare_digest(proof, _proof(self._key, b"worker", self.challenge)):
            raise AuthenticationError("a wrong key")
        return _proof(self._key, b"engine", challenge) + os.getpid().to_bytes(8)


def greet(incoming: Incoming, outgoing: Outgoing, key: bytes, arena: int) -> int:
    """The worker's side: prove the key, have the engine prove it, and hand over the arena.

    Returns:
      The engine's process id.

    Raises AuthenticationError if the other side does not know the key, EOFError and OSError.

    """
    challenge = os.urandom(_CHALLENGE)
    outgoing.add(_proof(key, b"worker", incoming.frame()) + challenge)
    outgoing.send()
    answer = incoming.frame()
    if not hmac.compare_digest(answer[:_DIGEST], _proof(key, b"engine", challenge)):
        raise AuthenticationError("the engine's process does not know the key")
    outgoing.add(b"", (arena,))
    outgoing.send()
    return int.from_bytes(answer[_DIGEST:])


def shut(sock: socket.socket) -> None:
    """End a connection that another thread may be waiting at."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _proof(key: bytes, side: bytes, challenge: bytes) -> bytes:
    return hmac.digest(key, side + challenge, "sha256")


def _close(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)
    descriptors.clear()
