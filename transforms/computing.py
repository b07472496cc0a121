"""Keeping computation apart from the moments in which a model is constructed.

transformers constructs a model under torch's default dtype set to the model's own: for the whole
process. A tensor that another thread makes at that moment has the wrong dtype, and a model that
another thread constructs is of two dtypes. So whoever computes holds `computing`, and a
construction waits until nobody does. It takes milliseconds: weights are read after it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class _Computing:
    """Held, by any number of threads at once, while tensors are made."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._holders: set[int] = set()
        self._constructing: int | None = None  # a thread

    def __enter__(self) -> None:
        with self._change:
            while self._constructing is not None:
                self._change.wait()
            self._holders.add(threading.get_ident())

    def __exit__(self, *exception: object) -> None:
        with self._change:
            self._holders.remove(threading.get_ident())
            if self._constructing is not None:
                self._change.notify_all()

    @contextlib.contextmanager
    def excluded(self) -> Iterator[None]:
        """Nobody else computes in here. A model may construct others; so may who computes."""
        thread = threading.get_ident()
        if self._constructing == thread:
            yield
            return
        with self._change:
            held = thread in self._holders
            self._holders.discard(thread)
            self._change.notify_all()
            while self._constructing is not None:
                self._change.wait()
            self._constructing = thread
            while self._holders:
                self._change.wait()
        try:
            yield
        finally:
            with self._change:
                self._constructing = None
                if held:
                    self._holders.add(thread)
                self._change.notify_all()


computing = _Computing()
