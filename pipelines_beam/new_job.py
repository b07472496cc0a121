"""A commented job file for a task, to begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from transforms.options.shown import shown
from transforms.tasks import REQUIRED, Task, find

#: Values of parameters that have no default, and of inputs that are the same for all rows.
_EXAMPLES: dict[str, Any] = {
    "candidate_labels": ["travel", "cooking"],
    "questions": {
        "topic": {
            "type": "choice",
            "instructions": "What is it about?",
            "criteria": {"damage": "a damaged parcel", "delay": "a late parcel"},
        }
    },
}
#: Inputs that may be left out, and that a first job has.
_WANTED = {
    "any-to-any": ("text",),
    "document-question-answering": ("image",),
    "image-text-to-text": ("images",),
}
#: The extra that a task needs, by its kind of media. Texts need none.
_EXTRAS = {"image": "vision", "images": "vision", "audio": "audio", "video": "video"}
_SINGLE_MEDIA = ("image", "audio", "video")

_HEAD = """\
# {task}, over files: {columns} for each {what}.
#
{extra}#   pipelines-beam run {name} --set files={files} --dry-run     check all of it, run nothing
#   pipelines-beam run {name} --set files={files} --limit 100   try the first 100 rows
#   pipelines-beam run {name} --set files={files}               run it
#   pipelines-beam run {name} --set files={files} --resume      go on after it was stopped
pipeline:
  transforms:
    - type: ProcessFiles
      config:
        # {formats}
        files: "{{{{ files }}}}"
        # A folder, which must not exist: results are Parquet files in it, and rows that failed are
        # in its folder _failures. A try-out with --limit needs a folder of its own.
        output: "{{{{ output | default('out/{task}') }}}}"
        # The columns that are read and written beside the input. Without it: all.
        # columns: [{column}]
        # The most rows of one file of results: what is computed again after a job was killed.
        # rows_per_shard: {rows}
        # Compute equal rows of such a file each on its own.
        # reuse: false
        # A folder that keeps answers for later jobs, which do not compute such rows again.
        # cache: out/answers
        # Stop when more rows than that have failed: a number, or a share of those that are done.
        # max_failures: 1%
        # Compute this part of the rows once more, alone and in float32, and say how far the answers
        # are from that.
        # audit: 0.01
        task:
          type: {transform}
          config:
            # A model of the Hugging Face hub, a directory, or the URI of one (s3://, gs://, …).
            model: '{{{{ model | default({model}) }}}}'
"""
_FORMATS = {
    "rows": "A path, URI, pattern or folder of Parquet, JSON lines, CSV or text files.",
    "files": "A path, URI, pattern or folder of files: each is a row, with path, name and size.",
}
_OPTIONS = """\
            # Where and how it runs. Without these, the best device that there is, the type that the
            # weights are saved in, and batches as large as memory allows.
            # device: cuda:0
            # dtype: bfloat16
            # batch_size: 32
            # The most seconds for a batch: an element that takes longer on its own fails.
            # batch_timeout: 60
"""


def text(task: str, model: str | None = None, name: str = "job.yaml") -> str:
    """A job file for a task, with a comment on everything that it may say.

    Args:
      task: its name or an alias.
      model: the default of the file's variable `model`. None: that of the task.
      name: that of the file, in its commands.

    Raises ValueError for an unknown task, and a model's name that a file cannot hold.

    """
    found = find(task)
    model = found.default()[0] if model is None else model
    if not model.isprintable() or {"'", "{", "}"} & set(model) or not model:
        raise ValueError(f"model must be the name or path of a model, got {shown(model)}")
    return "".join([_head(found, model, name), *_inputs(found), *_parameters(found), _OPTIONS])


def _head(task: Task, model: str, name: str) -> str:
    of_files = _reads_files(task)
    extra = _extra(task)
    return _HEAD.format(
        task=task.name,
        name=name,
        extra="" if extra is None else f"#   pip install 'pipelines-beam[{extra}]'\n",
        transform=task.transform,
        columns=", ".join(task.columns({})),
        what=f"{next(iter(task.inputs))} file" if of_files else "row",
        files="'data/*'" if of_files else "'data/*.parquet'",
        formats=_FORMATS["files" if of_files else "rows"],
        column="name" if of_files else "id",
        rows=500 if of_files else 10000,
        model=json.dumps(model),
    )


def _extra(task: Task) -> str | None:
    """The extra that has the libraries of a task's media."""
    if task.name == "text-to-image":
        return "diffusers"
    kinds = [_EXTRAS[kind] for kind in task.media.values() if kind in _EXTRAS]
    return ",".join(dict.fromkeys(kinds)) or None


def _reads_files(task: Task) -> bool:
    """Whether each file is an input: for tasks with one medium."""
    return [task.media.get(name) in _SINGLE_MEDIA for name in _columns(task)] == [True]


def _columns(task: Task) -> list[str]:
    """The inputs that a first job reads from columns."""
    wanted = _WANTED.get(task.name, ())
    return [name for name in task.inputs if name not in task.optional_inputs or name in wanted]


def _inputs(task: Task) -> Iterator[str]:
    names = _columns(task)
    yield "            # The column that is read" + (", by input" if names[1:] else "") + ".\n"
    if _reads_files(task):
        yield "            input: path\n"
    elif len(task.inputs) == 1 or (len(names) == 1 and names[0] == next(iter(task.inputs))):
        yield f"            input: {names[0]}\n"
    else:
        yield f"            input: {{{', '.join(f'{name}: {name}' for name in names)}}}\n"
    more = [name for name in task.inputs if name not in names and name not in _EXAMPLES]
    if more:
        yield f"            # Inputs that may have columns, too: {', '.join(more)}.\n"


def _parameters(task: Task) -> Iterator[str]:
    """The task's parameters: those without a default with an example, the others as comments."""
    needed = [name for name in _EXAMPLES if name in {**task.parameters, **task.inputs}]
    for name in needed:
        yield f"            {name}: {json.dumps(_EXAMPLES[name])}\n"
    others = {k: v for k, v in task.parameters.items() if k not in needed and v is not REQUIRED}
    if others:
        yield "            # Parameters of the task, with their defaults.\n"
    for name, value in others.items():
        yield f"            # {name}: {json.dumps(value, default=str)}\n"
    if task.tokenizer_keywords:
        yield "            # And every keyword of the tokenizer's call, such as\n"
        yield "            # truncation: true\n"
    if task.generates:
        yield "            # And every keyword of model.generate, such as\n"
        yield "            # max_new_tokens: 64\n"
