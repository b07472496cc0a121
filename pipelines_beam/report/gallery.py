"""Examples as people want to see them: what is shown follows the task and its columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from transforms.media.fetch import MediaError

from . import marks, media
from .examples import Example, Subject
from .media import Budget
from .parts import (
    COLOURS,
    Bar,
    Bars,
    Card,
    Key,
    Note,
    Part,
    Picture,
    Sound,
    Table,
    Text,
    Vector,
)
from .texts import LONGEST, SHORT, brief, cut, number

_MOST_BARS, _MOST_BOXES, _MOST_ROWS, _MOST_VALUES = 5, 12, 12, 64
_MOST_IMAGES = 3  # of one row
_MOST_COLUMNS, _MOST_NAME = 8, 60  # of other tables; characters of their names
_NEAR = 2


def cards(examples: Sequence[Example], subject: Subject) -> list[Card]:
    """Examples with their inputs and results."""
    budget = Budget()
    near = _neighbours(examples)
    return [
        Card(each.place, *_Shown(each, subject, budget, near.get(i, ())).parts())
        for i, each in enumerate(examples)
    ]


class _Shown:
    """The parts of an example."""

    def __init__(
        self,
        example: Example,
        subject: Subject,
        budget: Budget,
        near: Sequence[tuple[str, str]],
    ) -> None:
        self._example = example
        self._media = subject.task.media
        self._budget = budget
        self._near = near
        #: Columns that are shown together with another.
        self._used: set[str] = set()
        #: Inputs that a result shows.
        self._inside: set[str] = set()

    def parts(self) -> tuple[list[Part], list[Part]]:
        """Those of the inputs and those of the results."""
        results = list(self._results())
        inputs = [
            self._input(name, value)
            for name, value in self._example.inputs.items()
            if name not in self._inside and value is not None
        ]
        return inputs, results

    def _input(self, name: str, value: Any) -> Part:
        kind = self._media.get(name, "").removeprefix("chat_")
        is_list = isinstance(value, list)
        if kind == "images":
            return self._medium(name, kind, value if is_list else [value])
        if kind in ("image", "audio", "video") and not is_list:
            return self._medium(name, kind, value)
        return Text(name, brief(value, LONGEST))

    def _medium(self, label: str, kind: str, value: Any) -> Part:
        try:
            self._budget.check()
            if kind == "audio":
                return Sound(label, *media.sound(value, self._budget))
            if kind == "video":
                return self._strip(label, media.frames(value), value)
            if kind == "images":
                return self._strip(label, list(map(media.picture, value[:_MOST_IMAGES])), value[0])
            name = media.name_of(value)
            image = media.small(media.picture(value))
            return self._picture(label, image, f"input {name}", caption=_last(name))
        except (MediaError, ImportError, OSError, ValueError) as error:
            return Note(label, f"{media.name_of(value)}: {cut(error, SHORT)}")

    def _picture(self, label: str, image: Any, alt: str, **over: Any) -> Picture:
        uri = media.picture_uri(image, self._budget)
        return Picture(label, uri, image.width, image.height, alt, **over)

    def _strip(self, label: str, images: Sequence[Any], source: Any) -> Picture:
        """Several images side by side: frames of a video, or images of one row."""
        name = media.name_of(source)
        alt = f"{len(images)} images of {name}"
        return self._picture(label, media.side_by_side(images), alt, caption=_last(name))

    def _results(self) -> Iterator[Part]:
        """The parts of the results, in the order of the columns."""
        cells = {name: each for name, each in self._example.results.items() if each is not None}
        shown = {name: self._result(name, cells[name]) for name in cells if name in _BY_COLUMN}
        for name, value in cells.items():
            if name not in self._used:
                yield shown[name] if name in shown else self._other(cut(name, _MOST_NAME), value)

    def _result(self, name: str, value: Any) -> Part:
        """What a column of a task is shown with; it may show others, too."""
        try:
            return _BY_COLUMN[name](self, name, value)
        except (MediaError, ImportError, OSError, ValueError, TypeError, KeyError) as error:
            return Note(name, f"{type(error).__name__}: {cut(error, SHORT)}")

    def _label(self, name: str, value: Any) -> Part:
        self._used.add("score")
        return Bars(name, _bars([(value, self._example.results.get("score"))]))

    def _labels(self, name: str, value: Any) -> Part:
        self._used |= {"scores", "sequence"}
        return _scored(name, list(zip(value, self._example.results["scores"], strict=True)))

    def _predictions(self, name: str, value: Any) -> Part:
        label = (
            next((n for n in ("label", "sequence", "answer") if n in value[0]), "") if value else ""
        )
        if not label:
            return self._other(name, value)
        return _scored(name, [(each[label], each.get("score")) for each in value])

    def _answer(self, name: str, value: Any) -> Part:
        """A span of the context, marked in it where its place is known."""
        results = self._example.results
        self._used |= {"score", "start", "end"} & results.keys()
        context = self._example.inputs.get("context")
        if isinstance(context, str) and isinstance(results.get("start"), int):
            self._inside.add("context")
            span = {name: results.get(name) for name in ("start", "end", "score")}
            return marks.marked("answer in the context", context, [{**span, "label": "answer"}])
        return (
            Bars(name, _bars([(value, results["score"])]))
            if "score" in results
            else _text(name, value)
        )

    def _entities(self, name: str, value: Any) -> Part:
        text = self._example.inputs.get("text")
        if not isinstance(text, str) or any(each.get("start") is None for each in value):
            return self._other(name, value)
        self._inside.add("text")
        return marks.marked(name, text, value)

    def _objects(self, name: str, value: Any) -> Part:
        image = self._image()
        shown = media.small(image)
        scale = shown.width / image.width
        some = value[:_MOST_BOXES]
        colours = marks.colours(each["label"] for each in some)
        boxes = [marks.box(each["box"], scale, colours[each["label"]]) for each in some]
        return self._picture(
            name,
            shown,
            **self._said(f"{len(value)} objects"),
            boxes=boxes,
            keys=marks.keys(some, colours),
            more=len(value) - len(some),
        )

    def _segments(self, name: str, value: Any) -> Part:
        image, some = self._image(), value[:_MOST_BOXES]
        colours = [i % COLOURS for i in range(len(some))]
        shown = media.with_masks(image, [each["mask"] for each in some], colours)
        keys = [
            Key(cut(each["label"], 60), marks.score_of(each), colour)
            for each, colour in zip(some, colours, strict=True)
        ]
        said = self._said(f"{len(value)} segments")
        return self._picture(name, shown, **said, keys=keys, more=len(value) - len(some))

    def _masks(self, name: str, value: Any) -> Part:
        scores = self._example.results.get("scores") or [None] * len(value)
        self._used |= {"scores", "rle_mask"}
        named = [
            {"label": f"mask {i + 1}", "score": score, "mask": mask}
            for i, (mask, score) in enumerate(zip(value, scores, strict=True))
        ]
        return self._segments(name, named)

    def _image(self) -> Any:
        """The image that the task was given, to show results on. Raises MediaError."""
        self._budget.check()
        image = media.picture(self._example.inputs.get("image"))
        self._inside.add("image")
        return image

    def _said(self, what: str) -> dict[str, str]:
        """What a picture of results on the input is called."""
        name = media.name_of(self._example.inputs.get("image"))
        return {"alt": f"{what} in {name}", "caption": _last(name)}

    def _picture_of(self, name: str, value: Any) -> Part:
        self._used.add("predicted_depth")
        try:
            self._budget.check()
            alt = f"{name} of this row"
            return self._picture(name, media.small(media.picture(value)), alt)
        except MediaError as error:
            return Note(name, str(error))

    def _sound_of(self, name: str, value: Any) -> Part:
        self._used.add("sampling_rate")
        return self._medium(name, "audio", value)

    def _chunks(self, name: str, value: Any) -> Part:
        rows = [[_times(each.get("timestamp")), cut(each["text"], SHORT)] for each in value]
        return Table(name, ["seconds", "text"], rows[:_MOST_ROWS], max(0, len(rows) - _MOST_ROWS))

    def _vector(self, name: str, value: Any) -> Part:
        values = np.asarray(value, np.float64)
        if values.ndim > 1:  # of each token or patch
            about = " x ".join(f"{each:,}" for each in values.shape)
            return Text(name, f"{about} numbers, from {values.min():.3g} to {values.max():.3g}")
        about = f"{len(values):,} numbers, length {np.linalg.norm(values):.3g}"
        return Vector(name, about, _columns(values[:_MOST_VALUES]), self._near)

    def _other(self, name: str, value: Any) -> Part:
        if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            names = list(value[0])[:_MOST_COLUMNS]
            rows = [[brief(each.get(n), 80) for n in names] for each in value[:_MOST_ROWS]]
            heads = [cut(n, _MOST_NAME) for n in names]
            return Table(name, heads, rows, max(0, len(value) - _MOST_ROWS))
        return _text(name, value)


Shows = Callable[[_Shown, str, Any], Part]
#: How a column is shown; a text, a table or JSON where nothing is said here.
_BY_COLUMN: Mapping[str, Shows] = {
    "label": _Shown._label,
    "labels": _Shown._labels,
    "predictions": _Shown._predictions,
    "answers": _Shown._predictions,
    "answer": _Shown._answer,
    "entities": _Shown._entities,
    "objects": _Shown._objects,
    "segments": _Shown._segments,
    "masks": _Shown._masks,
    "image": _Shown._picture_of,
    "depth": _Shown._picture_of,
    "audio": _Shown._sound_of,
    "generated_audio": _Shown._sound_of,
    "chunks": _Shown._chunks,
    "embedding": _Shown._vector,
    "features": _Shown._vector,
}


def _text(name: str, value: Any) -> Text:
    return Text(name, brief(value, LONGEST).strip(" "))  # transcripts begin with a blank


def _last(name: str) -> str:
    """The last part of a path."""
    return name.rpartition("/")[2] or name


def _scored(name: str, found: Sequence[tuple[Any, Any]]) -> Bars:
    bars = _bars(found[:_MOST_BARS])
    return Bars(name, bars, len(found) - len(bars))


def _bars(found: Sequence[tuple[Any, Any]]) -> list[Bar]:
    """Labels with bars as long as their scores, relative to 1 or to the largest."""
    scores = [0.0 if each is None or not math.isfinite(each) else float(each) for _, each in found]
    largest = max(1.0, *map(abs, scores)) if scores else 1.0
    return [
        Bar(
            cut(label, 80),
            "" if given is None else f"{given:.3f}",
            round(100 * abs(score) / largest, 1),
        )
        for (label, given), score in zip(found, scores, strict=True)
    ]


def _times(timestamp: Any) -> str:
    start, end = timestamp or (None, None)
    return " to ".join("?" if each is None else number(float(each)) for each in (start, end))


def _columns(values: np.ndarray[Any, Any]) -> list[tuple[float, float]]:
    """(top, height) of the bars of some numbers around their zero line, in percent."""
    largest = float(np.nanmax(np.abs(values), initial=1e-12))
    heights = np.nan_to_num(np.abs(values) / largest) * 50
    tops = np.where(values >= 0, 50 - heights, 50)
    return [(round(float(t), 1), round(float(h), 1)) for t, h in zip(tops, heights, strict=True)]


def _neighbours(examples: Sequence[Example]) -> dict[int, list[tuple[str, str]]]:
    """The examples whose embeddings are most alike, by the number of an example."""
    cells = ((i, each.results.get("embedding")) for i, each in enumerate(examples))
    found = [(i, each) for i, each in cells if isinstance(each, list) and each]
    if len(found) <= _NEAR or len({len(each) for _, each in found}) > 1:
        return {}
    matrix = np.nan_to_num(np.asarray([each for _, each in found], np.float64))
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    alike = matrix @ matrix.T
    np.fill_diagonal(alike, -2)
    titles = [_title(examples[i]) for i, _ in found]
    return {
        i: [(titles[j], f"{alike[row, j]:.3f}") for j in np.argsort(-alike[row])[:_NEAR]]
        for row, (i, _) in enumerate(found)
    }


def _title(example: Example) -> str:
    return brief(next(iter(example.inputs.values()), example.place), 80)
