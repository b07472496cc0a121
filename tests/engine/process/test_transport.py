"""Frames through a socket, and the greeting before them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from multiprocessing import AuthenticationError

import pytest

from transforms.engine.process.arena import Arena
from transforms.engine.process.transport import Doorkeeper, Incoming, Outgoing, greet

KEY = b"a secret"
Pair = tuple[Outgoing, Incoming]


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    yield here, there
    here.close()
    there.close()


@pytest.fixture
def pair(sockets: tuple[socket.socket, socket.socket]) -> Pair:
    here, there = sockets
    here.setblocking(False)
    return Outgoing(here), Incoming(there)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("sizes", [[0, 1, 300], [70_000], [5, 3_000_000, 7, 64 * 1024, 9]])
def test_frames_arrive_as_they_were_sent(pair: Pair, sizes: list[int]) -> None:
    outgoing, incoming = pair
    before = descriptors()
    frames = [os.urandom(size) for size in sizes]
    for frame in frames:
        outgoing.add(frame)
    outgoing.send()
    assert not outgoing
    found: list[bytes] = []
    while len(found) < len(frames):
        found += incoming.receive()
    assert found == frames
    assert descriptors() == before


def test_what_the_socket_does_not_take_now_is_sent_later(pair: Pair) -> None:
    outgoing, incoming = pair
    frames = [bytes([i % 256]) * 10_000 for i in range(200)]
    for i, frame in enumerate(frames):
        outgoing.add(frame)
        if i % 50 == 0:
            outgoing.add(bytes(100_000))
        outgoing.send()
    assert outgoing
    found: list[bytes] = []
    while len(found) < 204:
        found += incoming.receive()
        outgoing.send()
    assert [frame for frame in found if len(frame) == 10_000] == frames
    assert not outgoing


def test_many_small_frames_fit_into_a_socket(pair: Pair) -> None:
    outgoing, incoming = pair
    for _ in range(2000):
        outgoing.add(bytes(60))
    outgoing.send()
    assert not outgoing
    assert sum(1 for _ in incoming.receive()) > 200


def test_what_is_not_sent_leaves_nothing_open(pair: Pair) -> None:
    outgoing, _ = pair
    before = descriptors()
    for _ in range(20):
        outgoing.add(bytes(100_000))
    assert outgoing.large
    outgoing.clear()
    assert descriptors() == before


def test_the_end_of_a_connection_is_told(sockets: tuple[socket.socket, socket.socket]) -> None:
    here, there = sockets
    here.send(b"\0\0\0")
    here.shutdown(socket.SHUT_RDWR)
    incoming = Incoming(there)
    with pytest.raises(EOFError):
        incoming.frame()


def greeted(sockets: tuple[socket.socket, socket.socket], key: bytes, own: bytes) -> int:
    """The process id that a worker with a key is told, by an engine with its own."""
    here, there = sockets
    arena = Arena(4096)
    door = Doorkeeper(own)
    outgoing, incoming = Outgoing(there), Incoming(there)

    def engine() -> None:
        outgoing.add(door.challenge)
        outgoing.send()
        try:
            outgoing.add(door.answer(incoming.frame()))
            outgoing.send()
            incoming.frame()
        except AuthenticationError:
            there.shutdown(socket.SHUT_RDWR)
        except EOFError:
            pass

    thread = threading.Thread(target=engine)
    thread.start()
    try:
        return greet(Incoming(here), Outgoing(here), key, arena.fd)
    finally:
        here.shutdown(socket.SHUT_RDWR)
        thread.join()
        incoming.close()
        arena.close()


def test_who_knows_the_key_is_greeted(sockets: tuple[socket.socket, socket.socket]) -> None:
    assert greeted(sockets, KEY, KEY) == os.getpid()


def test_who_does_not_is_not(sockets: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(EOFError):
        greeted(sockets, b"guess", KEY)


def test_an_engine_that_does_not_know_the_key_is_refused(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    here, there = sockets
    there.sendall(b"")
    impostor = Outgoing(there)
    impostor.add(os.urandom(32))
    impostor.add(os.urandom(40))
    impostor.send()
    arena = Arena(4096)
    with pytest.raises(AuthenticationError, match="does not know the key"):
        greet(Incoming(here), Outgoing(here), KEY, arena.fd)
    arena.close()


@pytest.mark.parametrize("size", [2_000, 100_000])
def test_somebody_unproven_cannot_send_much(pair: Pair, size: int) -> None:
    outgoing, incoming = pair
    incoming.limit = 1024
    outgoing.add(bytes(size))
    outgoing.send()
    with pytest.raises(AuthenticationError, match="before a proof"):
        list(incoming.receive())
    incoming.close()
