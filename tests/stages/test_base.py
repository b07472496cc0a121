"""The base of the stages: failures in an output of their own, results in their own windows."""

from __future__ import annotations

import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import IntervalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipelines_beam import ElementError
from transforms.engine.errors import EngineError
from transforms.options.spec import ModelSpec, Spec
from transforms.stages import metrics
from transforms.stages.base import FAILED, StageFn, with_own_windows

SPEC = Spec(model=ModelSpec(task="text-classification", source="org/model"))
WINDOWS = (IntervalWindow(0, 10), IntervalWindow(5, 15))


class Stage(StageFn):
    stage = "forward"


def in_windows(value: object, windows: tuple[IntervalWindow, ...] = WINDOWS) -> WindowedValue:
    return WindowedValue(value, 7, windows)


def test_a_failure_is_a_row_in_the_windows_of_its_element() -> None:
    metrics.reset()
    place = in_windows("a", WINDOWS[:1])
    output = Stage(SPEC, handles_failures=True)._failed("a", place, ValueError("bad"), 2)
    assert isinstance(output, TaggedOutput)
    assert output.tag == FAILED
    assert (output.value.timestamp, output.value.windows) == (place.timestamp, place.windows)
    row = output.value.value
    assert (row.element, row.stage, row.error, row.attempts) == ("a", "forward", "ValueError", 2)
    assert metrics.counts().failed == 1


def test_a_failure_that_is_not_handled_names_its_element() -> None:
    stage = Stage(SPEC, handles_failures=False)
    with pytest.raises(
        ElementError, match=r"text-classification: preprocess failed .* 'a'"
    ) as raised:
        stage._failed("a", in_windows("a"), ValueError("bad"), stage="preprocess")
    assert isinstance(raised.value.__cause__, ValueError)


def test_an_error_that_ends_the_job_is_no_row() -> None:
    with pytest.raises(EngineError, match="gone"):
        Stage(SPEC, handles_failures=True)._failed("a", in_windows("a"), EngineError("gone"))


def test_outputs_of_earlier_elements_keep_their_windows() -> None:
    """Beam multiplies the windows of an output by the number of the current element's."""
    earlier = [in_windows("a", WINDOWS[:1]), TaggedOutput(FAILED, in_windows("b"))]
    kept, failed = with_own_windows(earlier, in_windows("current"))
    assert kept.windows * 2 == WINDOWS[:1]
    assert failed.value.windows * 2 == WINDOWS
    assert with_own_windows(earlier, in_windows("current", WINDOWS[:1])) is earlier
