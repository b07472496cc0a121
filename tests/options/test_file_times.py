"""The time of a file's last change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from transforms.options.file_times import changed

_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "info",
    [
        {"mtime": _TIME.timestamp(), "created": 1.0},
        {"LastModified": _TIME},
        {"last_modified": _TIME.replace(tzinfo=None)},
        {"updated": "2026-01-02T03:04:05+00:00"},
        {"mtime": None, "updated": "yesterday", "created": int(_TIME.timestamp())},
    ],
    ids=str,
)
def test_each_system_says_it_in_its_way(info: dict[str, Any]) -> None:
    assert changed(info) == _TIME.timestamp()


def test_some_do_not_say_it() -> None:
    assert changed({"size": 3, "updated": "yesterday"}) is None
