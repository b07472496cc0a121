"""What types of elements say of their columns."""

from __future__ import annotations

from typing import Any

import pytest
from apache_beam.typehints import typehints

from transforms.rows.row_types import fields_of, pair_of


@pytest.mark.parametrize("element_type", [None, int, str, list[int], tuple[int, str, str]])
def test_types_that_are_no_rows(element_type: Any) -> None:
    assert fields_of(element_type) is None
    assert pair_of(tuple[int, str]) == (int, str)


def test_a_type_that_python_has_not_says_nothing() -> None:
    assert fields_of(typehints.Collection[str]) is None
    assert pair_of(typehints.Collection[str]) == (typehints.Any, typehints.Any)
