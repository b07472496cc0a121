"""Postprocessing of many outputs at once, where that gives exactly what one at a time gives.

A pipeline's `postprocess` makes arrays of a few numbers, which costs many times what computing
them does. What stands here in place of it is transformers' own arithmetic on the rows of one array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers.pipelines import text_classification
from transformers.pipelines.text_classification import ClassificationFunction

from ..engine.blocks import OutputRow

#: A function from the outputs of several items to their results; None where it does not apply.
Together = Callable[[Sequence[Any]], list[Any] | None]

_SCORES: dict[Any, Callable[[Any], Any]] = {
    ClassificationFunction.SIGMOID: text_classification.sigmoid,
    ClassificationFunction.SOFTMAX: text_classification.softmax,
    ClassificationFunction.NONE: lambda logits: logits,
}


def together(pipe: Any, keywords: Mapping[str, Any]) -> Together | None:
    """What postprocesses many outputs of a pipeline at once, with the keywords of the stage.

    None for pipelines of which none is known, and for keywords that are not known.
    """
    stock = text_classification.TextClassificationPipeline.postprocess
    if type(pipe).postprocess is not stock or not keywords.keys() <= _CLASSIFICATION:
        return None
    return _classification(pipe.model.config, **keywords)


_CLASSIFICATION = {"function_to_apply", "top_k", "_legacy"}


def _classification(
    config: Any, function_to_apply: Any = None, top_k: int | None = 1, _legacy: bool = True
) -> Together | None:
    """As TextClassificationPipeline.postprocess, for logits of shape (1, labels) each."""
    function = _default_function(config) if function_to_apply is None else function_to_apply
    scores_of = _SCORES.get(function)
    if scores_of is None:
        return None
    names = config.id2label

    def results(outputs: Sequence[Any]) -> list[Any] | None:
        logits = _rows(outputs, "logits")
        if logits is None:
            return None
        scores = scores_of(logits.float().numpy())
        if top_k == 1 and _legacy:
            best = scores.argmax(-1)
            own = scores[range(len(scores)), best]
            pairs = zip(best.tolist(), own.tolist(), strict=True)
            return [{"label": names[i], "score": score} for i, score in pairs]
        rows = [
            [{"label": names[i], "score": score} for i, score in enumerate(row)]
            for row in scores.tolist()
        ]
        if not _legacy:
            for row in rows:
                row.sort(key=lambda each: each["score"], reverse=True)
                if top_k is not None:
                    del row[top_k:]
        return rows

    return results


def _rows(outputs: Sequence[Any], name: str) -> torch.Tensor | None:
    """An output of several items, one under the other; None if it is not (1, numbers) in each."""
    parts: list[torch.Tensor] = []
    order: list[int] = []
    for places in _by_batch(outputs).values():
        part = _part([outputs[i] for i in places], name)
        if part is None or (parts and part.shape[1] != parts[0].shape[1]):
            return None
        parts.append(part)
        order += places
    joined = torch.cat(parts)
    rows = torch.empty_like(joined)
    rows[order] = joined
    return rows


def _by_batch(outputs: Sequence[Any]) -> dict[int, list[int]]:
    """The numbers of the outputs that are rows of the same batch; 0: of none."""
    found: dict[int, list[int]] = {}
    for i, output in enumerate(outputs):
        batch = id(output.outputs) if type(output) is OutputRow else 0
        found.setdefault(batch, []).append(i)
    return found


def _part(outputs: Sequence[Any], name: str) -> torch.Tensor | None:
    """The same, of items that are rows of one batch or of none."""
    first = outputs[0]
    if type(first) is OutputRow:
        column = first.outputs.columns[name]
        if not isinstance(column, torch.Tensor) or column.ndim != 2:
            return None
        return column[[each.index for each in outputs]]
    tensors = [each[name] for each in outputs]
    shape = tensors[0].shape
    if len(shape) != 2 or shape[0] != 1 or any(each.shape != shape for each in tensors):
        return None
    return torch.cat(tensors)


def _default_function(config: Any) -> Any:
    problem, count = config.problem_type, config.num_labels
    if problem == "regression":
        return ClassificationFunction.NONE
    if problem == "multi_label_classification" or count == 1:
        return ClassificationFunction.SIGMOID
    if problem == "single_label_classification" or count > 1:
        return ClassificationFunction.SOFTMAX
    return getattr(config, "function_to_apply", ClassificationFunction.NONE)
