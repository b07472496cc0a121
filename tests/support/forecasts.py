"""A machine with round numbers."""

from __future__ import annotations

from pipelines_beam.forecast.profile import Profile

PROFILE = Profile(
    task="text-classification",
    model="my/model",
    device="a large machine",
    accelerated=False,
    cores=16,
    processes=1,
    load_seconds=3.0,
    start_seconds=0.02,
    seconds_per_token=0.001,
    host_seconds=0.05,
    batch_rows=8,
    batch_tokens=2048,
    memory=2_000_000_000,
    model_bytes=500_000_000,
)
