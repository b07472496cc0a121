"""Parameters of generation that each row has for itself, in columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..options.nested import plain
from ..options.shown import shown, typed
from ..options.suggest import unknown
from ..tasks.parameter_checks import is_number, whole
from ..tasks.text_checks import Check, texts
from .row_types import fits


def _number(least: float, most: float, *, above: bool = False) -> Check:
    """A check for a number from `least` to `most`; `above`: greater than `least`."""

    def check(name: str, value: Any) -> None:
        if not is_number(value):
            raise TypeError(f"{name} must be a number, got {typed(value)}")
        if not (least < value <= most if above else least <= value <= most):
            start = "above" if above else "from"
            raise ValueError(
                f"{name} must be a number {start} {least:g} to {most:g}, got {typed(value)}"
            )

    return check


#: The parameters that may differ from row to row, each with its check and the types of a column.
#: They are what is decided for each row of a batch, and each token, by itself.
ROW_PARAMETERS: Mapping[str, tuple[Check, tuple[type, ...]]] = {
    "max_new_tokens": (whole(1), (int,)),
    # Scores that are divided by less, or by more, may be no numbers in float32.
    "temperature": (_number(1e-6, 1e38), (int, float)),
    "top_k": (whole(0), (int,)),
    "top_p": (_number(0, 1, above=True), (int, float)),
    "min_p": (_number(0, 1), (int, float)),
    "stop_strings": (texts, (str, list)),
    "seed": (whole(0), (int,)),
}
#: Names in other libraries, with the name here.
_OTHER_NAMES = {"stop": "stop_strings", "max_tokens": "max_new_tokens"}


@dataclass(frozen=True)
class RowParameters:
    """The columns of parameters that each row has for itself, by the parameters' names.

    Raises TypeError for what is no such mapping, or a parameter that all rows have in common.
    """

    columns: Mapping[str, str]

    def __post_init__(self) -> None:
        if not isinstance(self.columns, Mapping) or not self.columns:
            raise TypeError(
                "parameters must be a mapping from names of parameters to columns, got "
                f"{typed(self.columns)}"
            )
        for name, column in self.columns.items():
            if name not in ROW_PARAMETERS:
                other = _OTHER_NAMES.get(name)
                hint = None if other is None else f"Did you mean {other!r}?"
                raise TypeError(
                    f"parameters: {unknown('parameter', name, ROW_PARAMETERS, hint=hint)}"
                )
            if not isinstance(column, str) or not column:
                raise TypeError(
                    f"parameters: {name} must be the name of a column, got {typed(column)}: a "
                    f"value that all rows have in common is given as {name}={shown(column)}"
                )

    def check_types(self, fields: Mapping[str, Any]) -> None:
        """Raises ValueError for rows that lack a column, or have one of a wrong type."""
        for name, column in self.columns.items():
            if column not in fields:
                raise ValueError(f"parameters: {unknown('column', column, fields)}")
            kinds = ROW_PARAMETERS[name][1]
            if not fits(fields[column], kinds):
                accepted = " or ".join(kind.__name__ for kind in kinds)
                raise ValueError(
                    f"parameters: the column {column!r} has the type {fields[column]!r:.200}, and "
                    f"{name} must be {accepted}"
                )

    def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a row, given its cells by column; those that are None are left out.

        Raises TypeError or ValueError for a row that lacks a column, or has a value that is not
        valid.
        """
        found = {}
        for name, column in self.columns.items():
            if column not in row:
                raise TypeError(f"parameters: {unknown('column', column, map(str, row))}")
            check, kinds = ROW_PARAMETERS[name]
            value = _whole(plain(row[column]))
            if value is None:
                continue
            try:
                check(name, value)
            except (TypeError, ValueError) as error:
                raise type(error)(f"column {column!r}: {error}") from None
            # `generate` refuses a temperature that is an integer.
            found[name] = float(value) if float in kinds else value
        return found


def _whole(value: Any) -> Any:
    """An integer for a float of the same value: pandas has floats in columns with None."""
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return None  # pandas' None
    return int(value) if value.is_integer() else value
