"""The cases of tasks that transformers 5 dropped: compared with what 4.57 answered."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import transformers
from packaging.version import Version
from support import comparing, record_images, recorded_cases
from support.pictures import PICTURES
from support.recorded_cases import RecordedCase

from cases.case import Case, Model


def asked(case: RecordedCase) -> list[int]:
    """The inputs that a transform takes: texts, images, and questions about them."""
    return [i for i, value in enumerate(case.inputs) if _is_taken(value)]


def _is_taken(value: Any) -> bool:
    if not isinstance(value, dict) or "picture" in value:
        return isinstance(value, str | dict)
    if value.keys() == {"question", "image"}:
        return True
    return value.keys() == {"question", "context"} and all(
        isinstance(text, str) for text in value.values()
    )


@functools.cache
def answers() -> list[Any]:
    """Everything that is recorded of texts."""
    found: list[Any] = json.loads(recorded_cases.ANSWERS.read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True, eq=False)
class Recorded(Case):
    """As 4.57 answered, to the type."""

    #: The answers.
    recorded: Sequence[Any] = field(default=(), kw_only=True)

    marks: ClassVar[Sequence[Any]] = (
        pytest.mark.filterwarnings("ignore:generation stops at the first token"),
    )

    def reference(self, model: Model) -> list[Any]:
        return list(self.recorded)

    def same(self, expected: Any, found: Any) -> bool:
        return recorded_cases.difference(recorded_cases.plain(found), expected) is None


@dataclass(frozen=True, eq=False)
class OfGit(Recorded):
    """Of a model that itself answers otherwise in older versions of transformers."""

    marks: ClassVar[Sequence[Any]] = (
        *Recorded.marks,
        pytest.mark.skipif(
            Version(transformers.__version__) < Version("5.23"),
            reason="GIT itself answers otherwise in these versions of transformers",
        ),
    )


def as_case(case: RecordedCase) -> Recorded:
    """The case as a transform is asked it."""
    chosen, recorded = asked(case), recorded_cases.answers_to(case, answers())
    return (OfGit if case.model.startswith("git") else Recorded)(
        case.task,
        case.model,
        case.parameters,
        [recorded_cases.ready(case.inputs[i]) for i in chosen],
        files=case.files,
        largest=2 if case.model.endswith("vqa") else 3,  # questions of one length
        recorded=[recorded[i] for i in chosen],
    )


@dataclass(frozen=True, eq=False)
class RecordedImages(Case):
    """Images may differ by a grey level."""

    inputs: Sequence[Any] = tuple(PICTURES)

    def reference(self, model: Model) -> list[Any]:
        return [answer.convert("RGB") for answer in record_images.recorded()]

    def same(self, expected: Any, found: Any) -> bool:
        return comparing.equal(expected, found)

    def tells_apart(self, answers: Sequence[Any]) -> bool:
        return all(np.asarray(answer).std() > 5 for answer in answers)


# Keywords of the constructor rank differently from a call's, and a transform has calls only.
HELD = [case for case in recorded_cases.CASES if not case.constructor and asked(case)]
CASES: list[Case] = [
    *map(as_case, HELD),
    RecordedImages("image-to-image", "swin2sr"),
]
