"""A device that is not there: batches take the time that an accelerator was measured to need.

Launching a batch is as many small operations of torch as a forward pass has kernels, so another
busy thread in the process costs what it costs beside a real device. The device then works through
its batches in virtual time, and reading one back waits until that time has come.
"""

from __future__ import annotations

import functools
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers.utils import ModelOutput

from transforms.batching.program import Program
from transforms.batching.replica import Replica
from transforms.options.spec import ModelSpec


@dataclass(frozen=True)
class Speed:
    """What a device does."""

    #: Padded tokens, or images, that it computes in a second.
    per_second: float
    #: Operations that launch a batch.
    kernels: int = 400
    #: Numbers that the model answers with for each row.
    labels: int = 2


@dataclass
class Record:
    """What an engine's process and its device have done since the first batch."""

    #: Seconds, on time.perf_counter, at which the first batch was launched.
    start: float = 0.0
    #: Seconds from then until the last batch was computed.
    seconds: float = 0.0
    #: Seconds of them in which the device computed.
    busy: float = 0.0
    #: Seconds of processor time of the process, those in launches not counted.
    cpu: float = 0.0
    rows: int = 0
    real: int = 0
    padded: int = 0
    #: Seconds that each launch took.
    launches: list[float] = field(default_factory=list)


class StandIn:
    """A device in virtual time; its answers are zeros. Its record is written to a file."""

    def __init__(self, speed: Speed, path: Path | None = None) -> None:
        self._speed = speed
        self._path = path
        self._small = torch.zeros(8)
        self._free_at = 0.0
        self._cpu = 0.0
        self._written = 0.0
        self.record = Record()
        #: Raised in place of the outputs of the next batches.
        self.late: deque[Exception | None] = deque()

    def launch(self, features: Any, forward: Callable[[Any], Any]) -> StandInBatch:
        """Launch a batch."""
        start, record = time.perf_counter(), self.record
        if not record.start:
            record.start = self._free_at = start
            self._cpu = time.process_time()
        for _ in range(self._speed.kernels):
            self._small.add_(1)
        launched = time.perf_counter()
        sizes = next(iter(features.values())).shape
        padded = sizes[0] * (sizes[1] if "input_ids" in features else 1)
        seconds = padded / self._speed.per_second
        self._free_at = max(self._free_at, launched) + seconds
        record.busy += seconds
        record.seconds = self._free_at - record.start
        record.rows += sizes[0]
        record.padded += padded
        mask = features.get("attention_mask")
        record.real += padded if mask is None else int(mask.sum())
        record.launches.append(launched - start)
        if self._path is not None and launched - self._written > 0.2:
            self._write(launched)
        outputs = ModelOutput(logits=torch.zeros(sizes[0], self._speed.labels))
        error = self.late.popleft() if self.late else None
        return StandInBatch(self._free_at, seconds, outputs, error)

    def _write(self, now: float) -> None:
        assert self._path is not None
        # Reading the processor time may take longer than a launch: it is done here alone.
        record, cpu = self.record, time.process_time()
        record.cpu = cpu - self._cpu - sum(record.launches)
        self._path.write_text(json.dumps(asdict(record)))
        self._written = now
        self._cpu += time.process_time() - cpu


class StandInBatch:
    """A batch that the device computes."""

    def __init__(
        self, ready_at: float, seconds: float, outputs: Any, error: Exception | None
    ) -> None:
        self._ready_at, self._outputs, self._error = ready_at, outputs, error
        self.seconds: float | None = seconds
        self._apart: Callable[[Any], Iterable[Any]]

    def then(self, apart: Callable[[Any], Iterable[Any]]) -> StandInBatch:
        self._apart = apart
        return self

    def done(self) -> bool:
        return time.perf_counter() >= self._ready_at

    def outputs(self) -> Iterable[Any]:
        time.sleep(max(0.0, self._ready_at - time.perf_counter()))
        if self._error is not None:
            raise self._error
        return self._apart(self._outputs)


class StandInReplica(Replica):
    """A pipeline whose model is on a stand-in device."""

    def __init__(self, spec: ModelSpec, speed: Speed, path: Path | None = None) -> None:
        super().__init__(spec)
        self.device = StandIn(speed, path)
        in_place_of_a_device: Any = self.device
        self._device = in_place_of_a_device

    @property
    def accelerated(self) -> bool:
        return True

    def program(self, parameters: Any) -> Program:
        program = super().program(parameters)
        # A single row is launched as a batch, too.
        program._run_alone = functools.partial(_alone, program)  # type: ignore[method-assign]
        return program


def _alone(program: Program, chunk: Any) -> Any:
    (output,) = _launched(program, [chunk])
    return output


def _launched(program: Program, chunks: Sequence[Any]) -> Any:
    batch, shape = program._collated(chunks)
    device: Any = program._device
    outputs = device.launch(batch, None).then(
        lambda each: program._apart(chunks, each, shape, program._run_alone)
    )
    return [each.unpacked() for each in outputs.outputs()]
