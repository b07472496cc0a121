"""The revived tasks as transforms: 4.57's recorded answers in any batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from cases import BATCHES, COMPOSED, arranged
from packaging.version import Version
from support import models, recorded_cases
from support.recorded_cases import CASES, RecordedCase, answers_to, difference, name_of, plain

from pipelines_beam import pipeline

Run = Callable[..., list[Any]]


def _asked(case: RecordedCase) -> list[int]:
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


# Keywords of the constructor rank differently from a call's, and a transform has calls only.
HELD = [case for case in CASES if not case.constructor and _asked(case)]


@pytest.mark.filterwarnings("ignore:generation stops at the first token")
@pytest.mark.parametrize(("batch", "order"), COMPOSED)
@pytest.mark.parametrize("case", HELD, ids=name_of)
def test_answers_are_those_of_4_57_in_any_batch(
    case: RecordedCase, batch: str, order: str, tmp_path_factory: pytest.TempPathFactory, run: Run
) -> None:
    if case.model.startswith("git") and Version(transformers.__version__) < Version("5.23"):
        pytest.skip("GIT itself answers otherwise in these versions of transformers")
    root = tmp_path_factory.getbasetemp() / "revived"
    root.mkdir(exist_ok=True)
    directory: Path = recorded_cases.directory(case, root, models.build)
    recorded = json.loads(recorded_cases.ANSWERS.read_text(encoding="utf-8"))
    expected = answers_to(case, recorded)
    transform = pipeline(
        case.task, str(directory), keyed=True, batch_size=BATCHES[batch], **case.parameters
    )
    asked = [(i, recorded_cases.ready(case.inputs[i])) for i in _asked(case)]

    found = run([pair for _, pair in arranged(asked, order)], transform)

    assert sorted(i for i, _ in found) == _asked(case)
    for i, result in found:
        assert difference(plain(result.inference), expected[i]) is None


def test_most_cases_are_held() -> None:
    assert len(HELD) > 0.7 * len(CASES)
