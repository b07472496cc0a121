"""Answers of earlier jobs: rows with the same inputs are not computed again.

A cache is a folder on any file system of fsspec. In it, each kind of computation (a task with a
model, parameters and versions) has a folder, in which each shard of a job leaves one Parquet file
with the hashes of its inputs and their answers. Failures are not kept: they may pass.
"""

from __future__ import annotations

import functools
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms import TaskTransform
from transforms.rows.distinct import digests, has_dictionary

from . import identity
from .output import Output, as_parquet, is_shard

KEY = "key"
_KEY_BYTES = 32
_DTYPE = f"S{_KEY_BYTES}"
#: What does not decide an answer: where inputs are, and what else rows have.
_NO_PART = ("input", "columns", "format")
_OPEN_FILES = 4  # of which the answers are held: neighbouring tables mostly come from the same
_THREADS = 16  # that read files: stores take their time for each


def computation(task: TaskTransform, option: str = "cache") -> str:
    """The name of the folder for answers of a task: the hash of what decides them.

    Raises ValueError, which names the option, for a task whose answers are not decided by the input
    alone, or whose inputs may change although they look the same.
    """
    binding = task.plan.binding
    if task.plan.replaced_stages or not task.repeats:
        raise ValueError(
            f"{option}: equal inputs may have different answers, since tokens are drawn at random, "
            "or a function or pipeline class of your own answers"
        )
    if binding.task.media and binding.task.lists == "chat":
        raise ValueError(f"{option}: chats may name images by their URIs, whose content may change")
    about = identity.described(task, None, "")
    return identity.hashed({k: text for k, text in about.items() if k not in _NO_PART})[:32]


def check_columns(task: TaskTransform, schema: pa.Schema, option: str) -> None:
    """Raises ValueError for inputs that are names of files, whose content may change.

    And for those of a type that is not compared.
    """
    columns = _columns(task)
    for name in columns.values():
        if has_dictionary(schema.field(name).type):
            raise ValueError(
                f"{option}: the column {name!r} is a dictionary, which is not compared"
            )
    for name in task.plan.binding.task.media.keys() & columns.keys():
        kind = schema.field(columns[name]).type
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            raise ValueError(
                f"{option}: the column {columns[name]!r} of {name} must hold the bytes of files, "
                f"got {kind}: what is at a path may change"
            )


def _columns(task: TaskTransform) -> dict[str, str]:
    """The column of each input that is given, in the order in which the task has its inputs.

    Then those of the prompt and of parameters, by their own names, which the computation names.
    """
    binding = task.plan.binding
    given = binding.input_columns
    found = {name: given[name] for name in binding.task.inputs if name in given}
    more = [column for column in binding.columns_read if column not in found.values()]
    return {**found, **{f"column {column}": column for column in more}}


class Cache:
    """The answers of one kind of computation."""

    def __init__(self, uri: str, task: TaskTransform, option: str = "cache") -> None:
        self._folder = Output(f"{uri.rstrip('/')}/{computation(task, option)}")
        self._columns = _columns(task)
        self._schema = task.schema()

    def load(self) -> None:
        """Find out which answers there are."""
        self._names = sorted(filter(is_shard, self._folder.names()))
        with ThreadPoolExecutor(_THREADS) as pool:
            keys = list(pool.map(self._keys_in, self._names))
        where = [(file, row) for file, own in enumerate(keys) for row in range(len(own))]
        flat = np.array([key for own in keys for key in own], _DTYPE)
        order = np.argsort(flat)
        self._keys = flat[order]
        self._where = np.array(where, int).reshape(-1, 2)[order]
        self._answers = functools.lru_cache(_OPEN_FILES)(self._answers_in)

    def found(self, table: pa.Table) -> tuple[list[int], pa.Table]:
        """The rows of a table that have an answer, and the columns of the answers."""
        keys = np.array(self.hashes(table), _DTYPE)
        places = np.searchsorted(self._keys, keys)
        known = places < len(self._keys)
        known[known] = self._keys[places[known]] == keys[known]
        columns = self._answers_at(self._where[places[known]])
        return [int(row) for row in np.flatnonzero(known)], columns

    def _answers_at(self, where: np.ndarray) -> pa.Table:
        """The answers at some places, which are numbers of files and rows, in their order.

        Each file is read once, however its rows are mixed with those of others.
        """
        answers: list[pa.Table] = [self._schema.empty_table()] * len(where)
        for file in np.unique(where[:, 0]).tolist():
            places = np.flatnonzero(where[:, 0] == file)
            table = self._answers(file)
            rows = [table.slice(row, 1) for row in where[places, 1].tolist()]
            own = pa.concat_tables(rows).combine_chunks()  # a copy: slices would hold all files
            for i, place in enumerate(places.tolist()):
                answers[place] = own.slice(i, 1)
        return pa.concat_tables([self._schema.empty_table(), *answers])

    def add(self, table: pa.Table) -> None:
        """Keep the answers in a table of results, in a file of their own."""
        if not len(table):
            return
        hashes = self.hashes(table)
        name = f"part-{hashlib.sha256(b''.join(hashes)).hexdigest()[:32]}.parquet"
        keys = pa.array(hashes, pa.binary(_KEY_BYTES))
        answers = table.select(self._schema.names).combine_chunks().add_column(0, KEY, keys)
        self._folder.write(name, as_parquet(answers.replace_schema_metadata()))

    def hashes(self, table: pa.Table) -> list[bytes]:
        """The hash of the inputs of each row."""
        columns = [table[name] for name in self._columns.values()]
        inputs = zip(self._columns, columns, strict=True)
        types = "\n".join(f"{name}: {column.type}" for name, column in inputs).encode()
        parts = zip(*map(digests, columns), strict=True)
        return [hashlib.sha256(types + b"".join(each)).digest() for each in parts]

    def _keys_in(self, name: str) -> list[bytes]:
        with self._folder.open(name) as opened:
            return list(pq.read_table(opened, columns=[KEY])[KEY].to_pylist())

    def _answers_in(self, file: int) -> pa.Table:
        table = pq.read_table(io.BytesIO(self._folder.read(self._names[file])))
        return table.select(self._schema.names).cast(self._schema)
