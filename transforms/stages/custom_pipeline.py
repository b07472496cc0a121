"""The transform of pipeline classes that are not part of transformers or of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..options.spec import ModelSpec
from ..options.suggest import likely, unknown
from ..pipelines.custom import with_pipeline_class
from .task_transform import TaskTransform, options_of


class CustomPipeline(TaskTransform):
    """A pipeline class of your own, or from a model's repository, as a transform.

    ```python
    scored = texts | CustomPipeline("distilbert/…", task="my-task", pipeline_class=MyPipeline)
    ```

    `inference` is what the class's call returns. Rows have it in a column of that name, with the
    type that the class's `postprocess` is annotated with. The class's `preprocess` and
    `postprocess` see the model without its weights.

    `input` is a column, or, for a class whose call takes a dict, a mapping from its keys to
    columns. Rows within a column, such as the images and sounds of other tasks, reach the call as
    dicts: Beam does not keep their classes between workers. Everything else, and an element
    without `input`, reaches it unchanged: the class may take objects that no other task knows.

    Chunks of equal shapes share a batch if the first batch gives the same outputs as its chunks
    one at a time; otherwise every chunk runs alone.

    Args:
      model: as for every task; there is no default.
      task: any name for a class of your own. If transformers knows the task, the model is loaded
        as for that task, otherwise with the class that its configuration names.
      pipeline_class: a subclass of transformers.Pipeline, or its name "module.Class", in a module
        that the workers can import. None: the class in the model's repository (`custom_pipelines`
        in its config.json), which needs `trust_remote_code=True`, or the class registered in
        `transformers.pipelines.PIPELINE_REGISTRY`.
      **options: as for every task; and the class's own parameters.

    """

    def __init__(
        self,
        model: str | None = None,
        *,
        task: str,
        pipeline_class: type[Any] | str | None = None,
        **options: Any,
    ) -> None:
        self._pipeline_class = pipeline_class
        super().__init__(model, task=task, **options)
        self.config |= {} if pipeline_class is None else {"pipeline_class": pipeline_class}

    def _check_task(self, name: str, model: str | None, parameters: Mapping[str, Any]) -> None:
        if model is None:
            options = options_of(CustomPipeline)
            for parameter in parameters:
                if likely(parameter, options) is not None:
                    reason = unknown("option", parameter, (), more={"options": options})
                    raise TypeError(f"{name}: {reason}")
            raise TypeError(f"{name}: a pipeline class of its own needs a model")

    def _resolve_task(self, spec: ModelSpec) -> ModelSpec:
        return with_pipeline_class(spec, self._pipeline_class)
