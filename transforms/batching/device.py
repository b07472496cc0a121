"""A CUDA device that a pipeline's model is on, handed batches without waiting for their answers.

What crosses to the device and back goes through pinned memory, which the device reads and writes
by itself; an event says when a batch has come back, and how long the device took for it.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from transformers import Pipeline
from transformers.utils import ModelOutput

from ..pipelines.split_call import Features, Outputs


class Device:
    """The device of a pipeline whose forward stage is transformers' own."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    @staticmethod
    def of(pipe: Any) -> Device | None:
        """The device of a pipeline; None where its batches must be waited for."""
        cls = type(pipe)
        stock = (
            cls.forward is Pipeline.forward
            and cls._ensure_tensor_on_device is Pipeline._ensure_tensor_on_device
        )
        if not stock or getattr(pipe, "device", None) is None or pipe.device.type != "cuda":
            return None
        places = getattr(pipe.model, "hf_device_map", {}).values()
        return None if len(set(places)) > 1 else Device(pipe)

    def launch(self, features: Features, forward: Callable[[Features], Outputs]) -> CudaBatch:
        """Have the device compute `forward` of features; does not wait for it."""
        event: Any = torch.cuda.Event
        begin, end = (event(enable_timing=True) for _ in range(2))
        with self._pipe.device_placement(), self._pipe.get_inference_context()():
            begin.record()
            there = _moved(features, self._to_device)
            outputs = _moved(forward(there), _to_host)
            end.record()
        return CudaBatch(begin, end, outputs)

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device.type != "cpu":
            return tensor.to(self._pipe.device)
        return tensor.pin_memory().to(self._pipe.device, non_blocking=True)


class CudaBatch:
    """A batch that a device works on; its outputs are on their way to the host."""

    def __init__(self, begin: Any, end: Any, outputs: Outputs) -> None:
        self._begin, self._end, self._outputs = begin, end, outputs
        #: Seconds that the device took, once the outputs are there.
        self.seconds: float | None = None
        self._apart: Callable[[Outputs], Iterable[Any]]

    def then(self, apart: Callable[[Outputs], Iterable[Any]]) -> CudaBatch:
        """The same, with what takes the outputs apart."""
        self._apart = apart
        return self

    def done(self) -> bool:
        """Whether `outputs` need not wait."""
        try:
            return bool(self._end.query())
        except Exception:  # of the device: `outputs` raises it where it is dealt with
            return True

    def outputs(self) -> Iterable[Any]:
        """The outputs of each chunk; waits for the device. Raises what it reports."""
        self._end.synchronize()
        self.seconds = self._begin.elapsed_time(self._end) / 1e3
        return self._apart(self._outputs)


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.device.type == "cpu":
        return tensor
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def _moved(value: Any, move: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A value with its tensors moved, in the containers that transformers' pipelines give it in."""
    if isinstance(value, torch.Tensor):
        return move(value)
    if isinstance(value, ModelOutput):
        return ModelOutput({name: _moved(item, move) for name, item in value.items()})
    if isinstance(value, UserDict):
        return UserDict({name: _moved(item, move) for name, item in value.items()})
    if isinstance(value, Mapping):
        return {name: _moved(item, move) for name, item in value.items()}
    if isinstance(value, list | tuple):
        kind = list if isinstance(value, list) else tuple
        return kind(_moved(item, move) for item in value)
    return value
