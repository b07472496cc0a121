"""The results of every task can be shown, with values made of the types of its columns."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pictures import film, picture
from support.reports import output_of
from support.sounds import RATE, sound

from pipelines_beam.io.output import Output
from pipelines_beam.report import Report, gallery
from pipelines_beam.report.examples import Subject, examples
from pipelines_beam.report.parts import Note
from transforms.rows.files import png, wav
from transforms.tasks import TASKS
from transforms.tasks.columns import Audio, Image

_BOX = {"xmin": 1, "ymin": 2, "xmax": 30, "ymax": 20}
#: Of fields that must fit each other.
_FIELDS = {
    "start": 0,
    "end": 3,
    "timestamp": [0.0, None],
    "box": _BOX,
    "bounding_boxes": [[1.0, 2.0, 30.0, 20.0]],
}


def _file(kind: Any) -> dict[str, Any]:
    if kind in ("audio", Audio):
        return {"bytes": wav(sound("hum", 0.5), RATE), "path": None}
    if kind == "video":
        return {"bytes": film("clip", 8, 64, 48), "path": None}
    return {"bytes": png(picture("cat", 64, 48)), "path": None}


def _value(kind: Any, name: str = "") -> Any:
    """A value of a type, as Arrow gives it."""
    if name in _FIELDS:
        return _FIELDS[name]
    if kind in (Image, Audio):
        return _file(kind)
    if hasattr(kind, "_fields"):
        return {n: _value(each, n) for n, each in typing.get_type_hints(kind).items()}
    arguments = [each for each in typing.get_args(kind) if each is not type(None)]
    if typing.get_origin(kind) is typing.Union:
        return _value(arguments[0])
    if arguments:
        return [_value(arguments[-1])]
    return {str: "text", float: 0.5, int: 1, np.float32: 0.5}.get(kind, "text")


def _input(name: str, kind: str) -> Any:
    kind = kind.removeprefix("chat_")
    if kind == "images":
        return [_file("image")] * 2
    return _file(kind) if kind in ("image", "audio", "video") else f"a {name}"


def _choices(task: str) -> list[Mapping[str, Any]]:
    return [{}, *({name: value} for name, value in TASKS[task].choices.items())]


@pytest.mark.parametrize("name", TASKS)
def test_the_results_of_a_task_are_shown(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    for i, parameters in enumerate(_choices(name)):
        inputs = {each: f"{each} column" for each in task.inputs}
        row = {f"{each} column": _input(each, task.media.get(each, "")) for each in task.inputs}
        columns = task.columns(parameters)
        row |= {each: _value(kind, each) for each, kind in columns.items()}
        output = output_of(tmp_path / f"out{i}", name, inputs, [row])
        subject = Subject.of(Output(output))
        (card,) = gallery.cards(examples(Output(output), subject), subject)
        notes = [each for each in (*card.inputs, *card.results) if isinstance(each, Note)]
        assert not notes
        assert card.results
        assert f"<h1>{name}</h1>" in Report(output).html
