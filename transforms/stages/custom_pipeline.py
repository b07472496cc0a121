"""The transform of pipeline classes that are nobody's here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..options.spec import ModelSpec
from ..options.suggest import likely, unknown
from ..pipelines.custom import resolved
from .task_transform import TaskTransform, options_of


class CustomPipeline(TaskTransform):
    """A pipeline class of your own, or of a model's repository, as a transform.

    ```python
    scored = texts | CustomPipeline("distilbert/…", task="my-task", pipeline_class=MyPipeline)
    ```

    `inference` is what the class's call returns; of rows, too, where its column has the type that
    the class's `postprocess` is annotated with. The class's `preprocess` and `postprocess` see the
    model without its weights.

    `input` is a column, or a mapping from the names that the class's call takes in a dict to
    columns. The call is given dicts in place of the rows in a column, such as the images and sounds
    of other tasks: Beam does not keep their classes between workers. All else, and an element
    without `input`, it is given as it is: the class may take objects that no other task knows.

    Chunks of equal shapes share a batch if the first batch shows that the class answers it as it
    answers its chunks alone; else they run one at a time.

    Args:
      model: as for every task; there is no default.
      task: any name for a class of yours; if transformers knows it, its models are loaded as they
        are for that task, else by the class that their configuration names.
      pipeline_class: a subclass of transformers.Pipeline, or its name "module.Class", in a module
        that the workers can import. None: the one of the model's repository (`custom_pipelines`
        in its config.json), with `trust_remote_code=True` only; or the one that is registered
        with `transformers.pipelines.PIPELINE_REGISTRY`.
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

    def _check_task(self, name: str, model: str | None, parameters: Mapping[str, Any]) -> None:
        if model is None:
            options = options_of(CustomPipeline)
            for given in parameters:
                if likely(given, options) is not None:
                    reason = unknown("option", given, (), more={"options": options})
                    raise TypeError(f"{name}: {reason}")
            raise TypeError(f"{name}: a pipeline class of its own needs a model")

    def _resolved(self, spec: ModelSpec) -> ModelSpec:
        return resolved(spec, self._pipeline_class)
