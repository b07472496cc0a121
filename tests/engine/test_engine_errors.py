"""What an error is taken for, by its class and by the words that backends use; how it crosses."""

from __future__ import annotations

import pickle

import pytest
import torch

from transforms.engine.errors import (
    BatchTimeoutError,
    EngineCrashError,
    EngineError,
    PicklableError,
    RemoteTracebackError,
    breaks_engine,
    is_fatal,
    is_out_of_memory,
    kind_of,
)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …"),
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.84 GB, max allowed: 9.07 GB)."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate …"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=lambda error: str(error)[:20] or type(error).__name__,
)
def test_memory_that_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert kind_of(error) == "memory"
    assert not breaks_engine(error)


def test_torch_says_on_a_cpu_that_memory_ran_out() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
    ids=str,
)
def test_what_no_process_recovers_from(error: Exception) -> None:
    assert breaks_engine(error)
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", [ValueError("CUDA"), IndexError("index out of range in self")])
def test_what_an_element_is_to_blame_for(error: Exception) -> None:
    assert kind_of(error) == "data"
    assert not breaks_engine(error)


@pytest.mark.parametrize(
    ("error", "kind"), [(BatchTimeoutError("slow"), "timeout"), (EngineCrashError("gone"), "crash")]
)
def test_what_an_engine_says_of_an_element(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind
    assert not is_fatal(error)
    assert is_fatal(EngineError("no weights"))


def crossed(error: BaseException) -> BaseException:
    found: PicklableError = pickle.loads(pickle.dumps(PicklableError.of(error)))
    return found.error()


def test_an_error_crosses_with_its_causes_and_where_they_were_raised() -> None:
    def fail() -> None:
        raise KeyError("inner")

    def wrap() -> None:
        try:
            fail()
        except KeyError as error:
            raise ValueError("outer", 3) from error

    with pytest.raises(ValueError, match="outer") as raised:
        wrap()
    found = crossed(raised.value)
    assert type(found) is ValueError
    assert found.args == ("outer", 3)
    assert type(found.__cause__) is KeyError
    where = found.__cause__.__cause__
    assert isinstance(where, RemoteTracebackError)
    assert "in fail" in str(where)


def test_an_error_that_cannot_be_pickled_crosses_by_name_and_message() -> None:
    class StrangeError(Exception):
        """Of a function: no other process finds it."""

    found = crossed(StrangeError("odd"))
    assert isinstance(found, Exception)
    assert (type(found).__name__, str(found)) == ("StrangeError", "odd")
