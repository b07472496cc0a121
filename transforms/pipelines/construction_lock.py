"""Keeping computation apart from the moments in which a model is constructed.

transformers constructs a model under torch's default dtype set to the model's own: for the whole
process. A tensor that another thread makes at that moment has the wrong dtype, and a model that
another thread constructs is of two dtypes. So every thread holds `computing` while it computes;
one model is constructed at a time, and where that changes the default dtype, it waits until no
thread computes. It takes milliseconds: weights are read after it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class _Computing:
    """Held, by any number of threads at once, while tensors are made."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        #: How many times over each thread holds it.
        self._holders: dict[int, int] = {}
        #: The thread that constructs a model.
        self._constructing: int | None = None
        #: Whether that thread keeps all others from computing.
        self._excluding = False

    def __enter__(self) -> None:
        thread = threading.get_ident()
        with self._change:
            while self._excluded(thread):
                self._change.wait()
            self._holders[thread] = self._holders.get(thread, 0) + 1

    def _excluded(self, thread: int) -> bool:
        constructs = self._constructing == thread
        return self._excluding and not constructs and thread not in self._holders

    def __exit__(self, *exception: object) -> None:
        thread = threading.get_ident()
        with self._change:
            self._holders[thread] -= 1
            if not self._holders[thread]:
                del self._holders[thread]
            if self._excluding:
                self._change.notify_all()

    @contextlib.contextmanager
    def constructing(self) -> Iterator[None]:
        """One thread at a time. A model may construct others, and so may a thread that computes."""
        thread = threading.get_ident()
        if self._constructing == thread:
            yield
            return
        with self._change:
            held = self._holders.pop(thread, 0)
            self._change.notify_all()
            while self._constructing is not None:
                self._change.wait()
            self._constructing = thread
        try:
            yield
        finally:
            with self._change:
                self._constructing = None
                if held:
                    self._holders[thread] = held
                self._change.notify_all()

    @contextlib.contextmanager
    def excluded(self) -> Iterator[None]:
        """No other thread computes in here; only within `constructing`."""
        if self._excluding:  # by this thread, which constructs a model within a model
            yield
            return
        with self._change:
            self._excluding = True
            while self._holders:
                self._change.wait()
        try:
            yield
        finally:
            with self._change:
                self._excluding = False
                self._change.notify_all()


computing = _Computing()
