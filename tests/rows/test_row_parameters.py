"""Parameters of generation in the columns of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms.rows.row_parameters import RowParameters


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("temperature", 2.0, 2.0),
        ("temperature", np.float32(2), 2.0),
        ("top_p", 1, 1.0),
        ("max_new_tokens", 5.0, 5),
        ("seed", np.int8(3), 3),
    ],
)
def test_a_number_has_the_type_that_generate_takes(name: str, cell: Any, value: Any) -> None:
    found = RowParameters({name: "own"}).of({"own": cell})[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("cell", [None, float("nan"), np.float32("nan")])
def test_what_is_missing_is_left_out(cell: Any) -> None:
    assert RowParameters({"temperature": "own", "seed": "own"}).of({"own": cell}) == {}


@pytest.mark.parametrize("cell", [0.0, 1e-45, float("inf"), 10**400, -1])
def test_a_temperature_that_gives_no_probabilities_is_refused(cell: Any) -> None:
    with pytest.raises(ValueError, match="column 'own': temperature must be a number from 1e-06"):
        RowParameters({"temperature": "own"}).of({"own": cell})
