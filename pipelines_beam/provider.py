"""The transforms of this project in Beam YAML: one type per task, and the file sinks."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import apache_beam as beam
from apache_beam.yaml import yaml_provider, yaml_transform

import transforms
from transforms.options.late import without_collections

from . import parquet, row_tables, sinks, sources, specification
from .io import in_yaml

_EMBEDDINGS = "sentence_transformers"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class TaskStep(beam.PTransform):  # type: ignore[misc]
    """A task in Beam YAML: with error_handling, its outputs by name."""

    def __init__(self, transform: transforms.TaskTransform) -> None:
        super().__init__(transform.default_label())
        self._transform = transform
        #: The type of its results, once it is applied.
        self.result_type: Any = None

    @property
    def task(self) -> transforms.TaskTransform:
        """The transform of the task."""
        return self._transform

    def expand(self, pcoll: Any) -> Any:
        """The task's result, or a mapping of its two outputs by name."""
        outputs = row_tables.answered(pcoll, self._transform)
        if outputs is None:
            result: Any = pcoll | self._transform
            outputs = result._asdict() if hasattr(result, "_asdict") else {"good": result}
        good = next(iter(outputs.values()))
        self.result_type = good.element_type
        return outputs if len(outputs) > 1 else good


class DecodeStep(beam.PTransform):  # type: ignore[misc]
    """DecodeImages in Beam YAML: with error_handling, its outputs by name."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        config = yaml_transform.SafeLineLoader.strip_metadata(config)
        self._transform = transforms.DecodeImages(**config)

    def expand(self, pcoll: Any) -> Any:
        """The rows, or a mapping of the two outputs by name."""
        result: Any = pcoll | self._transform
        return result._asdict() if hasattr(result, "_asdict") else result


def _create(cls: type[transforms.TaskTransform], **config: Any) -> beam.PTransform:
    # Beam's loader stores line numbers inside mappings.
    return TaskStep(cls(**yaml_transform.SafeLineLoader.strip_metadata(config)))


def provider(
    asked: Mapping[str, Any] = _NOTHING, writes: bool = True
) -> yaml_provider.InlineProvider:
    """A Beam YAML provider of every task (TextClassification, …), of ProcessFiles and the sinks.

    Args:
      asked: options of ProcessFiles, in place of those of the file.
      writes: whether the pipeline is to run; else ProcessFiles only finds out what it would do.

    """
    transforms_by_type: dict[str, Any] = {in_yaml.TYPE: in_yaml.factory(asked, writes)}
    for cls in transforms.TaskTransform.__subclasses__():
        transforms_by_type[cls.__name__] = functools.update_wrapper(
            functools.partial(_create, cls), cls
        )
    types = {**transforms_by_type, "DecodeImages": DecodeStep, **sinks.TRANSFORMS}
    return yaml_provider.InlineProvider(types, no_input_transforms=[in_yaml.TYPE])


def importable(folder: str) -> None:
    """Put a folder on the import path of this process and of the worker processes it starts.

    At the end: installed packages take precedence over modules in the folder.
    """
    if folder not in sys.path:
        sys.path.append(folder)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, paths), folder])


@contextlib.contextmanager
def _missing(module: str) -> Iterator[None]:
    """Have a module that is not imported yet look as if it were not installed."""
    known = sys.modules.setdefault(module, None)  # type: ignore[arg-type]
    try:
        yield
    finally:
        if known is None:
            del sys.modules[module]


@without_collections()
def expand(
    pipeline: beam.Pipeline,
    spec: dict[str, Any],
    path: str,
    asked: Mapping[str, Any] = _NOTHING,
    *,
    writes: bool = True,
) -> None:
    """Build the pipeline of a specification, from the tasks and Beam's own transforms.

    Args:
      pipeline: the pipeline to build.
      spec: the content of the file.
      path: where it is.
      asked: options of ProcessFiles, in place of those of the file.
      writes: see `provider`.

    Raises SpecificationError for a key, a type or an input that does not exist.

    """
    specification.check_top(spec)
    # Beam imports all that MLTransform could use, which takes seconds.
    with contextlib.nullcontext() if "MLTransform" in repr(spec) else _missing(_EMBEDDINGS):
        yaml_provider.standard_providers()
    ours = provider(asked, writes)
    providers = yaml_provider.merge_providers(
        yaml_provider.parse_providers(path, spec.get("providers", [])),
        {name: [ours] for name in ours.provided_transforms()},
        {"ReadFromParquet": [parquet.provider()]},
    )
    spec = sources.without_nulls(spec)
    specification.check(spec, {*providers, *yaml_provider.standard_providers()})
    rest = {key: value for key, value in spec.items() if key != "providers"}
    yaml_transform.expand_pipeline(pipeline, rest, providers=providers, pipeline_path=path)
    row_tables.drop_unread(pipeline)
