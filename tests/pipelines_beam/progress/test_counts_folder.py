"""Where workers keep their counts, by where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines_beam.progress import counts_folder
from transforms.stages import live_counts

FLINK = ["--runner=FlinkRunner", "--environment_type=PROCESS"]


def told(options: PipelineOptions) -> str | None:
    """The folder that workers find in the options of their job."""
    found: str | None = options.get_all_options().get(live_counts.OPTION)
    return found


def test_a_place_that_all_can_reach(tmp_path: Path) -> None:
    options = PipelineOptions(["--runner=FlinkRunner", f"--temp_location={tmp_path}/"])
    with counts_folder.opened(options) as folder:
        assert folder.is_shared
        assert folder.path.startswith(f"{tmp_path}/pipelines-beam-counts-")
        assert Path(folder.path).is_dir()
        assert told(options) == folder.path
    assert list(tmp_path.iterdir()) == []
    assert told(options) is None


def test_a_store_that_cannot_be_reached_stops_no_job() -> None:
    options = PipelineOptions(["--runner=DataflowRunner", "--temp_location=unknown://bucket/tmp"])
    with counts_folder.opened(options) as folder:
        assert not folder.is_shared
        assert told(options) is None


@pytest.mark.parametrize(
    ("given", "is_shared"),
    [
        ([*FLINK, "--flink_master=localhost:8081"], True),
        ([*FLINK, "--flink_master=127.0.0.1:8081"], True),
        (FLINK, True),  # within the job server
        (["--runner=flink", "--environment_type=LOOPBACK"], True),
        (["--runner=FlinkRunner", "--flink_master=localhost:8081"], False),  # containers
        ([*FLINK, "--flink_master=flink.example.com:8081"], False),
        (["--runner=DataflowRunner"], False),
        ([], False),
    ],
)
def test_a_folder_of_this_machine(given: list[str], is_shared: bool) -> None:
    options = PipelineOptions(given)
    with counts_folder.opened(options) as folder:
        assert folder.is_shared is is_shared
        assert told(options) == folder.path
    assert not Path(folder.path).exists()
