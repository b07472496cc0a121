"""A hub on this machine: repositories with commits and branches, as huggingface_hub asks for."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from support import servers


@dataclass
class Hub:
    """Its repositories; change them as it runs."""

    #: repository -> commit -> folder
    commits: dict[str, dict[str, Path]] = field(default_factory=dict)
    #: repository -> branch or tag -> commit
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    url: str = ""
    #: Answers every request with this status, if it is not 0.
    status: int = 0

    def push(self, repository: str, folder: str | Path, branch: str = "main") -> str:
        """A new commit of a repository, and a branch that points to it."""
        known = self.commits.setdefault(repository, {})
        commit = hashlib.sha1(f"{repository} {len(known)}".encode()).hexdigest()
        known[commit] = Path(folder)
        self.branches.setdefault(repository, {})[branch] = commit
        return commit


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: Hub, *args: object) -> None:
        self._hub = hub
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self._hub.status:
            self._send(self._hub.status, b"", {})
            return
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        owner, name, *rest = parts[2:] if api else parts
        repository = f"{owner}/{name}"
        if repository not in self._hub.commits:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return
        revision = rest[1] if len(rest) > 1 else "main"
        commit = self._hub.branches[repository].get(revision, revision)
        folder = self._hub.commits[repository].get(commit)
        if folder is None:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif api and rest[:1] == ["tree"]:
            self._send_json(_tree(folder) if len(rest) == 2 else [])
        elif api:
            files = [{"rfilename": item["path"]} for item in _tree(folder)]
            self._send_json({"_id": "1", "id": repository, "sha": commit, "siblings": files})
        else:
            self._send_file(folder / "/".join(rest[2:]), commit)

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send_file(self, path: Path, commit: str) -> None:
        if not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        data = path.read_bytes()
        tag = hashlib.sha1(data).hexdigest()
        self._send(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": commit})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


def _tree(folder: Path) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": path.name}
        for path in sorted(folder.iterdir())
    ]


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A hub that runs while the body does."""
    hub = Hub()
    with servers.serving(functools.partial(_Handler, hub)) as hub.url:
        yield hub
