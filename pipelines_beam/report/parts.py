"""What an example is shown with: texts, marks in texts, bars, pictures, sounds, tables, vectors.

The template has a macro for each, by the name of the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: How many colours there are for labels.
COLOURS = 6


@dataclass(frozen=True)
class Part:
    """One thing that is shown; `label` says what it is."""

    label: str

    @property
    def macro(self) -> str:
        """The name of the template's macro."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Text(Part):
    """A text, cut and visible: see texts.py."""

    text: str


@dataclass(frozen=True)
class Note(Part):
    """Why there is nothing to see."""

    text: str


@dataclass(frozen=True)
class Span:
    """A piece of a text; with a label it is marked."""

    text: str
    label: str = ""
    score: str = ""
    colour: int = 0


@dataclass(frozen=True)
class Marked(Part):
    """A text in which some pieces are marked."""

    spans: Sequence[Span]
    #: How many marks lie behind what is shown.
    more: int = 0


@dataclass(frozen=True)
class Bar:
    """A label with its score."""

    label: str
    score: str
    #: From 0 to 100.
    percent: float


@dataclass(frozen=True)
class Bars(Part):
    """Scores, the best first."""

    bars: Sequence[Bar]
    more: int = 0


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the picture as it is shown."""

    x: float
    y: float
    width: float
    height: float
    colour: int


@dataclass(frozen=True)
class Key:
    """What a colour in a picture means: a label, with how many there are and their scores."""

    label: str
    score: str
    colour: int


@dataclass(frozen=True)
class Picture(Part):
    """An image, with boxes over it."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str = ""
    boxes: Sequence[Box] = ()
    keys: Sequence[Key] = ()
    more: int = 0


@dataclass(frozen=True)
class Sound(Part):
    """An audio player."""

    uri: str
    about: str


@dataclass(frozen=True)
class Table(Part):
    """Rows of texts, under their heads."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: int = 0


@dataclass(frozen=True)
class Vector(Part):
    """An embedding, in numbers and as the bars of its first values."""

    about: str
    #: (top, height) of each bar, in percent of the whole.
    bars: Sequence[tuple[float, float]]
    #: The examples that are most alike: (text, similarity).
    near: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Card:
    """An example: where it is, its inputs and its results."""

    place: str
    inputs: Sequence[Part] = field(default_factory=tuple)
    results: Sequence[Part] = field(default_factory=tuple)
