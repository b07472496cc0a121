"""The transforms of a Beam YAML file, as Beam has applied them to a pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from transforms.options.shown import shown

from .io import in_yaml
from .specification import SpecificationError


@dataclass(frozen=True, kw_only=True)
class Sink:
    """A transform that writes files."""

    name: str
    #: Its type in Beam YAML: WriteToParquet, …
    kind: str
    #: The transforms whose failed rows it writes.
    failed: tuple[str, ...]
    #: The folder of its files: the names that it gives may be relative to it.
    folder: str


@dataclass(frozen=True)
class YamlStep:
    """A transform of the file, applied to the pipeline."""

    node: AppliedPTransform
    #: Its type in Beam YAML.
    kind: str
    #: Its `config` in the file.
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its label in the pipeline."""
        return str(self.node.full_label)

    @property
    def prefix(self) -> str:
        """The prefix of a sink's files; empty for other transforms."""
        names = ("path", "file_path_prefix", "output")
        return str(next(filter(None, map(self.config.get, names)), ""))

    @property
    def writes(self) -> bool:
        """Whether it writes files."""
        return self.kind.startswith("Write") or self.kind == in_yaml.TYPE

    @property
    def predicted(self) -> tuple[str, ...]:
        """The columns of its predictions; none where it runs no model."""
        task = getattr(self.node.transform, "task", None)
        return () if task is None else tuple(task.plan.binding.prediction.columns)

    def errors(self) -> list[beam.PCollection]:
        """The PCollection of its failed rows; empty if it has none."""
        if self.kind == in_yaml.TYPE:
            return [self.node.outputs[in_yaml.FAILED]]
        handling = self.config.get("error_handling")
        name = handling.get("output") if isinstance(handling, Mapping) else None
        failed = None if name is None else self.node.outputs.get(name)
        return [] if failed is None else [failed]

    def results(self) -> list[beam.PCollection]:
        """Its outputs without the failed rows; a PDone has no elements and is left out."""
        errors = {id(pcoll) for pcoll in self.errors()}
        return [
            each
            for each in self.node.outputs.values()
            if isinstance(each, beam.PCollection) and id(each) not in errors
        ]

    def sink(self, failed: Mapping[int, str]) -> Sink:
        """What a sink writes. `failed`: the transforms of PCollections of failed rows, by id."""
        return Sink(
            name=self.name,
            kind=self.kind,
            failed=tuple(failed[id(each)] for each in self.node.inputs if id(each) in failed),
            folder=FileSystems.split(self.prefix)[0] if self.prefix else "",
        )


def yaml_steps(pipeline: beam.Pipeline) -> Iterator[YamlStep]:
    """The transforms of a Beam YAML file in a built pipeline: Beam annotates them."""
    nodes: list[AppliedPTransform] = []

    class Visitor(PipelineVisitor):  # type: ignore[misc]
        def enter_composite_transform(self, node: AppliedPTransform) -> None:
            nodes.append(node)

        visit_transform = enter_composite_transform

    pipeline.visit(Visitor())
    for node in nodes:
        annotations = {} if node.transform is None else node.transform.annotations()
        if "yaml_type" in annotations:
            config = json.loads(annotations["yaml_args"])
            yield YamlStep(node, annotations["yaml_type"], config)


def check_distinct(sinks: Sequence[YamlStep]) -> None:
    """Raises SpecificationError for two sinks with the same prefix of file names."""
    known: dict[str, YamlStep] = {}
    for sink in sinks:
        if not sink.prefix:
            continue
        other = known.setdefault(sink.prefix, sink)
        if other is not sink:
            raise SpecificationError(
                f"{other.name} and {sink.name} both write to {shown(sink.prefix, 200)}: the files "
                "of one would replace those of the other"
            )
