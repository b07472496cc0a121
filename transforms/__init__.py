"""Hugging Face pipeline tasks as Beam PTransforms. Import them from pipelines_beam."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import *  # noqa: F403 - each task's class, and `pipeline`
    from .pipelines.errors import ModelLoadError as ModelLoadError
    from .stages.custom_pipeline import CustomPipeline as CustomPipeline
    from .stages.decode_images import DecodeImages as DecodeImages
    from .stages.failure_rows import ElementError as ElementError
    from .stages.record import Record as Record
    from .stages.run_inference import TaskModelHandler as TaskModelHandler
    from .stages.task_transform import TaskTransform as TaskTransform
    from .stages.transforms import Forward as Forward
    from .stages.transforms import Postprocess as Postprocess
    from .stages.transforms import Preprocess as Preprocess


def __getattr__(name: str) -> Any:
    """The public names, imported on first use: an engine's process needs none of them, nor Beam."""
    public = name[0].isupper() or name in ("pipeline", "__all__")  # not a room of the house
    if public and (name == "__all__" or name in _catalogue().__all__):
        return getattr(_catalogue(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_catalogue().__all__]


def _catalogue() -> Any:
    import importlib

    return importlib.import_module(f"{__name__}.catalogue")
