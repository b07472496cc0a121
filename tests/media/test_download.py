"""Files from servers that stop, drip or stall."""

from __future__ import annotations

import contextlib
import http.server
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.servers import serving

from transforms.media.fetch import MediaError, read

TIMEOUT = 0.5
Write = Callable[[bytes], Any]
Page = Callable[[Write], None]


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode()


def whole(write: Write) -> None:
    write(head("Content-Length: 10") + b"0123456789")


def chunked(write: Write) -> None:
    write(head("Transfer-Encoding: chunked") + b"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")


def of_unknown_length(write: Write) -> None:
    write(head() + b"0123456789")


def slow(write: Write) -> None:
    """As slow as it may be, and not slower."""
    write(head("Content-Length: 500000"))
    for _ in range(10):
        time.sleep(0.2)
        write(bytes(50_000))


def cut(write: Write) -> None:
    write(head("Content-Length: 1000") + b"0123456789")


def cut_chunk(write: Write) -> None:
    write(head("Transfer-Encoding: chunked") + b"5\r\n01234\r\n5\r\n56")


def silent(write: Write) -> None:
    time.sleep(3 * TIMEOUT)


def stalling(write: Write) -> None:
    write(head("Content-Length: 1000000") + bytes(900_000))
    time.sleep(3 * TIMEOUT)


def dripping(write: Write) -> None:
    write(head("Content-Length: 1000"))
    for _ in range(1000):
        write(b"1")
        time.sleep(0.05)


def dripping_chunks(write: Write) -> None:
    write(head("Transfer-Encoding: chunked"))
    for _ in range(1000):
        write(b"1\r\n1\r\n")
        time.sleep(0.05)


def dripping_head(write: Write) -> None:
    write(head()[:-2])
    for _ in range(1000):
        write(b"a")
        time.sleep(0.05)


ANSWERS: list[Page] = [whole, chunked, of_unknown_length, slow]
BAD: dict[Page, str] = {
    cut: "was cut off: expected 1,000 bytes, received 10",
    cut_chunk: "was cut off",
    **dict.fromkeys(
        [silent, stalling, dripping, dripping_chunks, dripping_head], "did not answer in time"
    ),
}


def name(page: Page) -> str:
    return page.__name__


PAGES = {f"/{name(page)}": page for page in (*ANSWERS, *BAD)}


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):  # it was given up
            PAGES[self.path](self.wfile.write)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(_Handler) as url:
        yield url


@pytest.mark.parametrize("page", ANSWERS)
def test_what_is_whole_is_read(page: Page, server: str) -> None:
    url = f"{server}/{name(page)}"
    assert len(read(url, 1_000_000, "image", TIMEOUT)) == (500_000 if page is slow else 10)


@pytest.mark.parametrize("page", BAD)
def test_what_is_not_is_given_up_in_time(page: Page, server: str) -> None:
    url = f"{server}/{name(page)}"
    started = time.monotonic()
    with pytest.raises(MediaError) as error:
        read(url, 1_000_000, "image", TIMEOUT)
    assert BAD[page] in str(error.value)
    assert str(error.value).startswith(f"the image '{url}' ")
    assert time.monotonic() - started < 10 * TIMEOUT


def test_no_more_is_read_than_may_be(server: str) -> None:
    with pytest.raises(MediaError, match=r"more bytes than the limit of 5 \(image_bytes\)"):
        read(f"{server}/whole", 5, "image", TIMEOUT)
