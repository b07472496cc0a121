"""The files of Beam's options that `--on` names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from transforms.options.shown import shown
from transforms.options.suggest import unknown

from .errors import RunnerError

_FOLDER = Path(__file__).parent
#: Those that come with the package.
NAMES = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def path_of(name: str) -> Path:
    """The file of a name, or a path as it is. Raises RunnerError if there is no such file."""
    path = _FOLDER / f"{name}.yaml" if name in NAMES else Path(name)
    if path.is_file():
        return path
    if os.sep in name or name.endswith((".yaml", ".yml")):
        raise RunnerError(f"--on: there is no file {name!r:.200}")
    raise RunnerError(f"--on: {unknown('runner', name, NAMES)}; or the path of a file")


def load(name: str) -> dict[str, Any]:
    """The options in a file, by name. Raises RunnerError."""
    path = path_of(name)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunnerError(f"--on: {path} cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise RunnerError(f"--on: {path} must have an option of Beam on a line: got {shown(found)}")
    return found
