"""Job graphs of files: resource hints are on the step with the model, and on no other."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options import pipeline_options
from support.graph import hinted_steps
from support.paths import CONFIGS

from pipelines_beam import beam_options, yaml_job

Model = Callable[[str], str]

HINTS = {
    "beam:resources:accelerator:v1": "type:nvidia-l4;count:1;install-nvidia-driver",
    "beam:resources:min_ram_bytes:v1": "16000000000",
}
#: The jobs, and the start of the names of steps with hints.
JOBS = {"quickstart.yaml": None, "gpu_workers.yaml": "Label/TextClassification/"}
DATAFLOW = (
    "--project=my-project",
    "--temp_location=gs://my-bucket/tmp",
    "--staging_location=gs://my-bucket/staging",
    "--sdk_container_image=us-docker.pkg.dev/my-project/images/pipelines-beam:1",
)


@pytest.fixture
def build(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., yaml_job.YamlJob]:
    """Builds the job of a file in configs/."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    pq.write_table(pa.table({"text": ["good"]}), tmp_path / "in.parquet")
    variables = {"input": str(tmp_path / "in.parquet"), "output": str(tmp_path / "out")}

    def build(name: str, options: Sequence[str] = (), on: str | None = None) -> yaml_job.YamlJob:
        own = {} if name == "quickstart.yaml" else {"model": model("bert-classification")}
        file, flags, given = beam_options.parsed([str(CONFIGS / name), *options], [], [])
        return yaml_job.built(file, {**variables, **own}, flags, given, {}, on=on)

    return build


def check(name: str, graph: Any) -> None:
    found, start = hinted_steps(graph), JOBS[name]
    if start is None:
        assert not found
        return
    assert all(each == HINTS for each in found.values())
    assert all(step.startswith(start) for step in found)
    assert any("Run" in step for step in found)


@pytest.mark.parametrize("name", JOBS)
def test_hints_as_every_runner_gets_them(name: str, build: Callable[..., Any]) -> None:
    check(name, build(name).pipeline.to_runner_api())


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("apitools") is None, reason="apache-beam[gcp] is not installed"
)
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", JOBS)
def test_hints_as_dataflow_gets_them(
    name: str, build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from apache_beam.internal.gcp import auth
    from apache_beam.io.gcp import gcsio

    from pipelines_beam.runners import checks

    # There are no credentials, and Beam would ask for them, and for the bucket, for minutes.
    monkeypatch.setattr(auth, "get_service_credentials", lambda options: None)
    monkeypatch.setattr(gcsio, "get_service_credentials", lambda options: None, raising=False)
    monkeypatch.setattr(gcsio.GcsIO, "is_soft_delete_enabled", lambda self, path: False)
    monkeypatch.setattr(checks, "_has_credentials", lambda: True)
    job = build(name, DATAFLOW, on="dataflow")
    job.pipeline.options.view_as(pipeline_options.TestOptions).dry_run = True
    check(name, job.pipeline.run().job.proto_pipeline)
