"""Examples on whose media threads work, given back in the order in which they came."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .decoding import map_media

if TYPE_CHECKING:
    from ..tasks import Task


class Work(Protocol):
    """What a thread does to one medium."""

    def done(self) -> bool:
        """Whether it is finished, or has failed."""

    def cancel(self) -> Any:
        """Do not begin, if no thread has."""


W = TypeVar("W", bound=Work)


@dataclass(frozen=True, slots=True)
class Waiting(Generic[W]):
    """An example that is not given back yet."""

    token: Any
    example: Any
    #: What is done to its media.
    work: list[W]
    #: Bytes that it is known to take.
    nbytes: int

    @property
    def is_done(self) -> bool:
        """Whether the work on all of its media is."""
        return all(each.done() for each in self.work)


class InOrder(Generic[W]):
    """Takes examples and gives them back in order, with work in place of media.

    The number of waiting examples is bounded, and so are their bytes: `_full` says how. An example
    without work passes at once, unless an earlier one is still waiting.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._waiting: collections.deque[Waiting[W]] = collections.deque()

    def through(
        self, examples: Iterable[tuple[Any, Any]], last: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """Take (token, example) pairs; yield those on whose media the work is done.

        It blocks when too many examples are waiting; with `last`, until the work on all is done.
        """
        for token, example in examples:
            self._waiting.append(self._begun(token, example))
            while self._waiting and (self._waiting[0].is_done or self._full()):
                yield self._first()
        while self._waiting and (last or self._waiting[0].is_done):
            yield self._first()

    def clear(self) -> None:
        """Drop the waiting examples."""
        for waiting in self._waiting:
            _cancel(waiting.work)
        self._waiting.clear()

    @property
    def _nbytes(self) -> int:
        """Bytes that the waiting examples are known to take."""
        return sum(waiting.nbytes for waiting in self._waiting)

    def _begun(self, token: Any, example: Any) -> Waiting[W]:
        work: list[W] = []

        def begin(kind: str, source: Any) -> Any:
            begun = self._begin(kind, source)
            if begun is None:
                return source
            work.append(begun)
            return begun

        try:
            example = map_media(example, self._task, begin)
        except Exception:  # decoding the example raises it again, and reports it
            _cancel(work)
        return Waiting(token, example, work, self._size(example, work))

    def _first(self) -> tuple[Any, Any]:
        first = self._waiting.popleft()
        self._finish(first.work)
        return first.token, first.example

    def _begin(self, kind: str, source: Any) -> W | None:
        """Have a thread work on a medium; None: it stays as it is."""
        raise NotImplementedError

    def _size(self, example: Any, work: list[W]) -> int:
        """Bytes that an example is known to take."""
        raise NotImplementedError

    def _full(self) -> bool:
        """Whether the first of the waiting examples is to be waited for."""
        raise NotImplementedError

    def _finish(self, work: list[W]) -> None:
        """Wait for the work on an example's media."""
        raise NotImplementedError


def _cancel(work: list[Any]) -> None:
    for each in work:
        each.cancel()
    work.clear()
