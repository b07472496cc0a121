"""The REST of a Flink cluster, with answers of a test's choice."""

from __future__ import annotations

import contextlib
import http.server
import json
from collections.abc import Iterator
from typing import Any

from support.servers import serving

Answers = dict[str, Any]


class _Flink(http.server.BaseHTTPRequestHandler):
    """A JobManager with two TaskManagers of two slots each."""

    answers: Answers

    def do_GET(self) -> None:
        found = self.answers.get(self.path)
        self.send_response(404 if found is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def do_PATCH(self) -> None:
        asked = self.path.split("/")[2].partition("?")[0]
        jobs = self.answers["/jobs/overview"]["jobs"]
        for each in jobs if self.answers.get("cancels", True) else ():
            each["end-time"] = 9 if each["jid"] == asked else each["end-time"]
        self.send_response(202)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def cluster_answering() -> Iterator[tuple[str, Answers]]:
    """The address of a cluster of two TaskManagers, and what it answers, by path."""
    answers: Answers = {
        "/config": {"flink-version": "1.19.0"},
        "/overview": {"slots-total": 4, "slots-available": 4, "taskmanagers": 2},
        "/jobs/overview": {"jobs": []},
    }
    with serving(type("Handler", (_Flink,), {"answers": answers})) as url:
        yield url, answers


def job(id_: str, name: str, start: int, end: int = -1) -> dict[str, Any]:
    """A job in the answer to /jobs/overview."""
    return {"jid": id_, "name": name, "start-time": start, "end-time": end}
