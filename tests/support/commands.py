"""The command line as a person uses it: in a process of its own for each command.

The processes are forked from one that has imported what jobs import, which takes ten seconds of
processor time. `python -m pipelines_beam` itself is run by the test of the quickstart.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

#: Beam imports `yaml_ml`, and with it a thousand other modules, for any YAML file.
_LIBRARIES = [
    "apache_beam.yaml.yaml_ml",
    "apache_beam.yaml.yaml_transform",
    "pipelines_beam.cli",
    "pipelines_beam.provider",
    "transformers.pipelines",
    "transforms.batching.replica",
    "transforms.catalogue",
]
#: What the command line sets before it imports them.
_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@functools.cache
def processes() -> multiprocessing.context.ForkServerContext:
    """Makes processes that have imported what jobs import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in _QUIET.items():
            patched.setenv(name, value)
        forkserver.ensure_running()
    return context


def command(*args: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Run `pipelines-beam` with these arguments."""
    with tempfile.TemporaryDirectory() as folder:
        with started(*args, folder=folder) as process:
            process.join(seconds)
            assert process.exitcode is not None, f"no end within {seconds} seconds: {args}"
        said = [(Path(folder) / name).read_text(encoding="utf-8") for name in ("out", "err")]
        return subprocess.CompletedProcess(args, process.exitcode, *said)


@contextlib.contextmanager
def started(*args: str, folder: str | Path) -> Iterator[BaseProcess]:
    """Start `pipelines-beam` with these arguments, whose output goes to files in a folder.

    It is killed at the end, if it still runs.
    """
    process = processes().Process(target=_run, args=(args, str(folder), os.getcwd()))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _run(args: tuple[str, ...], folder: str, here: str) -> None:
    os.chdir(here)
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
    from pipelines_beam import cli

    try:
        sys.exit(cli.main(args))
    finally:  # multiprocessing leaves them out: a job server would stay
        atexit._run_exitfuncs()
