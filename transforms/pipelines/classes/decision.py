"""Decisions in the three stages. Imported only where transformers has the task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from transformers.pipelines.decision import DecisionPipeline as _DecisionPipeline

from ..declared import UnpaddedPipeline


class DecisionPipeline(UnpaddedPipeline, _DecisionPipeline):  # type: ignore[misc]
    """transformers' pipeline; `questions` may be a parameter, asked of every state.

    One request at a time: the model reads each prompt at positions of its own.
    """

    can_batch = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        model = kwargs["model"]
        if model.device.type == "meta":  # nothing to adapt
            model.load_adapter = lambda *_, **__: None
        super().__init__(*args, **kwargs)

    def _sanitize_parameters(
        self, questions: Mapping[str, Any] | str | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return ({} if questions is None else {"questions": questions}), {}, {}

    def preprocess(self, request: Any, questions: Any = None) -> dict[str, Any]:
        """The prompts of a request, or of a state that the questions are asked about."""
        if questions is not None and not isinstance(request, Mapping):
            request = {"state": request}
        if isinstance(request, Mapping):
            request = {key: value for key, value in request.items() if value is not None}
            asked = request.get("questions", questions)
            request["questions"] = json.loads(asked) if isinstance(asked, str) else asked
        found: dict[str, Any] = super().preprocess(request)
        return found

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        outputs: dict[str, Any] = super()._forward(model_inputs)
        # Of the prompts, only the questions are read again.
        return {**outputs, "prompts": [({}, questions) for _, questions in outputs["prompts"]]}
