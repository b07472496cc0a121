"""What is said of a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from .shown import shown

_MOST = 12  # names of a kind that are listed where there are dozens
_NONE: Mapping[str, Iterable[str]] = MappingProxyType({})


def unknown(
    what: str,
    name: object,
    valid: Iterable[str],
    *,
    hint: str | None = None,
    more: Mapping[str, Iterable[str]] = _NONE,
) -> str:
    """An error message for a name that does not exist: the likely one first, then all.

    `hint`: what to do instead, where that is known; `more`: other valid names by their kind,
    of which the likely ones are listed, and the first.
    """
    names = sorted(valid)
    others = {kind: [one for one in each if one not in names] for kind, each in more.items()}
    if hint is None:
        hint = did_you_mean(
            likely(name, [*names, *(one for each in others.values() for one in each)])
        )
    listed = [", ".join(names)] if names else []
    listed += [f"{kind}: {_some(name, each)}" for kind, each in others.items() if each]
    return f"unknown {what} {shown(name)}.{hint and f' {hint}'} Valid: {'; '.join(listed)}"


def did_you_mean(name: str | None) -> str:
    """A hint at a name; empty for None."""
    return "" if name is None else f"Did you mean {name!r}?"


def likely(name: object, valid: Iterable[str]) -> str | None:
    """The name that was meant: the same in another way of writing, or one much like it."""
    plain = {normal(each): each for each in reversed(list(valid))}
    close = difflib.get_close_matches(normal(name), plain, n=1)
    return plain[close[0]] if close else None


def normal(name: object) -> str:
    """A name without what ways of writing differ in."""
    return "".join(letter for letter in str(name).lower() if letter.isalnum())


def _some(name: object, names: list[str]) -> str:
    """The names that are most like one; all of them where they are few."""
    if len(names) <= _MOST:
        return ", ".join(names)
    first = difflib.get_close_matches(str(name), names, n=3)
    rest = [each for each in names if each not in first]
    return f"{', '.join([*first, *rest][:_MOST])}, … ({len(names)} in all)"
