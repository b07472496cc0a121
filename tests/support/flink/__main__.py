"""`make flink`, `make flink-stop`, and what `make flink-test` needs."""

from __future__ import annotations

import shlex
import sys

from . import built, cluster

FOLDER = built.BUILT / "cluster"


def build() -> None:
    """Build what is not there yet, for tests: without tools for it, they say so themselves."""
    if not built.missing_tools():
        built.build()


def start() -> None:
    """Start the cluster, and say how a job runs there."""
    if missing := built.missing_tools():
        sys.exit(missing)
    built.build()
    stop()
    started = cluster.start(FOLDER)
    cluster.save(started)
    print(f"Flink is at http://{started.master}. A job runs there with")
    print(f"pipelines-beam run configs/quickstart.yaml {shlex.join(started.options)}")


def stop() -> None:
    """End the cluster, if there is one."""
    found = cluster.saved(FOLDER)
    if found is not None:
        found.stop()
        (FOLDER / "cluster.json").unlink()


if __name__ == "__main__":
    {"build": build, "start": start, "stop": stop}[sys.argv[1]]()
