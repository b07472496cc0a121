"""How many rows the steps of a Beam YAML file give to models, where it can be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from ..yaml_steps import YamlStep

_MOST_FILES = 5000  # whose footers are read


def reads(models: Sequence[YamlStep], steps: Sequence[YamlStep]) -> Callable[[], int | None] | None:
    """What finds the number of rows that models are asked, in all.

    Known are the rows of Parquet files, by their footers, and of Create, where a model reads them
    directly. A step between them may leave rows out, or make more of them.

    Args:
      models: the steps that run a model on what they are given.
      steps: all steps.

    """
    if not models:
        return None
    sources = {id(pcoll): step for step in steps for pcoll in step.node.outputs.values()}

    def find() -> int | None:
        rows = [of(sources.get(id(pcoll))) for step in models for pcoll in step.node.inputs]
        known = [each for each in rows if each is not None]
        return sum(known) if len(known) == len(rows) else None

    return find


def of(source: YamlStep | None) -> int | None:
    """The number of rows that a step reads; None: unknown."""
    if source is None:
        return None
    if source.kind == "Create":
        return len(source.config["elements"])
    if source.kind == "ReadFromParquet":
        return _rows_of_parquet(source.config)
    return None


def _rows_of_parquet(config: Mapping[str, Any]) -> int | None:
    files = FileSystems.match([config.get("file_pattern", config.get("path"))])[0].metadata_list
    if len(files) > _MOST_FILES:
        return None
    rows = 0
    for each in files:
        with FileSystems.open(each.path) as file:
            rows += pq.read_metadata(file).num_rows
    return rows
