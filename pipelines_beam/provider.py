"""Our transforms as Beam YAML knows them: one transform type per task."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

import apache_beam as beam
from apache_beam.yaml import yaml_provider, yaml_transform

import transforms

from . import parquet, sinks, sources, specification


class _Outputs(beam.PTransform):  # type: ignore[misc]
    """A task in Beam YAML: with error_handling, its outputs by name."""

    def __init__(self, transform: transforms.TaskTransform) -> None:
        super().__init__(transform.default_label())
        self._transform = transform

    def expand(self, pcoll: Any) -> Any:
        """The task's result, or a mapping of both outputs' names to them."""
        found: Any = pcoll | self._transform
        return found._asdict() if hasattr(found, "_asdict") else found


def _create(cls: type[transforms.TaskTransform], **config: Any) -> beam.PTransform:
    # Beam's loader notes the lines of mappings inside them.
    return _Outputs(cls(**yaml_transform.SafeLineLoader.strip_metadata(config)))


def provider() -> yaml_provider.InlineProvider:
    """A Beam YAML provider of every task, TextClassification and the others, and of our sinks."""
    found: dict[str, Any] = {}
    for cls in transforms.TaskTransform.__subclasses__():
        found[cls.__name__] = functools.update_wrapper(functools.partial(_create, cls), cls)
    return yaml_provider.InlineProvider({**found, **sinks.TRANSFORMS})


def importable(folder: str) -> None:
    """Put a folder on the import path of this process and of the worker processes it starts.

    At its end: what is installed goes before what lies beside a file.
    """
    if folder not in sys.path:
        sys.path.append(folder)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, paths), folder])


def expand(pipeline: beam.Pipeline, spec: dict[str, Any], path: str) -> None:
    """Build what a specification says, with the tasks beside Beam's own transforms.

    Raises SpecificationError for a key, a type or an input that does not exist.
    """
    specification.check_top(spec)
    ours = provider()
    providers = yaml_provider.merge_providers(
        yaml_provider.parse_providers(path, spec.get("providers", [])),
        {name: [ours] for name in ours.provided_transforms()},
        {"ReadFromParquet": [parquet.provider()]},
    )
    spec = sources.without_nulls(spec)
    specification.check(spec, {*providers, *yaml_provider.standard_providers()})
    rest = {key: value for key, value in spec.items() if key != "providers"}
    yaml_transform.expand_pipeline(pipeline, rest, providers=providers, pipeline_path=path)
