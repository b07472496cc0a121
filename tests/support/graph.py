"""What a job graph says of its steps, as runners get it."""

from __future__ import annotations

from typing import Any


def hinted_steps(graph: Any) -> dict[str, dict[str, str]]:
    """The resource hints of the steps that have some, by the names of the steps."""
    environments = graph.components.environments
    found = {}
    for step in graph.components.transforms.values():
        if step.environment_id and not step.subtransforms:
            hints = environments[step.environment_id].resource_hints
            found[step.unique_name] = {name: value.decode() for name, value in hints.items()}
    return {name: hints for name, hints in found.items() if hints}
