"""Why an element or an engine failed, and how errors cross between processes."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

T = TypeVar("T")

#: What an element failed for: its data; memory or time, in a batch of its own; or the end of the
#: engine's process, which died over it again and again.
Kind = Literal["data", "memory", "timeout", "crash"]


class EngineError(Exception):
    """The engine cannot go on: no element of the job can be answered."""

    @classmethod
    def of(cls, error: BaseException) -> EngineError:
        """The error itself, if it is one of these, or one that it is the cause of."""
        if isinstance(error, EngineError):
            return error
        found = cls(str(error))
        found.__cause__ = error
        return found


class BatchTimeoutError(Exception):
    """An element took longer than `timeout` in a batch of its own."""


class EngineCrashError(Exception):
    """The engine's process died while it computed this element alone."""


class PanicError(Exception):
    """A library raised something that is not an Exception, as Rust code does when it panics.

    The message names what it raised, which is the cause.
    """


#: What ends or cancels the work itself, whatever element it is at.
_ENDINGS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


def _ends_work(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_ENDINGS) is not None
    return isinstance(error, _ENDINGS)


class _Contained:
    """Raises a PanicError for whatever a library raises that is not an Exception.

    Each Rust extension has a PanicException of its own, and none lets it be imported: so it is
    recognised by not being an Exception. What ends the work, such as KeyboardInterrupt, passes.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, Exception) or _ends_work(error):
            return
        raise PanicError(f"{type(error).__name__}: {message_of(error)}") from error


#: `with contained:` around code of libraries and of users that works on an element, or loads.
contained = _Contained()


def attempted(function: Callable[..., T], *arguments: Any) -> T | Exception:
    """What a function gives; in place of it the error that it raises."""
    try:
        with contained:
            return function(*arguments)
    except Exception as error:
        return error


def result_of(attempt: T | Exception) -> T:
    """What `attempted` has given. Raises the error that it caught."""
    if isinstance(attempt, Exception):
        raise attempt
    return attempt


def message_of(error: BaseException) -> str:
    """An error's message; or, if making it fails, how."""
    try:
        return str(error)
    except Exception as unsayable:
        return f"(its message fails: {type(unsayable).__name__})"


class RemoteTracebackError(Exception):
    """Where an error was raised in the engine's process; the cause of the error here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class PicklableError:
    """An error as it crosses from the engine's process, with its message and traceback there."""

    #: None if it cannot be pickled.
    pickled: bytes | None
    name: str
    message: str
    traceback: str
    cause: PicklableError | None

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """An error as it crosses."""
        try:
            with contained:
                pickled: bytes | None = pickle.dumps(error)
                pickle.loads(pickled)  # type: ignore[arg-type]  # noqa: S301 - our own
        except Exception:
            pickled = None
        return cls(
            pickled,
            type(error).__name__,
            message_of(error),
            "".join(traceback.format_tb(error.__traceback__)),
            None if error.__cause__ is None else cls.of(error.__cause__),
        )

    def error(self) -> BaseException:
        """The error as it was; of a class of the same name if its own is not known here."""
        error: BaseException | None = None
        if self.pickled is not None:
            with contextlib.suppress(Exception):  # its class may not be known here
                error = pickle.loads(self.pickled)  # noqa: S301 - from a process of the same job
        if error is None:
            error = type(self.name, (Exception,), {})(self.message)
        cause = RemoteTracebackError(self.traceback) if self.cause is None else self.cause.error()
        error.__cause__ = cause
        return error


def kind_of(error: BaseException) -> Kind:
    """What kind of failure an element's error is."""
    if isinstance(error, BatchTimeoutError):
        return "timeout"
    if isinstance(error, EngineCrashError):
        return "crash"
    return "memory" if is_out_of_memory(error) else "data"


_NO_MEMORY = ("out of memory", "DefaultCPUAllocator: can't allocate", "_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on an accelerator or in torch's CPU allocator."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    message = str(error)
    return any(sign in message for sign in _NO_MEMORY)


def is_fatal(error: BaseException) -> bool:
    """Whether no element could have been answered: the error is not about this one's data."""
    return isinstance(error, EngineError)


def breaks_engine(error: BaseException) -> bool:
    """Whether the process cannot compute any more: a CUDA error stays until the process ends."""
    if is_out_of_memory(error):
        return False
    import torch

    accelerator = getattr(torch, "AcceleratorError", ())
    return isinstance(error, accelerator) or (
        isinstance(error, RuntimeError) and str(error).startswith("CUDA error")
    )
