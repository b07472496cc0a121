"""What a Flink cluster says of itself, by its REST."""

from __future__ import annotations

import ipaddress
import json
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES, FlinkRunner

_SECONDS = 10.0


@dataclass(frozen=True)
class FlinkRest:
    """A cluster, by the address of its JobManager."""

    url: str

    @property
    def is_here(self) -> bool:
        """Whether the cluster is on this machine alone, as far as its address tells."""
        host = urllib.parse.urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def ask(self, path: str) -> Any:
        """What it answers. Raises OSError or ValueError."""
        return json.loads(self._send(path, "GET"))

    def job(self, name: str) -> str | None:
        """The id of the newest job of a name that has not ended. Raises OSError or ValueError."""
        jobs = [each for each in self.ask("/jobs/overview")["jobs"] if each["name"] == name]
        jobs = [each for each in jobs if each["end-time"] < 0]
        return max(jobs, key=lambda each: each["start-time"])["jid"] if jobs else None

    def cancel(self, job: str) -> None:
        """Ask it to cancel a job. Raises OSError."""
        self._send(f"/jobs/{job}?mode=cancel", "PATCH")

    def _send(self, path: str, method: str) -> bytes:
        request = urllib.request.Request(self.url + path, method=method)  # noqa: S310 - HTTP
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            return bytes(answer.read())


def of(options: PipelineOptions) -> FlinkRest | None:
    """The cluster that a job with these options runs on; None: one within its job server."""
    master = options.view_as(FlinkRunnerOptions).flink_master
    if master in MAGIC_HOST_NAMES:
        return None
    return FlinkRest(FlinkRunner.add_http_scheme(master).rstrip("/"))
