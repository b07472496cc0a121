"""Beam YAML files of a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def job(tmp_path: Path, text: str = "pipeline: {{ body | default('{}') }}") -> str:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return str(path)


def chain(*transforms: dict[str, Any], **more: Any) -> str:
    """A file with a chain of transforms."""
    return yaml.safe_dump({"pipeline": {"type": "chain", "transforms": list(transforms)}, **more})


CREATE = {"type": "Create", "config": {"elements": [{"text": "good"}]}}


LOG = {"type": "LogForTesting"}
