"""Memory that two processes share."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from transforms.engine.process import arena as arena_module

SIZE = 64 * 64


@given(st.lists(st.one_of(st.integers(1, 1500), st.none()), max_size=60), st.randoms())
def test_spans_do_not_overlap_and_all_come_back(steps: list[int | None], random: Any) -> None:
    """A number takes that many bytes, None gives back any."""
    spans = arena_module.Spans(SIZE)
    taken: list[tuple[int, int]] = []
    for step in steps:
        if step is None:
            if taken:
                spans.give(*taken.pop(random.randrange(len(taken))))
        elif (start := spans.take(step)) is not None:
            assert start + step <= SIZE
            assert all(start + step <= a or a + b <= start for a, b in taken)
            taken.append((start, step))
    for span in taken:
        spans.give(*span)
    assert spans.take(SIZE) == 0
