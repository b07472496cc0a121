"""What a job would do, as text for people, or as plain data: nothing of it has run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apache_beam.typehints.row_type import RowTypeConstraint

from transforms.rows.row_types import fields_of

from .columns import arrow_type
from .io import in_yaml
from .progress import known_rows
from .samples import printable
from .yaml_job import YamlJob
from .yaml_steps import YamlStep


def as_data(job: YamlJob) -> dict[str, Any]:
    """What each step would do."""
    steps = [each for each in job.outcome.steps if each.kind not in ("chain", "composite")]
    return {"event": "dry-run", "file": job.file, "steps": [_step(each) for each in steps]}


def as_text(job: YamlJob) -> Iterator[str]:
    """The same in lines."""
    for step in as_data(job)["steps"]:
        name = "" if step["name"] == step["type"] else f" ({step['name']})"
        yield f"{step['type']}{name}"
        for key, value in step.items():
            if key not in ("name", "type") and value not in (None, {}):
                yield f"  {key.replace('_', ' ')}: {printable(_shown(value))}"
    yield "nothing has run, and nothing is written"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _step(step: YamlStep) -> dict[str, Any]:
    named = {"type": step.kind, "name": step.name}
    if step.kind == in_yaml.TYPE:
        return named | _of_files(step.node.transform)
    task = getattr(step.node.transform, "task", None)
    if task is not None:
        model = task.spec.model
        return named | {
            "task": task.spec.task,
            "model": model.source,
            "columns": _columns(step.node.transform.result_type),
        }
    if step.prefix:
        found = {"path": step.prefix}
        return named | (found if step.writes else {**found, "rows": known_rows.of(step)})
    return named


def _of_files(transform: Any) -> dict[str, Any]:
    """What a job over files would do."""
    job, task = transform.job, transform.task
    found = {file for plan in job.plans for file in plan.files()}
    about = "" if job.counts_rows else "about "
    return {
        "task": task.spec.task,
        "model": task.spec.model.source,
        "input": f"{len(found):,} files of {job.format}, {about}{job.rows:,} rows",
        "output": job.output.uri,
        "files_of_the_output": job.shards,
        "files_that_are_there": job.done,
        "rows_to_be_computed": f"{about}{job.rows - job.rows_done:,}",
        "columns": {field.name: str(field.type) for field in task.schema(job.schema)},
    }


def _columns(kind: Any) -> dict[str, str]:
    """The columns of a type of rows with their types; empty for other types."""
    rows = RowTypeConstraint.from_user_type(kind) or kind
    fields = fields_of(rows) if isinstance(rows, RowTypeConstraint) else None
    return {name: _type(each) for name, each in (fields or {}).items()}


def _type(kind: Any) -> str:
    try:
        return str(arrow_type(kind))
    except TypeError:
        return str(kind)
