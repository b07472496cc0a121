"""Preparing a job over files: what there is, and what is to be done."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from transforms import TaskTransform
from transforms.options.suggest import unknown

from . import identity
from .cache import check_columns
from .failure_limit import FailureGuard, FailureLimit
from .files import InputChangedError, InputFile, listed
from .formats import FORMATS, ROW, format_of
from .job import ABOUT, Job, NoJobError, about_job
from .limit import first_rows
from .output import JOB, SHARED, Output, is_shard
from .pieces import Piece, ShardSize
from .plan import Plan, PlanError, plans
from .retry_records import settle
from .settings import Settings
from .task_config import as_json

logger = logging.getLogger(__name__)

_THREADS = 16  # that read the footers of files
_ROWS, _MEDIA_ROWS = 10_000, 500  # of a shard; of media a row is a file
_FEATURES = b"huggingface"  # what `datasets` keeps of columns


class OutputExistsError(FileExistsError):
    """There is something at the path of the output, and neither resume nor overwrite is set."""


def prepare(settings: Settings, writes: bool = True) -> Job:
    """Look what there is and what is to be done, and write the plan of it beside the output.

    Without `writes`, nothing is written or removed: such a job can be looked at, and not run.

    Raises:
      FileNotFoundError: nothing matches a pattern.
      OutputExistsError: the output is not empty.
      JobChangedError: it was begun by another job.
      InputChangedError: a file has changed since its results were planned.
      OutputError: the output cannot be written to.
      ValueError: a file does not fit, or an option.

    """
    output = Output(settings.output)
    files = _apart(listed(settings.files), output)
    about = _about(settings, output)
    format_name = format_of(files, settings.format)
    whole = _whole_schema(files, format_name, about)
    schema = _chosen(_typed(whole, settings.types or {}), settings)
    settings.task.schema(schema)
    takes_answers = settings.uses_cache or settings.dedupes_job
    if takes_answers:
        check_columns(settings.task, schema, "cache" if settings.uses_cache else "dedupe")
    description = _description(settings, schema, format_name)
    if about is not None:
        identity.check_same(about["job"], description, output.uri)
    output.check_writable()
    known = [] if about is None else plans(output)
    pieces = _new_pieces(settings, files, format_name, schema, known)
    new = Plan.of(identity.hashed(description), len(known), pieces) if pieces else None
    if writes:
        begun = _new_about(description, whole, settings.task) if about is None else None
        _write(output, begun, new)
    known += [] if new is None else [new]
    names = [] if about is None else output.names()
    job = _to_do(output, names, known, {file.uri for file in files})
    return replace(
        job,
        format=format_name,
        schema=schema,
        is_limited=settings.limit is not None,
        guard=_guard(output, settings),
        audit=settings.audit_options,
        takes_answers=takes_answers,
    )


def _description(settings: Settings, schema: pa.Schema, format: str) -> identity.Description:
    found = identity.described(settings.task, _described(schema), format)
    return found if settings.limit is None else {**found, "limit": str(settings.limit)}


def _new_pieces(
    settings: Settings,
    files: Sequence[InputFile],
    format: str,
    schema: pa.Schema,
    known: Sequence[Plan],
) -> list[Sequence[tuple[InputFile, Piece]]]:
    """What new shards come from: files that are in no plan."""
    if settings.limit is not None and known:
        return []  # the first plan has all rows of the limit
    pieces = _pieces(_new(files, known), format, settings, schema)
    count = rows_per_shard(settings, format) if format == "media" else 1
    return list(_batched(pieces, count))


def _write(output: Output, about: Mapping[str, Any] | None, plan: Plan | None) -> None:
    """Write what the job is, if it begins, and its new plan."""
    if about is not None:
        output.clear()
        output.write(ABOUT, json.dumps(about, indent=1, ensure_ascii=False).encode())
    else:
        output.clean()
        settle(output)
    if plan is not None:
        _write_plan(output, plan)


def _guard(output: Output, settings: Settings) -> FailureGuard | None:
    if settings.max_failures is None:
        return None
    return FailureGuard(output, FailureLimit.of(settings.max_failures))


def _to_do(output: Output, names: Sequence[str], known: Sequence[Plan], uris: Set[str]) -> Job:
    """What is planned and not written, as far as its files are still there."""
    done = [plan.is_done(names) for plan in known]
    gone = [plan.lacks(uris) & ~written for plan, written in zip(known, done, strict=True)]
    segments = [
        segment
        for plan, written, lost in zip(known, done, gone, strict=True)
        for segment in plan.segments(written | lost)
    ]
    shards, written, lost = (int(sum(map(np.sum, each))) for each in (map(len, known), done, gone))
    if lost:
        logger.warning("%s: the files of %d shards are gone, which are left out", output.uri, lost)
    rows_done = sum(int(plan.rows[each].sum()) for plan, each in zip(known, done, strict=True))
    return Job(
        output=output,
        segments=tuple(segments),
        shards=shards - lost,
        done=written,
        rows_done=rows_done,
        plans=tuple(known),
        lost=tuple(gone),
    )


def _apart(files: Sequence[InputFile], output: Output) -> list[InputFile]:
    """The files without the results in the output, which may be in the folder of the input.

    Raises ValueError for other files in the output, and where nothing else is left.
    """
    inside = [file for file in files if file.uri.startswith(f"{output.uri}/")]
    results = set(inside)
    left = [file for file in files if file not in results]
    others = [file for file in inside if not is_shard(file.uri.rpartition("/")[2])]
    for file in others or ([] if left else inside):
        raise ValueError(
            f"files: {file.uri} is in the folder of the output, {output.uri}: results would be "
            "inputs of the next run. Write to another path"
        )
    return left


def _about(settings: Settings, output: Output) -> dict[str, Any] | None:
    """What the output says of its job; None for a job to begin."""
    names = output.names()
    if settings.overwrite or (set(names) <= {JOB} and not output.names(SHARED)):
        return None  # without results and answers there is nothing to lose
    if not settings.resume:
        raise OutputExistsError(
            f"{output.uri} exists already. Resume it (resume=True, --resume), overwrite it "
            "(overwrite=True, --overwrite), or write to another path"
        )
    try:
        return about_job(output)
    except NoJobError:
        raise OutputExistsError(
            f"{output.uri} exists already, and no job over files has begun it: there is nothing to "
            f"resume. It has {', '.join(sorted(names)[:5])}. Write to another path"
        ) from None


def _new_about(
    description: identity.Description, schema: pa.Schema, task: TaskTransform
) -> dict[str, Any]:
    """What an output says of a job that begins it."""
    serialized = base64.b64encode(schema.serialize().to_pybytes()).decode()
    return {"job": description, "schema": serialized, "task": as_json(task)}


def _write_plan(output: Output, plan: Plan) -> None:
    plan.write(output)
    try:
        plans(output)
    except PlanError:
        output.remove(f"{JOB}/plan-{plan.name}.parquet")
        raise


def _whole_schema(
    files: Sequence[InputFile], format: str, about: Mapping[str, Any] | None
) -> pa.Schema:
    """The columns of the files: as the job that began the output found them, or the first file."""
    if about is not None:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(about["schema"])))
    return FORMATS[format].schema(next((each for each in files if each.size), files[0]))


def _typed(schema: pa.Schema, types: Mapping[str, str]) -> pa.Schema:
    """The schema with the types that are given for some columns."""
    for name, kind in types.items():
        if name not in schema.names:
            raise ValueError(f"types: {unknown('column', name, schema.names)}")
        try:
            field = schema.field(name).with_type(pa.type_for_alias(kind))
        except ValueError as error:
            raise ValueError(f"types: {name}: {error}") from error
        schema = schema.set(schema.get_field_index(name), field)
    return schema


def _chosen(schema: pa.Schema, settings: Settings) -> pa.Schema:
    """The columns that are asked for, and those that the task reads, in the order of the file."""
    if settings.columns is not None:
        for name in settings.columns:
            if name not in schema.names:
                raise ValueError(f"columns: {unknown('column', name, schema.names)}")
        names = {*settings.columns, *settings.task.plan.binding.columns_read}
        fields = [field for field in schema if field.name in names]
        schema = pa.schema(fields, schema.metadata)
    if ROW in schema.names:
        raise ValueError(f"the files have a column {ROW!r}, which is kept for the numbers of rows")
    return schema.with_metadata(_features(schema))


def _features(schema: pa.Schema) -> dict[bytes, bytes] | None:
    """What `datasets` is told of the columns that there are."""
    about = json.loads((schema.metadata or {}).get(_FEATURES, b"{}"))
    features = about.get("info", {}).get("features", {})
    kept = {name: feature for name, feature in features.items() if name in schema.names}
    return {_FEATURES: json.dumps({"info": {"features": kept}}).encode()} if kept else None


def _described(schema: pa.Schema) -> list[str]:
    return [f"{field.name}: {field.type}" for field in schema]


def _new(files: Sequence[InputFile], known: Sequence[Plan]) -> list[InputFile]:
    """The files that are in no plan.

    Raises InputChangedError for one that is planned with another content.
    """
    planned = {file.uri: file for plan in known for file in plan.files()}
    new = []
    for file in files:
        if file.uri not in planned:
            new.append(file)
        elif not file.is_now(planned[file.uri]):
            raise InputChangedError(
                f"{file.uri} has changed since its results were planned or written. Overwrite the "
                "output, or write to another path; or give the new content a name of its own"
            )
    return new


def _pieces(
    files: Sequence[InputFile], format: str, settings: Settings, schema: pa.Schema
) -> list[tuple[InputFile, Piece]]:
    """How files are cut."""
    size = ShardSize(rows_per_shard(settings, format), settings.bytes_per_shard)
    if settings.limit is not None:
        return list(first_rows(files, FORMATS[format], size, schema, settings.limit))
    with ThreadPoolExecutor(_THREADS) as pool:
        pieces = pool.map(lambda file: FORMATS[format].pieces(file, size, schema), files)
        return [(file, piece) for file, each in zip(files, pieces, strict=True) for piece in each]


def rows_per_shard(settings: Settings, format: str) -> int:
    """The most rows of a shard."""
    return settings.rows_per_shard or (_MEDIA_ROWS if format == "media" else _ROWS)


def _batched(
    found: Iterable[tuple[InputFile, Piece]], count: int
) -> Iterable[Sequence[tuple[InputFile, Piece]]]:
    rest = iter(found)
    return iter(lambda: tuple(islice(rest, count)), ())
