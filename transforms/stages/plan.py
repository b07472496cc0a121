"""The plan of a task: everything that its three stages need of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import apache_beam as beam
from apache_beam.typehints import typehints

from ..options.placement import ANYWHERE, Placement
from ..options.spec import Spec
from ..rows.binding import Binding
from ..weights import hub

#: A function in place of a stage's own, or a transform in place of the stage.
CustomStage: TypeAlias = Callable[[Any], Any] | beam.PTransform


@dataclass(frozen=True)
class OpenLimit:
    """How much there may be of tables that are begun and not yielded; one table may have more."""

    rows: int
    nbytes: int


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """What to run, where the inputs of an element are, and the user's own stages."""

    spec: Spec
    binding: Binding
    preprocess: CustomStage | None = None
    postprocess: CustomStage | None = None
    #: A PCollection of ModelMetadata, or a file pattern, that names the model that answers.
    updates: Any = None
    #: The type of the elements that come in.
    element_type: Any = typehints.Any
    #: Whether the model's revision is a commit already, as far as the hub could be asked.
    is_pinned: bool = False
    #: Whether the three stages follow each other, with nothing between them: the composite.
    is_whole: bool = False
    #: Whether rows of a table with equal inputs are computed once.
    reuse: bool = False
    #: How much there may be of tables that are begun and not yielded. None: as much as the window
    #: lets in.
    open_tables: OpenLimit | None = None
    #: Which workers the stage with the model needs.
    placement: Placement = ANYWHERE

    @functools.cached_property
    def pinned(self) -> TaskPlan:
        """The plan with the model's revision resolved to a commit, and the engine chosen.

        It is looked up once: all stages and all pipelines of one plan load the same commit.
        """
        if self.is_pinned:
            return self
        spec = replace(self.spec, model=hub.pinned(self.spec.model))
        if spec.model.engine == "auto":
            from .engine_choice import chosen  # with torch

            spec = chosen(spec, self.updates is not None)
        return replace(self, spec=spec, is_pinned=True)

    @property
    def for_engine(self) -> bool:
        """Whether Preprocess may give features as an engine alone takes them.

        Not with other versions of the model to come, whose last steps for images may be others.
        """
        return self.is_whole and self.updates is None

    @property
    def reuses(self) -> bool:
        """Whether rows of a table with equal inputs are computed once, as far as is known yet.

        Not with the user's own stages, which may do anything, and models to come.
        """
        return self.reuse and self.updates is None and not self.replaced_stages

    @property
    def groups(self) -> bool:
        """Whether Postprocess gets Records as they come from Forward, and may take many at once."""
        follows = self.is_whole and self.placement.is_fused and self.postprocess is None
        return follows and self.binding.task.answers_together

    @property
    def replaced_stages(self) -> list[str]:
        """The names of the stages in whose place the user has put something."""
        names = ("preprocess", "postprocess")
        return [name for name in names if getattr(self, name) is not None]


class PlannedTask(Protocol):
    """The transform of a task, as its stages see it."""

    @property
    def plan(self) -> TaskPlan:
        """The plan of the task."""


def plan_of(task: PlannedTask | TaskPlan) -> TaskPlan:
    """The plan of a task's transform, or the plan itself."""
    return task if isinstance(task, TaskPlan) else task.plan
