"""What a Flink cluster says of itself, by its REST."""

from __future__ import annotations

import http.client
import ipaddress
import json
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
from apache_beam.runners.portability.flink_runner import MAGIC_HOST_NAMES, FlinkRunner

_SECONDS = 10.0
#: Without a proxy, as Beam's job server asks.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


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

    def jobs(self, name: str, *, ended: bool = False) -> list[str]:
        """The ids of the jobs of a name that have not ended, the newest first.

        With `ended`, of all of them.

        Raises OSError or ValueError.
        """
        try:
            jobs = [each for each in self.ask("/jobs/overview")["jobs"] if each["name"] == name]
            jobs.sort(key=lambda each: each["start-time"], reverse=True)
            return [str(each["jid"]) for each in jobs if ended or each["end-time"] < 0]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{self.url} does not answer as Flink does: {error!r}") from error

    def cancel(self, job: str) -> None:
        """Ask it to cancel a job. Raises OSError."""
        self._send(f"/jobs/{job}?mode=cancel", "PATCH")

    def _send(self, path: str, method: str) -> bytes:
        request = urllib.request.Request(self.url + path, method=method)  # noqa: S310 - HTTP
        try:
            with _direct.open(request, timeout=_SECONDS) as answer:
                return bytes(answer.read())
        except http.client.HTTPException as error:
            raise OSError(f"it does not speak HTTP: {error!r}") from error


def of(options: PipelineOptions) -> FlinkRest | None:
    """The cluster that a job with these options runs on; None: one within its job server."""
    master = options.view_as(FlinkRunnerOptions).flink_master
    if master in MAGIC_HOST_NAMES:
        return None
    return FlinkRest(FlinkRunner.add_http_scheme(master).rstrip("/"))
