"""Any ModelHandler of Beam's in our engine: vLLM, ONNX, TensorRT, PyTorch, scikit-learn, your own.

The engine makes the batches, across bundles, and finds the element that makes one fail; the
handler loads its model and answers them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler

from ..engine import registry
from ..engine.errors import contained
from ..engine.interface import BatchSlot, EngineSpec
from ..engine.tickets import AnyEngine, Parameters
from ..options.shown import shown
from ..options.sizes import nbytes
from ..options.spec import Limits, Sharing
from ..pipelines.construction_lock import computing
from . import metrics
from .forward import EngineFn
from .window import InFlightWindow

_UNBOUNDED = 2**62


class HandlerProgram:
    """A handler's model with its inference arguments."""

    def __init__(self, handler: Any, model: Any, arguments: Mapping[str, Any]) -> None:
        self._handler = handler
        self._model = model
        self._arguments = dict(arguments) or None
        self._size = _size_fn(handler.batch_elements_kwargs())

    def batch_slot(self, features: Any) -> BatchSlot:
        """Any example may share a batch with any other, within the handler's limits."""
        return BatchSlot("handler", int(self._size(features)))

    def run(self, chunks: Sequence[Any]) -> list[Any]:
        """The handler's predictions. Raises ValueError if it does not give one for each."""
        with computing:
            found = list(self._handler.run_inference(list(chunks), self._model, self._arguments))
        if len(found) != len(chunks):
            name = type(self._handler).__name__
            raise ValueError(f"{name} gave {len(found)} predictions for {len(chunks)} examples")
        return found


class HandlerModel:
    """A handler's loaded model, as an engine computes with it."""

    generates = False

    def __init__(self, handler: Any) -> None:
        handler.set_environment_vars()
        before = _resident()
        self._handler = handler
        with contained:
            self._model = handler.load_model()
        #: What the process has grown by, as RunInference measures it.
        self.nbytes = _resident() - before

    @property
    def accelerated(self) -> bool:
        """Whether the machine has an accelerator: where the model is, only the handler knows."""
        return bool(torch.accelerator.is_available())

    def program(self, parameters: Mapping[str, Any]) -> HandlerProgram:
        """The model with one stage's inference arguments."""
        return HandlerProgram(self._handler, self._model, parameters)


class HandlerFn(EngineFn):
    """Examples to a handler's predictions, through an engine."""

    def __init__(
        self,
        handler: Any,
        arguments: Mapping[str, Any],
        key: str,
        handles_failures: bool,
        processes: int | None,
    ) -> None:
        self._handler = handler
        self._arguments = Parameters(arguments)
        self._key = key
        self._handles_failures = handles_failures
        self._limits = limits_of(handler.batch_elements_kwargs())
        shared = handler.share_model_across_processes()
        # Made where the pipeline is built: its key is the same for all workers.
        self._sharing = Sharing(share="machine" if shared else "process", processes=processes)
        self._before = list(handler.get_preprocess_fns())
        self._after = list(handler.get_postprocess_fns())

    @property
    def _name(self) -> str:
        return type(self._handler).__name__

    def _acquire(self) -> tuple[AnyEngine, Callable[[], None]]:
        spec = EngineSpec(
            identity=self._key,
            name=self._name,
            load=functools.partial(HandlerModel, self._handler),
            limits=self._limits,
            sharing=self._sharing,
        )
        return registry.acquire(spec)

    def _flight_of(self, engine: AnyEngine, answer_bytes: float | None) -> InFlightWindow:
        return InFlightWindow(engine.session(self._arguments), self._limits, answer_bytes)

    def _chunks(self, element: Any) -> tuple[list[Any], int]:
        metrics.counts().read += 1
        example = _through(self._before, element)
        return [example], nbytes(example)

    def _answer(self, element: Any, chunks: list[Any]) -> Any:
        found = _through(self._after, chunks[0])
        metrics.counts().answered += 1
        return found


def check(handler: Any, arguments: Mapping[str, Any] | None) -> None:
    """Raises TypeError or ValueError for what cannot sit in our engine."""
    if not isinstance(handler, ModelHandler):
        raise TypeError(f"handler must be one of Beam's ModelHandlers, got {shown(handler)}")
    if handler.should_skip_batching():
        raise ValueError("handler has with_no_batching(): here it is the engine that makes batches")
    inner = handler
    while (base := getattr(inner, "_base", None)) is not None:
        inner = base
    if isinstance(inner, KeyedModelHandler) and not inner._single_model:
        raise ValueError(
            "handler must have one model: a KeyedModelHandler of several needs RunInference, or "
            "one Forward for each model"
        )
    if handler.model_copies() > 1:
        raise ValueError(
            f"handler has model_copies={handler.model_copies()}, which would be ignored: here one "
            "model answers in each worker process, or with large_model on each machine"
        )
    handler.validate_inference_args(arguments)


def limits_of(batching: Mapping[str, Any]) -> Limits:
    """What a handler's `batch_elements_kwargs` allow in one batch.

    Sizes by element_size_fn count against max_batch_weight, or as BatchElements has it against
    max_batch_size; else examples are counted. The engine never waits for a batch to fill, so that
    min_batch_size and max_batch_duration_secs have nothing to say.
    """
    most, weight = batching.get("max_batch_size"), batching.get("max_batch_weight")
    if "element_size_fn" not in batching:
        return Limits(batch_size=most, batch_tokens=_UNBOUNDED)
    if weight is None:
        return Limits(batch_tokens=most or _UNBOUNDED)
    return Limits(batch_size=most, batch_tokens=weight)


def _size_fn(batching: Mapping[str, Any]) -> Callable[[Any], int]:
    found = batching.get("element_size_fn") or batching.get("length_fn")
    return found if found is not None else lambda example: 1


def _through(functions: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    for function in functions:
        value = function(value)
    return value


def _resident() -> int:
    """The most bytes of memory that the process has had; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
