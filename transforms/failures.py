"""An element that could not be answered: an exception that says why, or a row that does."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import apache_beam as beam
import torch
from apache_beam.coders import registry
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint

from .shown import cut, shown

#: What went wrong: the element's own data, memory for it alone, time for it alone, or the engine's
#: process, which it took along twice.
Kind = Literal["data", "memory", "timeout", "crash"]

_LONGEST = 2_000  # characters: some libraries repeat in a message all that they were given
_LONGEST_TRACEBACK = 20_000


class EngineError(Exception):
    """The engine cannot go on: no element of the job can be answered."""


class BatchTimeoutError(Exception):
    """An element took longer than `timeout` in a batch of its own."""


class EngineCrashError(Exception):
    """The engine's process died while it computed this element alone."""


class PanicError(Exception):
    """A library gave up with what is no Exception, as Rust code does when it panics.

    The message names it; it is the cause.
    """


#: What ends or cancels the work itself, whatever element it is at.
_ENDINGS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


def _ends_work(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_ENDINGS) is not None
    return isinstance(error, _ENDINGS)


class _Contained:
    """Makes a PanicError of what a library raises that is no Exception.

    Each Rust extension has a PanicException of its own, which none of them lets import: so it is
    told by what it is not. What ends the work, such as KeyboardInterrupt, goes through.
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


def message_of(error: BaseException) -> str:
    """What an error says; of one that cannot, how that fails."""
    try:
        return str(error)
    except Exception as unsayable:
        return f"(its message fails: {type(unsayable).__name__})"


class RemoteTracebackError(Exception):
    """Where an error was raised in the engine's process; the cause of the error here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Crossing:
    """An error on its way from the engine's process, with what it says of itself there."""

    #: None if it cannot be pickled.
    pickled: bytes | None
    name: str
    message: str
    traceback: str
    cause: Crossing | None

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """The error, ready to cross."""
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
        found: BaseException | None = None
        if self.pickled is not None:
            with contextlib.suppress(Exception):  # its class may not be known here
                found = pickle.loads(self.pickled)  # noqa: S301 - from a process of the same job
        if found is None:
            found = type(self.name, (Exception,), {})(self.message)
        cause = RemoteTracebackError(self.traceback) if self.cause is None else self.cause.error()
        found.__cause__ = cause
        return found


class ElementError(Exception):
    """One element failed: which, in which stage, and why. `__cause__` is the original error.

    Made from its message alone, as Beam makes it again when it adds the name of the step.
    """

    @classmethod
    def of(cls, task: str, stage: str, element: Any, error: BaseException) -> Self:
        """The error for an element of a task that failed in a stage."""
        return cls(
            f"{task}: {stage} failed for the element {shown(element, 300)}: "
            f"{type(error).__name__}: {cut(message_of(error), _LONGEST)}. To keep going without "
            "such elements, use with_exception_handling() (in Beam YAML: error_handling)."
        )


def failure(stage: str, element: Any, error: BaseException, attempts: int = 1) -> beam.Row:
    """The row that stands for a failed element: see `failure_type` for its columns."""
    return beam.Row(
        element=_encodable(element),
        stage=stage,
        kind=kind_of(error),
        error=type(error).__name__,
        message=_text(cut(message_of(error), _LONGEST)),
        traceback=_text(_ends("".join(traceback.format_exception(error)))),
        attempts=attempts,
    )


def _encodable(element: Any) -> Any:
    """The element; a text that shows it where Beam cannot hand it on: an open file, for example."""
    try:
        with contained:
            registry.get_coder(typehints.Any).encode(element)
    except Exception:
        return _text(shown(element, _LONGEST))
    return element


def _text(text: str) -> str:
    """The text with escapes for halves of pairs of surrogates, which UTF-8 has not."""
    return text.encode(errors="backslashreplace").decode()


def _ends(text: str) -> str:
    """The text without its middle where it is too long: a traceback says most at its ends."""
    half = _LONGEST_TRACEBACK // 2
    return text if len(text) <= 2 * half else f"{text[:half]}\n…\n{text[-half:]}"


def failure_type() -> Any:
    """The schema of failure rows.

    An element may be of any type: one that failed is often not what the type of its PCollection
    says, and Beam would fail to encode it, or change its numbers.
    """
    return RowTypeConstraint.from_fields(
        [
            ("element", typehints.Any),
            ("stage", str),
            ("kind", str),
            ("error", str),
            ("message", str),
            ("traceback", str),
            ("attempts", int),
        ]
    )


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
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    message = str(error)
    return any(sign in message for sign in _NO_MEMORY)


def is_fatal(error: BaseException) -> bool:
    """Whether no element could have been answered: not a matter of this one's data."""
    return isinstance(error, EngineError)


def breaks_engine(error: BaseException) -> bool:
    """Whether the process cannot compute any more: a CUDA error stays until the process ends."""
    if is_out_of_memory(error):
        return False
    accelerator = getattr(torch, "AcceleratorError", ())
    return isinstance(error, accelerator) or (
        isinstance(error, RuntimeError) and str(error).startswith("CUDA error")
    )
