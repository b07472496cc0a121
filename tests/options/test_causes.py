"""Errors, and what caused them."""

from __future__ import annotations

from transforms.options.causes import causes, is_caused_by


def caught() -> Exception:
    """A RuntimeError from a KeyError from an OSError."""
    try:
        try:
            try:
                raise OSError
            except OSError as error:
                raise KeyError from error
        except KeyError as error:
            raise RuntimeError from error
    except RuntimeError as error:
        return error


def test_the_innermost_is_the_last() -> None:
    assert [type(each) for each in causes(caught())] == [RuntimeError, KeyError, OSError]
    assert list(causes(None)) == []


def test_what_is_among_them() -> None:
    assert is_caused_by(caught(), OSError)
    assert is_caused_by(caught(), RuntimeError)
    assert not is_caused_by(caught(), ValueError)
