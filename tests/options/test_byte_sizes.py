"""Numbers of bytes as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from transforms.options.byte_sizes import byte_count, size_text


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (1, 1),
        ("7", 7),
        ("20GB", 20 * 10**9),
        ("20 G", 20 * 10**9),
        ("1.5kB", 1500),
        ("1KB", 1000),
        ("8GiB", 8 * 2**30),
        ("512 KiB", 512 * 2**10),
    ],
)
def test_sizes(given: Any, count: int) -> None:
    assert byte_count("limit", given) == count


@pytest.mark.parametrize("given", [0, -1, True, 1.5, None, "", "0GB", "GB", "2 XB", "-1GB", b"1"])
def test_what_is_no_size(given: Any) -> None:
    with pytest.raises(ValueError, match=r"limit must be a number of bytes, .*'20GB', got"):
        byte_count("limit", given)


@pytest.mark.parametrize(
    ("count", "text"),
    [(12, "12 bytes"), (1500, "1.5 kB"), (20e9, "20.0 GB"), (3.2e13, "32.0 TB")],
)
def test_for_people(count: float, text: str) -> None:
    assert size_text(count) == text
