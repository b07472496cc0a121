"""Where the metrics of all stages are."""

from __future__ import annotations

NAMESPACE = "pipelines_beam"
