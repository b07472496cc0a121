"""One JobManager and TaskManagers, as processes: started, killed and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import built

_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_HERE = "127.0.0.1"
_READY = 120.0  # seconds
#: The variable by which processes that a cluster's TaskManagers have started are known.
_MARK = "PIPELINES_BEAM_TEST_CLUSTER"
#: Java 17 opens these only if it is told to; the list is that of Flink's own configuration.
_OPENED = (
    *("java.base/java." + name for name in ("io", "lang", "net", "nio", "text", "time", "util")),
    "java.base/java.lang.reflect",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
    "java.base/sun.nio.ch",
)
#: These processes live for minutes: to compile their code well takes longer than it saves.
_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
#: Without Flink's shell scripts, a TaskManager is told every part of its memory.
_MEMORY = {
    "taskmanager.cpu.cores": "1",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.task.heap.size": "256m",
    "taskmanager.memory.task.off-heap.size": "0m",
    # A parallelism of 4 runs out of buffers with 64 MB.
    "taskmanager.memory.network.min": "256m",
    "taskmanager.memory.network.max": "256m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "128m",
    "taskmanager.memory.jvm-overhead.max": "128m",
}


#: What this process has started; they may go on after it.
_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass
class Cluster:
    """A cluster that runs. Its processes lead process groups: their workers are in them."""

    folder: str
    port: int
    job_manager: int
    task_managers: list[int]

    @property
    def master(self) -> str:
        """Where Flink answers."""
        return f"{_HERE}:{self.port}"

    @property
    def options(self) -> list[str]:
        """The options of Beam with which a job runs here."""
        environment = {"command": str(Path(self.folder) / "boot.sh")}
        return [
            "--runner=FlinkRunner",
            f"--flink_version={built.VERSION}",
            f"--flink_master={self.master}",
            f"--flink_job_server_jar={built.JOB_SERVER}",
            *(f"--job_server_jvm_properties={each}" for each in _SHORT_LIVED),
            "--environment_type=PROCESS",
            f"--environment_config={json.dumps(environment)}",
        ]

    def ask(self, path: str) -> Any:
        """An answer of Flink's REST."""
        with urllib.request.urlopen(f"http://{self.master}{path}", timeout=10) as answer:
            return json.load(answer)

    def wait_for_task_managers(self) -> None:
        """Wait until all are there. Raises RuntimeError."""
        until = time.monotonic() + _READY
        while time.monotonic() < until and not self._ended():
            with contextlib.suppress(OSError):
                if self.ask("/overview")["taskmanagers"] == len(self.task_managers):
                    return
            time.sleep(0.3)
        raise RuntimeError(f"the cluster is not ready: see {self.folder}/*.log")

    def _ended(self) -> bool:
        """Whether a process of it, which this process has started, has ended."""
        return any(_started[pid].poll() is not None for pid in self._processes)

    @property
    def _processes(self) -> tuple[int, ...]:
        return (*self.task_managers, self.job_manager)

    def worker_processes(self) -> dict[int, str]:
        """The command lines of the processes that TaskManagers have started, by process id."""
        mark = f"{_MARK}={self.folder}".encode()
        found = _command_lines()
        return {pid: line for pid, line in found.items() if mark in _environment(pid)}

    def processes_with(self, text: str) -> list[int]:
        """Those of them whose command line has a text."""
        return [pid for pid, line in self.worker_processes().items() if text in line]

    def started_by(self, number: int) -> list[int]:
        """Those that a TaskManager has started, and that are in its process group."""
        group, found = self.task_managers[number], []
        for pid in self.worker_processes():
            with contextlib.suppress(ProcessLookupError):
                found += [pid] if os.getpgid(pid) == group else []
        return found

    def job_servers(self) -> list[int]:
        """The job servers that send jobs to this cluster."""
        found = _command_lines()
        mine = (f"-jar {built.JOB_SERVER} ", self.master)
        return [pid for pid, line in found.items() if all(each in line for each in mine)]

    def kill_task_manager(self, number: int, *, replaced: bool = True) -> None:
        """Kill -9 one of them, as a lost machine: but its workers are left behind."""
        os.kill(self.task_managers[number], signal.SIGKILL)
        _started.pop(self.task_managers[number]).wait()
        if replaced:
            name = f"tm{number}-{time.monotonic_ns()}"
            self.task_managers[number] = _start_task_manager(Path(self.folder), name)

    def stop(self) -> None:
        """End all of its processes."""
        for pid in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            if pid in _started:
                _started.pop(pid).wait()
        for pid in self.worker_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _command_lines() -> dict[int, str]:
    """The command lines of all processes, by process id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            found[int(path.name)] = command
    return found


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def start(folder: Path, task_managers: int = 2, slots: int = 1) -> Cluster:
    """Start a cluster whose files are in a folder. Raises RuntimeError."""
    folder.mkdir(parents=True, exist_ok=True)
    port, *others = _free_ports(3)
    _configure(folder, port, others, slots)
    _write_boot(folder)
    manager = _java(folder, "jm", ["-Xmx256m"], _JOB_MANAGER, {})
    workers = [_start_task_manager(folder, f"tm{i}") for i in range(task_managers)]
    cluster = Cluster(str(folder), port, manager, workers)
    try:
        cluster.wait_for_task_managers()
    except BaseException:
        cluster.stop()
        raise
    return cluster


@contextlib.contextmanager
def running(folder: Path, **options: int) -> Iterator[Cluster]:
    """A cluster while the body runs."""
    cluster = start(folder, **options)
    try:
        yield cluster
    finally:
        cluster.stop()


def _start_task_manager(folder: Path, name: str) -> int:
    heap = ["-Xmx384m", "-XX:MaxMetaspaceSize=256m"]
    return _java(folder, name, heap, _TASK_MANAGER, {"taskmanager.resource-id": name, **_MEMORY})


def _java(folder: Path, name: str, heap: list[str], main: str, settings: Mapping[str, str]) -> int:
    """Start a process of Flink; returns its id."""
    opened = [f"--add-opens={each}=ALL-UNNAMED" for each in _OPENED]
    given = [word for key, value in settings.items() for word in ("-D", f"{key}={value}")]
    command = ["java", *_SHORT_LIVED, *heap, *opened, "-cp", built.classpath(), main]
    command += ["--configDir", str(folder / "conf"), *given]
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,  # boot leaves files in it
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _started[process.pid] = process
    return process.pid


def _configure(folder: Path, port: int, others: list[int], slots: int) -> None:
    settings = {
        "rest.address": _HERE,
        "rest.bind-address": _HERE,
        "rest.port": port,
        "jobmanager.rpc.address": _HERE,
        "jobmanager.bind-host": _HERE,
        "jobmanager.rpc.port": others[0],
        "blob.server.port": others[1],
        "jobmanager.memory.process.size": "768m",
        "taskmanager.bind-host": _HERE,
        "taskmanager.host": _HERE,
        "taskmanager.numberOfTaskSlots": slots,
        "io.tmp.dirs": folder / "tmp",
        "heartbeat.interval": 2000,
        # Processes of a busy machine may stand still; a dead one is noticed by its connection.
        "heartbeat.timeout": 600_000,
        "pekko.ask.timeout": "120 s",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 5,
        "restart-strategy.fixed-delay.delay": "1 s",
    }
    for name in ("conf", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    text = "".join(f"{key}: {value}\n" for key, value in settings.items())
    (folder / "conf" / "config.yaml").write_text(text)


def _write_boot(folder: Path) -> None:
    """What a TaskManager starts a worker process with: Beam's boot, and this Python."""
    script = folder / "boot.sh"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {
        "PATH": path,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
        "OMP_NUM_THREADS": "1",
        _MARK: str(folder),
    }
    exports = [f"export {name}='{value}'" for name, value in variables.items()]
    script.write_text("\n".join(["#!/bin/sh", *exports, f'exec "{built.BOOT}" "$@"', ""]))
    script.chmod(0o755)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_HERE, 0))
        return [each.getsockname()[1] for each in sockets]


def save(cluster: Cluster) -> None:
    """Keep what is needed to stop it in its folder."""
    (Path(cluster.folder) / "cluster.json").write_text(json.dumps(asdict(cluster)))


def saved(folder: Path) -> Cluster | None:
    """The cluster that was started in a folder, if there is one."""
    path = folder / "cluster.json"
    return Cluster(**json.loads(path.read_text())) if path.exists() else None
