"""Hugging Face pipeline tasks as Beam PTransforms. Import them from pipelines_beam."""

from typing import TYPE_CHECKING

from . import catalogue
from .catalogue import *  # noqa: F403 - each task's class, and `pipeline`
from .pipelines.factory import ModelLoadError as ModelLoadError
from .stages.custom_pipeline import CustomPipeline as CustomPipeline
from .stages.failure_rows import ElementError as ElementError
from .stages.record import Record as Record
from .stages.run_inference import TaskModelHandler as TaskModelHandler
from .stages.task_transform import TaskTransform as TaskTransform
from .stages.transforms import Forward as Forward
from .stages.transforms import Postprocess as Postprocess
from .stages.transforms import Preprocess as Preprocess

if not TYPE_CHECKING:  # a type checker reads the names above
    __all__ = [  # noqa: PLE0604 - the catalogue's are strings
        *catalogue.__all__,
        "CustomPipeline",
        "ElementError",
        "Forward",
        "ModelLoadError",
        "Postprocess",
        "Preprocess",
        "Record",
        "TaskModelHandler",
        "TaskTransform",
    ]
