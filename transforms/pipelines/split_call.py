"""A pipeline's call taken apart: what it makes of its inputs, and of its results.

Every transformers pipeline class normalises inputs and keywords in its `__call__` before it runs
its stages, and shapes the results after them. Both halves are the class's own code here, too: the
stages in between (`run_single`, `get_iterator`) are replaced, so that preprocess and postprocess
can run in other processes than the model.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import BatchEncoding
from transformers.pipelines.base import ChunkPipeline

from ..engine.process import pickling
from ..options import content_hash
from .own_parameters import is_uniform, stock_parameters
from .prefetch import prefetching
from .together import Together, together

#: What a model takes for one chunk, and what it gives back: names to tensors and plain values.
Features = Any
Outputs = Any


def _without_encodings(encoding: BatchEncoding) -> tuple[Any, ...]:
    """Without the tokenizer's own record of the text, which only preprocess reads."""
    return BatchEncoding, (encoding.data,)


pickling.reduce_by(BatchEncoding, _without_encodings)


@dataclass(frozen=True)
class StageArguments:
    """The arguments with which a call reached its stages."""

    items: list[Any]
    preprocess: dict[str, Any]
    forward: dict[str, Any]
    postprocess: dict[str, Any]


class _Reached(Exception):  # noqa: N818 - a signal, caught below
    def __init__(self, stages: StageArguments) -> None:
        self.stages = stages


class SplitPipeline:
    """One pipeline called with fixed parameters, in two halves.

    ```python
    split = SplitPipeline(weightless(spec.model), spec.parameters)
    chunks, counts = split.preprocess("a text")
    outputs = [engine(features) for features in chunks]
    answer = split.postprocess("a text", outputs, counts)
    ```

    Not safe for use by several threads at once, as a tokenizer is not.
    """

    def __init__(self, pipe: Any, parameters: Mapping[str, Any]) -> None:
        self.pipe = _intercepted(pipe)
        #: Those that the pipeline knows.
        self.parameters = stock_parameters(pipe, parameters)
        self.chunked = isinstance(pipe, ChunkPipeline)
        # What the call does to one string is what it does to every string; learned from the first.
        self._text_stages: StageArguments | None = None
        self._text_result: Callable[[Any], Any] | None = None
        self._uniform = is_uniform(type(pipe))
        self._prefetch = prefetching(self.pipe)
        self._together: Together | None = None

    def prefetch(self, texts: Sequence[str], as_rows: bool = False) -> None:
        """Tokenize the texts that come next in one call; `as_rows`: their features are Rows."""
        self._prefetch.prefetch(texts, as_rows)

    def stages(self, example: Any) -> StageArguments:
        """The normalised items and the keywords of each stage."""
        if type(example) is str and self._text_stages is not None:
            return self._text_stages
        try:
            self._run(example, _raise_reached)
        except _Reached as reached:
            stages = reached.stages
        else:
            raise RuntimeError(f"{type(self.pipe).__name__} answered without running its stages")
        if not self._uniform:
            self._check_forward(stages)
            return stages
        if type(example) is str and len(stages.items) == 1 and stages.items[0] is example:
            self._text_stages = stages
        return stages

    def _check_forward(self, stages: StageArguments) -> None:
        """Raises ValueError where a call has chosen how to run the model by what it was given."""
        fixed, digest = self._fixed
        if content_hash.digest(stages.forward) != digest:
            raise ValueError(
                f"the call of {type(self.pipe).__name__} chooses parameters of _forward for each "
                f"input: here {stages.forward!r:.200}, else {fixed!r:.200}. Let preprocess put "
                "what differs into the features"
            )

    @functools.cached_property
    def _fixed(self) -> tuple[dict[str, Any], str]:
        """The keywords of the forward stage without regard to any input, and their digest."""
        fixed = {**self.pipe._forward_params, **sanitized(self.pipe, self.parameters)[1]}
        return fixed, content_hash.digest(fixed)

    def preprocess(self, example: Any) -> tuple[list[Features], list[int]]:
        """The features of every chunk, and how many chunks each of the call's items has."""
        ready = self._prefetch.take(example) if type(example) is str else None
        if ready is not None:
            return [ready], [1]
        stages = self.stages(example)
        items = [example] if stages is self._text_stages else stages.items
        chunks: list[Features] = []
        counts: list[int] = []
        for item in items:
            found = self.pipe.preprocess(item, **deep_copy_kwargs(stages.preprocess))
            if self.chunked:
                found = list(found)
                chunks += found
                counts.append(len(found))
            else:
                chunks.append(found)
                counts.append(1)
        if stages is self._text_stages and not self.chunked:
            self._prefetch.learn(chunks[0])
        return chunks, counts

    def postprocess(self, example: Any, outputs: list[Outputs], counts: list[int]) -> Any:
        """What the pipeline's call returns for this example."""
        if type(example) is str and self._text_result is not None:
            assert self._text_stages is not None
            return self._text_result(self._postprocess(outputs, self._text_stages))

        def results(stages: StageArguments) -> list[Any]:
            found, start = [], 0
            for count in counts:
                found.append(self._postprocess(outputs[start : start + count], stages))
                start += count
            return found

        if type(example) is str:
            self._learn_result(example)
        return self._run(example, results)

    @property
    def answers_together(self) -> bool:
        """Whether `postprocess_texts` takes many outputs at once, and those are small."""
        return self._together is not None

    def postprocess_texts(self, outputs: Sequence[Outputs]) -> list[Any] | None:
        """What the pipeline's call returns for each of some texts, of one chunk each.

        None where it has to be asked for each alone.
        """
        if self._together is None or self._text_result is None:
            return None
        results = self._together(outputs)
        return None if results is None else list(map(self._text_result, results))

    def _postprocess(self, outputs: list[Outputs], stages: StageArguments) -> Any:
        keywords = deep_copy_kwargs(stages.postprocess)
        if not self.chunked:
            return self.pipe.postprocess(outputs[0], **keywords)
        chunks = [output.copy() for output in outputs]
        for chunk in chunks:
            chunk.pop("is_last", None)
        return self.pipe.postprocess(chunks, **keywords)

    def _learn_result(self, example: str) -> None:
        """Find out whether the call wraps the result of a string, by showing it a marker."""
        self.stages(example)
        if self._text_stages is None:
            return
        marker = object()
        try:
            result = self._run(example, lambda stages: [marker])
        except (TypeError, AttributeError):  # the call looks into its results: never shortened
            return
        if result is marker:
            self._text_result = _same
        elif isinstance(result, list) and len(result) == 1 and result[0] is marker:
            self._text_result = _in_a_list
        if self._text_result is not None and not self.chunked:
            self._together = together(self.pipe, self._text_stages.postprocess)

    def _run(self, example: Any, on_stages: Callable[[StageArguments], list[Any]]) -> Any:
        self.pipe.on_stages = on_stages
        # Some classes write into the mapping they are given; elements must stay as they are.
        own = dict(example) if isinstance(example, dict) else example
        return self.pipe(own, **deep_copy_kwargs(self.parameters))


def call_keywords(cls: Any) -> list[inspect.Parameter]:
    """The keywords that a class's call takes itself, if the call is its own."""
    if is_uniform(cls):
        return []
    taken = list(inspect.signature(cls.__call__).parameters.values())[2:]
    return [each for each in taken if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)]


def sanitized(pipe: Any, parameters: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The keywords of the three stages, as the class makes them of a call's parameters."""
    own = {each.name for each in call_keywords(type(pipe))}
    own -= inspect.signature(pipe._sanitize_parameters).parameters.keys()
    known = stock_parameters(pipe, parameters)
    given = {name: value for name, value in known.items() if name not in own}
    found: tuple[Any, Any, Any] = pipe._sanitize_parameters(**deep_copy_kwargs(given))
    return found


def _raise_reached(stages: StageArguments) -> list[Any]:
    raise _Reached(stages)


def _same(result: Any) -> Any:
    return result


def _in_a_list(result: Any) -> list[Any]:
    return [result]


def deep_copy_kwargs(value: Any) -> Any:
    """A copy of nested keyword arguments: transformers writes into those it is given."""
    if type(value) is dict:
        return {key: deep_copy_kwargs(item) for key, item in value.items()}
    if type(value) is list:
        return [deep_copy_kwargs(item) for item in value]
    return value


def _intercepted(pipe: Any) -> Any:
    """The same pipeline with its stages replaced by its attribute `on_stages`."""
    cls = type(pipe)
    if cls.run_single is _run_single:
        return pipe
    methods = {"run_single": _run_single, "get_iterator": _get_iterator}
    pipe.__class__ = type(cls.__name__, (cls,), {**methods, "__module__": cls.__module__})
    _quicken(pipe.model.config)
    return pipe


def _quicken(config: Any) -> None:
    """Look attributes up in the object first.

    A configuration's own lookup goes through two tables for every attribute: half the time of
    many a postprocess. What the tables rename is not in the object, and still found by them.
    """
    if getattr(config, "_heterogeneity_spec", None) is not None:
        return
    cls = type(config)

    def __getattr__(self: Any, name: str) -> Any:  # noqa: N807
        return cls.__getattribute__(self, name)  # type: ignore[call-arg]

    members = {"__getattribute__": object.__getattribute__, "__getattr__": __getattr__}
    config.__class__ = type(cls.__name__, (cls,), {**members, "__module__": cls.__module__})


def _run_single(self: Any, inputs: Any, preprocess: Any, forward: Any, postprocess: Any) -> Any:
    return self.on_stages(StageArguments([inputs], preprocess, forward, postprocess))[0]


def _get_iterator(  # noqa: PLR0917 - as transformers calls it
    self: Any,
    inputs: Any,
    num_workers: int,
    batch_size: int,
    preprocess_params: Any,
    forward_params: Any,
    postprocess_params: Any,
) -> Iterator[Any]:
    stages = StageArguments(list(inputs), preprocess_params, forward_params, postprocess_params)
    return iter(self.on_stages(stages))
