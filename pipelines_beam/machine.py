"""What this machine is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from typing import Any

_CPU_INFO = "/proc/cpuinfo"
_TIMEOUT = 5  # seconds


def described(device: Any) -> dict[str, Any]:
    """Cores, memory in bytes, processor, accelerator and versions, as far as they are known.

    Args:
      device: the device that the model was given; "cpu" says that no accelerator counts.

    """
    found = {
        "cores": cores(),
        "memory": memory(),
        "processor": _processor(),
        "accelerator": None if device in ("cpu", -1) else _accelerator(),
        "system": f"{platform.system()} {platform.machine()}",
        "version of Python": platform.python_version(),
        "version of apache-beam": importlib.metadata.version("apache-beam"),
    }
    return {name: value for name, value in found.items() if value}


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def memory() -> int | None:
    """Its bytes; None: the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _processor() -> str:
    try:
        with open(_CPU_INFO, encoding="utf-8", errors="replace") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model n")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def _accelerator() -> str | None:
    """The names of the GPUs, asked of the driver: torch would keep memory of them for that."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    arguments = [command, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603 - the vendor's own command, without a shell
            arguments, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = done.stdout.split("\n") if done.returncode == 0 else []
    return ", ".join(name.strip() for name in names if name.strip()) or None
