"""A worker process whose runner is gone ends, so that no model stays in memory for a dead job.

Beam's worker would stay until its bundle ends, which waits for a runner that is no more.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path

from apache_beam.portability.api import endpoints_pb2
from google.protobuf import text_format

#: Where Beam tells a worker process of the server that controls it.
_VARIABLE = "CONTROL_API_SERVICE_DESCRIPTOR"
#: Seconds between two looks, and how many of them must find no server.
_INTERVAL, _LOOKS = 5.0, 3

logger = logging.getLogger(__name__)
_lock = threading.Lock()
_is_watched = False


def watch() -> None:
    """End this process when its runner is gone, if it is a worker process of one."""
    global _is_watched  # noqa: PLW0603 - of the process
    address = _address()
    with _lock:
        if address is None or _is_watched:
            return
        _is_watched = True
    atexit.register(_leave, *address)
    threading.Thread(target=_watch, args=address, name="lost runner", daemon=True).start()


def _address() -> tuple[str, int] | None:
    """The host and port of the server that controls this process."""
    descriptor = endpoints_pb2.ApiServiceDescriptor()
    with contextlib.suppress(text_format.ParseError, ValueError):
        text_format.Merge(os.environ.get(_VARIABLE, ""), descriptor)
        host, _, port = descriptor.url.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None  # brackets: of IPv6
    return None


def _watch(host: str, port: int) -> None:
    refused = 0
    while refused < _LOOKS:
        time.sleep(_INTERVAL)
        refused = refused + 1 if _is_refused(host, port) else 0
    logger.error("no runner answers at %s:%d any more: this worker process ends", host, port)
    _leave(host, port)
    os._exit(1)  # threads wait for the runner


def _leave(host: str, port: int) -> None:
    """Before this process ends: Beam's worker may end by itself when it loses its runner."""
    if _is_refused(host, port):
        _end_boot(os.getppid())


def _is_refused(host: str, port: int) -> bool:
    """Whether nobody listens there: a server that is busy or stands still is there."""
    try:
        socket.create_connection((host, port), timeout=_INTERVAL).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _end_boot(parent: int) -> None:
    """End Beam's `boot`, if it has started this process: it would start another one."""
    with contextlib.suppress(OSError):
        if b"--provision_endpoint=" in Path(f"/proc/{parent}/cmdline").read_bytes():
            os.kill(parent, signal.SIGTERM)
