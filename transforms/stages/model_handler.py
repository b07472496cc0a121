"""Beam's ModelHandlers in this engine: vLLM, ONNX, TensorRT, PyTorch, scikit-learn, a user's own.

The engine forms the batches, across bundles, and finds the example that makes a batch fail; the
handler loads its model and runs the batches.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..engine.errors import contained
from ..engine.interface import BatchSlot, EngineSpec, SynchronousProgram
from ..engine.tickets import AnyEngine, Parameters
from ..options.shown import shown
from ..options.sizes import nbytes
from ..options.spec import Limits, Sharing
from ..pipelines.construction_lock import computing
from . import metrics
from .forward import EngineFn
from .window import InFlightWindow

_UNBOUNDED = 2**62


class HandlerProgram(SynchronousProgram):
    """A handler's model with its inference arguments."""

    def __init__(self, handler: Any, model: Any, arguments: Mapping[str, Any]) -> None:
        self._handler = handler
        self._model = model
        self._arguments = dict(arguments) or None
        self._size = _size_fn(handler.batch_elements_kwargs())

    def batch_slots(self, chunks: Sequence[Any]) -> list[BatchSlot]:
        """Any example may share a batch with any other, within the handler's limits."""
        return [BatchSlot("handler", int(self._size(each))) for each in chunks]

    def run(self, chunks: Sequence[Any]) -> list[Any]:
        """The handler's predictions. Raises ValueError if it does not give one for each."""
        with computing:
            results = list(self._handler.run_inference(list(chunks), self._model, self._arguments))
        if len(results) != len(chunks):
            name = type(self._handler).__name__
            raise ValueError(f"{name} gave {len(results)} predictions for {len(chunks)} examples")
        return results


class HandlerModel:
    """A handler's loaded model, in the form that an engine computes with."""

    generates = False
    overlaps = False

    def __init__(self, handler: Any) -> None:
        handler.set_environment_vars()
        before = _peak_memory()
        self._handler = handler
        with contained:
            self._model = handler.load_model()
        #: Bytes by which the process has grown, as RunInference measures a model's size.
        self.nbytes = _peak_memory() - before

    @property
    def accelerated(self) -> bool:
        """Whether the machine has an accelerator: only the handler knows where its model is."""
        import torch

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
        # Created while the pipeline is built, so that all workers have the same key.
        self._sharing = Sharing(share="machine" if shared else "process", processes=processes)
        self._preprocess_fns = list(handler.get_preprocess_fns())
        self._postprocess_fns = list(handler.get_postprocess_fns())

    @property
    def _name(self) -> str:
        return type(self._handler).__name__

    def _acquire(self) -> tuple[AnyEngine, Callable[[], None]]:
        from ..engine import registry

        spec = EngineSpec(
            identity=self._key,
            name=self._name,
            load=functools.partial(HandlerModel, self._handler),
            limits=self._limits,
            sharing=self._sharing,
        )
        return registry.acquire(spec)

    def _new_window(self, output_bytes: float | None) -> InFlightWindow:
        return InFlightWindow(self._engine.session(self._arguments), self._limits, output_bytes)

    def _features(self, element: Any) -> tuple[Any, list[Any], int]:
        metrics.counts().read += 1
        example = _apply_all(self._preprocess_fns, element)
        return element, [example], nbytes(example)

    def _result(self, kept: Any, outputs: list[Any]) -> Any:
        result = _apply_all(self._postprocess_fns, outputs[0])
        metrics.counts().answered += 1
        return result


def check_handler(handler: Any, arguments: Mapping[str, Any] | None) -> None:
    """Raises TypeError or ValueError for a handler or arguments that the engine cannot run."""
    from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler

    if not isinstance(handler, ModelHandler):
        raise TypeError(f"handler must be one of Beam's ModelHandlers, got {shown(handler)}")
    if handler.should_skip_batching():
        raise ValueError("handler has with_no_batching(): the engine forms the batches here")
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
    """The limits of a batch that a handler's `batch_elements_kwargs` describe.

    Sizes by element_size_fn count against max_batch_weight, or against max_batch_size as in
    Beam's BatchElements; without it, examples are counted. The engine never waits for a batch to
    fill, so min_batch_size and max_batch_duration_secs have no effect.
    """
    most, weight = batching.get("max_batch_size"), batching.get("max_batch_weight")
    if "element_size_fn" not in batching:
        return Limits(batch_size=most, batch_tokens=_UNBOUNDED)
    if weight is None:
        return Limits(batch_tokens=most or _UNBOUNDED)
    return Limits(batch_size=most, batch_tokens=weight)


def _size_fn(batching: Mapping[str, Any]) -> Callable[[Any], int]:
    size = batching.get("element_size_fn") or batching.get("length_fn")
    return size if size is not None else lambda example: 1


def _apply_all(functions: Sequence[Callable[[Any], Any]], example: Any) -> Any:
    for function in functions:
        example = function(example)
    return example


def _peak_memory() -> int:
    """The process's peak memory in bytes; 0 where the system does not report it."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
