"""Chats in strings: in JSON, or in what is left of JSON after a conversion too many."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

#: A string that begins otherwise holds no chat: that is decided for every prompt.
_MAY_HOLD_CHAT = re.compile(r"[\s\ufeff]*[\[{(\"']")
_BEGINS_LIKE_CHAT = re.compile(
    r"[\s\ufeff\"']*(?:[\[(][\s\[(]*\{|\{\s*\\*[\"'](?:messages|role|content)\\*[\"']\s*:)"
)
_LAST_COMMA = re.compile(r",(?=\s*[\]}])")
#: Strings with the escapes that Python's repr writes: of others its parser would warn.
_REPR = re.compile(r"(?:[^\\]|\\[\\'\"nrtxuU])*", re.DOTALL)
_DEPTH = 3  # how often a chat may have been encoded

A_CHAT = "a list of messages with role and content"


def may_hold_chat(text: str) -> bool:
    """Whether a string begins with a bracket or quote; one that does not is a prompt."""
    return _MAY_HOLD_CHAT.match(text) is not None


def begins_like_chat(text: str) -> bool:
    """Whether a string begins as a chat does, whatever follows."""
    return _BEGINS_LIKE_CHAT.match(text) is not None


def from_json(text: str) -> Any:
    """What a string holds in JSON, also behind a byte order mark, or encoded more than once.

    Raises ValueError or RecursionError for a string that is not JSON.
    """
    value: Any = text
    for _ in range(_DEPTH):
        if not isinstance(value, str):
            break
        value = json.loads(value.lstrip("\ufeff \t\r\n"))
    return value


def from_other(text: str) -> Any:
    """What a string holds that is nearly JSON: with a last comma, or Python's repr; None if not."""
    text = text.strip("\ufeff \t\r\n")
    try:
        return from_json(_LAST_COMMA.sub("", text))
    except (ValueError, RecursionError):
        pass
    if not _REPR.fullmatch(text):
        return None
    try:
        value = ast.literal_eval(text)
        return from_json(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def is_message(value: Any) -> bool:
    """Whether a value is one message of a chat."""
    return isinstance(value, Mapping) and "role" in value and "content" in value


def is_chat(value: Any) -> bool:
    """Whether a value is a chat."""
    return isinstance(value, list) and len(value) > 0 and all(map(is_message, value))


def chats_of(value: Any) -> Any:
    """The chat, or list of chats, in what a string holds: as it is, or in one of its usual wraps.

    Those are a message alone, and a mapping with nothing but messages. None for all else.
    """
    if is_message(value):
        return [value]
    if isinstance(value, Mapping) and value.keys() == {"messages"}:
        value = value["messages"]
        return value if is_chat(value) else None
    if is_chat(value):
        return value
    several = isinstance(value, list) and len(value) > 0 and all(map(is_chat, value))
    return value if several else None


def looks_like_chat(value: Any, levels: int = 3) -> bool:
    """Whether whoever wrote a value may have meant a chat, or a list of chats.

    It may lack a field or have more. `levels`: how deeply a message may lie in it.
    """
    if isinstance(value, Mapping):
        return is_message(value) or (
            levels > 0 and looks_like_chat(value.get("messages"), levels - 1)
        )
    if not isinstance(value, list | tuple) or not value or not levels:
        return False
    if all(looks_like_chat(each, levels - 1) for each in value):
        return True
    fields = [each.keys() for each in value if isinstance(each, Mapping)]
    has_roles = len(fields) == len(value) and all("role" in names for names in fields)
    return has_roles and any("content" in names for names in fields)
