"""Labels on texts and pictures: the same label has the same colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .parts import COLOURS, Box, Key, Marked, Span
from .texts import LONGEST, SHORT, cut, visible

_MOST_MARKS = 40
_MOST_LABEL = 60  # characters


def colours(labels: Iterable[Any]) -> dict[Any, int]:
    """A colour for each label, in the order in which they come."""
    return {label: i % COLOURS for i, label in enumerate(dict.fromkeys(labels))}


def score_of(found: Mapping[str, Any]) -> str:
    """A score as text; "" where there is none."""
    score = found.get("score")
    return "" if score is None else f"{score:.2f}"


def keys(found: Sequence[Mapping[str, Any]], colour_of: Mapping[Any, int]) -> list[Key]:
    """A key for each label, with how often it is there and the range of its scores."""
    return [Key(cut(label, _MOST_LABEL), _about(found, label), c) for label, c in colour_of.items()]


def _about(found: Sequence[Mapping[str, Any]], label: Any) -> str:
    scores = [score_of(each) for each in found if each["label"] == label]
    known = sorted(filter(None, scores))
    span = " to ".join(dict.fromkeys((known[0], known[-1]))) if known else ""
    return f"{len(scores)} of them {span}".rstrip() if len(scores) > 1 else span


def box(corners: Mapping[str, float], scale: float, colour: int) -> Box:
    """A box in pixels of a picture that is `scale` as large."""
    x, y = corners["xmin"] * scale, corners["ymin"] * scale
    width, height = corners["xmax"] * scale - x, corners["ymax"] * scale - y
    return Box(round(x, 1), round(y, 1), round(max(width, 1), 1), round(max(height, 1), 1), colour)


def marked(name: str, text: str, found: Sequence[Mapping[str, Any]]) -> Marked:
    """A text with spans of it marked, each given as {"start", "end", "score"} and its label.

    Left out are spans behind what is shown of the text, and those that overlap earlier ones.
    """
    shown = list(_without_overlaps(found))[:_MOST_MARKS]
    colour_of = colours(map(_kind, shown))
    spans: list[Span] = []
    at = 0
    for each in shown:
        start, end = each["start"], min(each["end"], each["start"] + SHORT)
        spans.append(Span(visible(text[at:start])))
        label = cut(_label(each), _MOST_LABEL)
        spans.append(Span(visible(text[start:end]), label, score_of(each), colour_of[_kind(each)]))
        at = end
    spans.append(Span(cut(text[at:], max(LONGEST - at, 1))))
    return Marked(name, [span for span in spans if span.text], len(found) - len(shown))


def _without_overlaps(found: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    at = 0
    for each in sorted(found, key=lambda each: int(each["start"])):
        if at <= each["start"] < LONGEST and each["end"] > each["start"]:
            yield each
            at = each["end"]


def _label(found: Mapping[str, Any]) -> str:
    return str(found.get("entity_group") or found.get("entity") or found.get("label"))


def _kind(found: Mapping[str, Any]) -> str:
    """The label without the sign of where a word stands in its entity."""
    return _label(found).removeprefix("B-").removeprefix("I-")
