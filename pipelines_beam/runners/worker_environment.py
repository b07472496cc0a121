"""How a portable runner starts workers, and what that needs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    WorkerOptions,
)

_SECONDS = 20.0


def missing(options: PipelineOptions, is_here: bool) -> Iterator[str]:
    """What workers need that is missing. `is_here`: they are started on this machine."""
    portable = options.view_as(PortableOptions)
    kind = (portable.environment_type or "DOCKER").upper()
    if kind == "DOCKER":
        yield from _docker() if is_here else ()
        yield from missing_package(options)
    elif kind == "PROCESS":
        yield from _process(portable, is_here)
    elif kind == "LOOPBACK" and not is_here:
        yield (
            "  environment_type LOOPBACK is this process, which other machines cannot reach: give "
            "--environment_type=DOCKER or PROCESS"
        )
    elif kind == "EXTERNAL" and not _value(portable, "external_service_address"):
        yield (
            "  environment_type EXTERNAL needs the address of a worker pool: give "
            "--environment_config=HOST:PORT"
        )


def missing_package(options: PipelineOptions) -> Iterator[str]:
    """A line if the image of the workers is Beam's own, and nothing is installed into it."""
    setup, portable = options.view_as(SetupOptions), options.view_as(PortableOptions)
    image = options.view_as(WorkerOptions).sdk_container_image
    image = image or _value(portable, "docker_container_image")
    if not (image or setup.setup_file or setup.requirements_file or setup.extra_packages):
        yield (
            "  Beam's own image for workers lacks pipelines-beam: give "
            "--sdk_container_image=IMAGE that has it, or --requirements_file=FILE that names it"
        )


def _docker() -> Iterator[str]:
    advice = "start it, or give --environment_type=PROCESS and the command that starts a worker"
    if shutil.which("docker") is None:
        yield f"  Docker is not installed, which starts the workers: install and {advice}"
        return
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        done = subprocess.run(  # noqa: S603 - a constant
            asked, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        yield f"  Docker does not answer within {_SECONDS:.0f} s: {advice}"
        return
    if done.returncode:
        why = (done.stderr.strip() or "it does not answer").splitlines()[-1]
        yield f"  Docker, which starts the workers, does not run ({why}): {advice}"


def _process(portable: Any, is_here: bool) -> Iterator[str]:
    example = '--environment_config=\'{"command": "/path/of/boot.sh"}\''
    try:
        command = _command(portable)
    except ValueError:
        found = portable.environment_config
        yield f"  environment_config must be JSON, got {found!r:.100}: give {example}"
        return
    if not command:
        yield f"  environment_type PROCESS needs the command that starts a worker: give {example}"
    elif is_here and shutil.which(command) is None:
        yield f"  the command that starts a worker, {command!r}, is not a program: give {example}"


def _command(portable: Any) -> str:
    if portable.environment_config:
        found = json.loads(portable.environment_config)
        return str(found.get("command", "")) if isinstance(found, dict) else ""
    return _value(portable, "process_command")


def _value(portable: Any, name: str) -> str:
    """An option of the environment, or the configuration that stands for it."""
    return str(portable.lookup_environment_option(name) or portable.environment_config or "")
