"""What decision models read beside their weights: their own configuration, and their settings."""

from __future__ import annotations

from typing import Any


def decision_config(cls: Any, name: str, config: Any, revision: str | None) -> Any:
    """The configuration with which a class is constructed: a decision head brings its own.

    Raises ValueError where the class is of decision models and the checkpoint has no head.
    """
    if not hasattr(cls, "checkpoint_config") or isinstance(config, cls.config_class):
        return config
    found, _ = cls.checkpoint_config(name, revision=revision)
    if found is None:
        raise ValueError(f"{name} has no decision head beside its weights")
    return found


def with_decision_settings(model: Any, name: str, revision: str | None) -> Any:
    """The model, with the settings that `from_pretrained` reads if it is a decision model."""
    if not hasattr(model, "decision_config"):
        return model
    from transformers import DecisionConfig

    _, found = type(model).checkpoint_config(name, revision=revision)
    model.decision_config = found or DecisionConfig.from_pretrained(name, revision=revision)
    return model
