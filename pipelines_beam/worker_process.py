"""Worker processes on this machine. If one dies, its job ends; Beam's own would wait for ever."""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import logging
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    GrpcWorkerHandler,
    WorkerHandler,
)
from google.protobuf import json_format, text_format

InstructionResponse = beam_fn_api_pb2.InstructionResponse
_MOMENT = 5.0  # seconds until it is known why a connection has ended
_DATA_PLANE = logging.getLogger("apache_beam.runners.worker.data_plane")


def register() -> None:
    """Have Beam's local runner start its worker processes with WorkerProcess."""
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WorkerProcess)
    _DATA_PLANE.addFilter(_is_news)


class WorkerProcess(GrpcWorkerHandler):  # type: ignore[misc]
    """A worker process of Beam's local runner.

    If it dies, what it was asked is answered with an error, and the other workers of the job are
    ended. What it logs goes to stderr.

    Args:
      command: what starts it.
      state: as of GrpcWorkerHandler, as the others.
      provision_info: what it is told of the job.
      server: the server that it talks to, which all workers of a job share.

    """

    def __init__(self, command: bytes, state: Any, provision_info: Any, server: Any) -> None:
        super().__init__(state, provision_info, server)
        self._command = command.decode()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closing = False
        self._siblings: list[WorkerProcess] = vars(server).setdefault("worker_processes", [])
        #: Why the worker answers nothing any more: it has died, or another one of the job has.
        self._error = next((each._error for each in self._siblings), None)
        self._siblings.append(self)
        # Beam's threads that read from the process would end with a traceback on stderr.
        control, data = self.control_conn, self.data_conn
        reading = functools.partial(_without_traceback, control._read)
        control._read_thread = threading.Thread(target=reading, name="answers of a worker")
        data._read_inputs = functools.partial(_without_traceback, data._read_inputs)
        data.input_elements = functools.partial(self._elements, data.input_elements)
        control.push = functools.partial(self._push, control.push)

    def start_worker(self) -> None:
        """Start the process."""
        options = json_format.MessageToDict(self.provision_info.provision_info.pipeline_options)
        self._process = subprocess.Popen(  # noqa: S603 - the runner's own command
            shlex.split(self._command),
            env={
                **os.environ,
                "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(
                    self.control_api_service_descriptor()
                ),
                "PIPELINE_OPTIONS": json.dumps({**_logging(), **options}),
                "WORKER_ID": self.worker_id,
            },
        )
        self._watch = threading.Thread(target=self._wait, name="worker process", daemon=True)
        self._watch.start()
        if self._error is not None:
            self._end()

    def close(self) -> None:
        """End the process: at once where the job has ended before its worker."""
        self._is_closing = True
        if self._error is not None or self._unanswered():
            self._end()
        self.control_conn.close()
        with contextlib.suppress(grpc.RpcError):  # it has been told that the process is gone
            self.data_conn.close()
        self.stop_worker()

    def stop_worker(self) -> None:
        """Wait for the end of the process."""
        self._watch.join()

    def _wait(self) -> None:
        assert self._process is not None
        status = self._process.wait()
        if self._is_closing:
            return
        error = f"worker process {self._process.pid} {_ending(status)} before its work was done"
        for worker in self._siblings:
            worker._is_closing = True
            worker._fail(error)
            worker._end()

    def _fail(self, error: str) -> None:
        """Answer with an error what the worker was asked, and will be asked."""
        self._error = error
        for future in self._unanswered():
            future.set(InstructionResponse(instruction_id=future.instruction_id, error=error))

    def _push(self, push: Callable[[Any], Any], request: Any) -> Any:
        """Ask the worker, as the control connection does."""
        future = push(request)
        if self._error is not None:
            self._fail(self._error)
        return future

    def _elements(self, read: Callable[..., Iterator[Any]], *args: Any, **kwargs: Any) -> Any:
        """What the worker gives, or why it does not."""
        try:
            yield from read(*args, **kwargs)
        except RuntimeError as error:  # its connection is closed
            self._watch.join(_MOMENT)
            if self._error is None:
                raise
            raise RuntimeError(self._error) from error

    def _end(self) -> None:
        """End the process. Whoever waits until it takes something is let go on."""
        if self._process is not None:
            self._process.kill()
        drain = functools.partial(_drain, self.data_conn)
        threading.Thread(target=drain, name="drain of a worker", daemon=True).start()

    def _unanswered(self) -> list[Any]:
        """What the worker was asked, and has not answered."""
        futures = list(self.control_conn._futures_by_id.values())
        return [each for each in futures if not each.is_done()]


def _logging() -> dict[str, Any]:
    """Options of what a worker logs: no more than this process."""
    level = str(max(logging.root.level, logging.root.manager.disable + 1))
    return {
        "default_sdk_harness_log_level": level,
        # It would warn of a folder that workers on this machine do not need.
        "sdk_harness_log_level_overrides": {"__main__": "ERROR"},
    }


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message of Beam's says more than that a process is gone, which the error says."""
    return not record.getMessage().startswith("Failed to read inputs in the data plane")


def _drain(connection: Any) -> None:
    """Take what is to be sent to a process that is gone."""
    collections.deque(connection._write_outputs(), maxlen=0)


def _without_traceback(read: Callable[..., None], *args: Any) -> None:
    """Read what a worker sends until it ends, in any way."""
    with contextlib.suppress(grpc.RpcError):
        read(*args)


def _ending(status: int) -> str:
    """How a process has ended, given its exit status."""
    if status >= 0:
        return f"ended with exit status {status}"
    name = signal.Signals(-status).name
    hint = ", as a system does that runs out of memory," if -status == signal.SIGKILL else ""
    return f"was killed ({name}){hint}"
