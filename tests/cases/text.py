"""The cases of the text tasks."""

from __future__ import annotations

from typing import Any

from support.texts import CORPUS

CHATS: list[Any] = [[{"role": "user", "content": text}] for text in CORPUS[:6]] + [
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "The"}]
]
TABLES = [
    {"table": {"name": names, "year": years}, "query": query}
    for names, years, query in (
        (["Ada", "Alan", "Grace"], ["1815", "1912", "1906"], "When was Ada born?"),
        (["Berlin"], ["1237"], "Which city is the oldest of all that are in this table?"),
        (["a", "b", "c", "d"], ["1", "2", "3", "4"], "How many?"),
    )
]
