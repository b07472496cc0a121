"""Beam's job server ends with the command that has started it, even if that is killed.

Beam ends it when the command ends by itself. Of a command that is killed it would stay, with
hundreds of megabytes.
"""

from __future__ import annotations

import subprocess
import sys

from apache_beam.utils.subprocess_server import SubprocessServer

#: Waits until its parent is gone, which closes the pipe, and ends what is still there.
_GUARD = """\
import os, signal, sys
ids = list(map(int, sys.argv[1:]))
held = [os.pidfd_open(each) for each in ids] if hasattr(os, "pidfd_open") else None
sys.stdin.read()
for i, each in enumerate(ids):
    try:
        if held is None:
            os.kill(each, signal.SIGKILL)
        else:  # the process itself: another may have its id by now
            signal.pidfd_send_signal(held[i], signal.SIGKILL)
    except ProcessLookupError:
        pass
"""
_guards: list[subprocess.Popen[bytes]] = []


def guard() -> None:
    """End the job servers that Beam has started for this process when the process is gone."""
    servers = _running()
    if servers:
        command = [sys.executable, "-I", "-S", "-c", _GUARD, *map(str, servers)]
        # In a session of its own, Ctrl-C does not reach it.
        guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603
        _guards.append(guard)


def _running() -> list[int]:
    """The ids of their processes."""
    kept = SubprocessServer._cache._cache.values()
    started = [process for process, _ in (entry.obj for entry in kept)]
    return [each.pid for each in started if each is not None and each.poll() is None]
