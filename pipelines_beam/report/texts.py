"""Texts from data as a page can show them: bounded, and with nothing invisible in them.

The template escapes them; nothing here makes HTML.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from ..readable import bounded

#: Characters of a text of an example, and of one that stands beside others.
LONGEST, SHORT = 700, 200
_MOST_LINES = 16
#: Invisible characters that are part of what they stand in: tab, newline, joiners of emoji and
#: Persian, variation selectors.
_KEPT = frozenset("\t\n\u200c\u200d\ufe0e\ufe0f")
#: Kinds of characters that change how others are shown, or are not shown at all.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MOST_MARKS = 3  # on one letter: more are drawn over the lines above and below


def visible(text: str) -> str:
    """The text with names of control, bidirectional and other invisible characters in it."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for character in text.replace("\r\n", "\n"):
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MOST_MARKS:
            shown.append(_visible(character))
    return "".join(shown)


def _visible(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _HIDDEN:
        return character
    return f"\u27e8U+{ord(character):04X}\u27e9"


def cut(text: Any, longest: int = LONGEST) -> str:
    """At most so many characters and some lines of a text, visible; it says how many more."""
    text = str(text)
    shown = "\n".join(text[:longest].split("\n", _MOST_LINES)[:_MOST_LINES])
    left = len(text) - len(shown)
    return visible(shown) + (f" … {left:,} more characters" if left else "")


def brief(value: Any, longest: int = SHORT) -> str:
    """Any value as a short text."""
    if isinstance(value, str):
        return cut(value, longest)
    return cut(json.dumps(bounded(value), ensure_ascii=False), longest)


def number(value: float) -> str:
    """A number for people: 1,234; 12.3; 0.0123."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def seconds(value: float) -> str:
    """A time for people: 850 ms, 12.3 s, 4 min 10 s, 3 h 12 min."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{int(value // 3600):,} h {int(value % 3600 // 60)} min"
