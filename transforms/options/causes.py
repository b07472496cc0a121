"""Errors, and what caused them."""

from __future__ import annotations

from collections.abc import Iterator


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, then what caused it, the innermost last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether an error, or anything that caused it, is of a class."""
    return any(isinstance(each, kind) for each in causes(error))
