"""How large the inputs of rows are, as their features tell: found without the model's weights."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from transforms import TaskTransform
from transforms.batching.program import Program
from transforms.engine.blocks import unpacked
from transforms.engine.errors import attempted
from transforms.engine.interface import BatchSlot
from transforms.engine.scheduler import Budget, partition
from transforms.pipelines.construction_lock import computing
from transforms.pipelines.factory import weightless
from transforms.rows.tables import TableBinding
from transforms.stages.preprocess import PreprocessFn

from .failures import FoundFailures
from .profile import Profile, Work

_WINDOW = 2048  # rows that are sorted by length together


@dataclass
class Lengths:
    """The sizes of the rows of a sample."""

    #: What they are counted in; empty where nothing is known that means something to people.
    unit: str = ""
    #: Of each row that has features.
    sizes: list[float] = field(default_factory=list)
    #: Of each chunk, with which others it may share a batch, and its length for that.
    slots: list[BatchSlot] = field(default_factory=list)
    rows: int = 0
    #: Preparing the features took so long.
    seconds: float = 0.0
    failures: FoundFailures = field(default_factory=FoundFailures)

    def work(self, profile: Profile) -> Work:
        """The batches that the rows would make on a machine."""
        line = profile.start_seconds, profile.seconds_per_token
        overhead = line[0] / line[1] if line[1] else 0.0
        budget = Budget(profile.batch_rows, profile.batch_tokens, overhead)
        batches = tokens = 0
        for start in range(0, len(self.slots), _WINDOW):
            for lengths in _by_key(self.slots[start : start + _WINDOW]):
                runs = partition(lengths, budget)
                batches += len(runs)
                tokens += sum((stop - first) * lengths[stop - 1] for first, stop in runs)
        return Work(max(self.rows, 1), batches, tokens)


def lengths_of(task: TaskTransform, tables: Sequence[pa.Table], seconds: float) -> Lengths:
    """The sizes of the rows of some tables, as far as that takes no longer than so many seconds.

    Of stages in whose place the user has put own ones, the features are unknown to the tokenizer:
    then there are no sizes.
    """
    plan = replace(task.plan.pinned, is_whole=True)
    found = Lengths()
    if plan.replaced_stages:
        return found
    fn = PreprocessFn(plan.spec, True, plan.binding, plan.preprocess)
    fn.setup()
    fn.start_bundle()
    start = time.perf_counter()
    try:
        pipe = weightless(plan.spec.model)
        program = Program(pipe, plan.spec.model, plan.spec.parameters)
        binding = TableBinding(plan.binding)
        for table in tables:
            for chunks in _features(fn, binding, table):
                if isinstance(chunks, Exception):
                    found.failures.add("preprocess", type(chunks).__name__, str(chunks))
                else:
                    _add(found, chunks, program, pipe)
            found.rows += len(table)
            if time.perf_counter() - start > seconds:
                break
    finally:
        fn.teardown()
    found.seconds = time.perf_counter() - start
    return found


def _features(
    fn: PreprocessFn, binding: TableBinding, table: pa.Table
) -> Iterator[list[Any] | Exception]:
    """The features of each row; in place of them the error that says why it has none."""
    examples = []
    for example in binding.examples(table):
        if isinstance(example, Exception):
            yield example
        else:
            examples.append((example, example))
    pairs = examples if fn.ahead is None else fn.fetched(examples, last=True)
    for example, fetched in pairs:
        yield attempted(_chunks, fn, example, fetched)


def _chunks(fn: PreprocessFn, example: Any, fetched: Any) -> list[Any]:
    return fn.record(None, example, fetched, {}).chunks


def _add(found: Lengths, chunks: Sequence[Any], program: Program, pipe: Any) -> None:
    refused = next(filter(None, map(program.likely_refusal, chunks)), None)
    if refused is not None:
        found.failures.add("forward", type(refused).__name__, str(refused))
        return
    with computing:
        found.slots += program.batch_slots(chunks)
    sizes = [_size(unpacked(chunk), pipe) for chunk in chunks]
    units = {unit for unit, _ in sizes}
    if len(units) == 1 and (unit := units.pop()):
        found.unit = unit
        found.sizes.append(sum(size for _, size in sizes))


def _size(chunk: Mapping[str, Any], pipe: Any) -> tuple[str, float]:
    """The unit of a chunk's size, and how many of it there are."""
    extractor = getattr(pipe, "feature_extractor", None)
    rate = getattr(extractor, "sampling_rate", None)
    if (values := chunk.get("input_values")) is not None and rate:
        return "seconds of sound", values.shape[-1] / rate
    if (frames := chunk.get("input_features")) is not None and rate:
        hop = getattr(extractor, "hop_length", None) or rate // 100
        return "seconds of sound", max(frames.shape[-2:]) * hop / rate
    if (ids := chunk.get("input_ids")) is not None and hasattr(ids, "shape"):
        return "tokens", float(ids.shape[-1])
    if (pixels := chunk.get("pixel_values")) is not None and hasattr(pixels, "shape"):
        shape = [side for side in pixels.shape[-3:] if side > 4]  # without the colours
        return "pixels", float(shape[0] * shape[1]) if len(shape) == 2 else 0.0
    return "", 0.0


def _by_key(slots: Sequence[BatchSlot]) -> list[list[int]]:
    """The lengths of chunks that may share batches, ascending."""
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for slot in slots:
        groups[slot.key].append(max(slot.length, 1))
    return [sorted(lengths) for lengths in groups.values()]
