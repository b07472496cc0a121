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
        logits = [output["logits"] for output in outputs]
        shape = logits[0].shape
        if len(shape) != 2 or shape[0] != 1 or any(each.shape != shape for each in logits):
            return None
        scores = scores_of(torch.cat(logits).float().numpy())
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


def _default_function(config: Any) -> Any:
    problem, count = config.problem_type, config.num_labels
    if problem == "regression":
        return ClassificationFunction.NONE
    if problem == "multi_label_classification" or count == 1:
        return ClassificationFunction.SIGMOID
    if problem == "single_label_classification" or count > 1:
        return ClassificationFunction.SOFTMAX
    return getattr(config, "function_to_apply", ClassificationFunction.NONE)
