"""The numbers of a machine: the line of its batches, and the file that they are kept in."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from support.forecasts import PROFILE

from pipelines_beam.forecast.profile import BatchLine, Profile, ProfileError, Work
from transforms.engine.reports import BatchReport


def batches(*sizes: int, start: float = 0.01, slope: float = 0.001) -> list[BatchReport]:
    return [BatchReport(rows=1, padded=size, seconds=start + slope * size) for size in sizes]


SIZES = [10, 20, 40, 80, 160, 320, 500, 640, 800, 1000]


def test_the_line_is_that_of_the_batches() -> None:
    line = BatchLine.of(batches(*SIZES))
    assert line.start_seconds == pytest.approx(0.01)
    assert line.seconds_per_token == pytest.approx(0.001)
    assert line.seconds(3, 1000) == pytest.approx(1.03)


def test_a_few_disturbed_batches_do_not_move_the_line() -> None:
    found = batches(*SIZES)
    found[3] = replace(found[3], seconds=50 * found[3].seconds)
    line = BatchLine.of(found)
    assert line.seconds_per_token == pytest.approx(0.001, rel=0.05)


@pytest.mark.parametrize("sizes", [[100] * 20, [100, 200]])
def test_batches_of_one_size_or_few_batches_start_in_no_time(sizes: list[int]) -> None:
    line = BatchLine.of(batches(*sizes))
    assert line.start_seconds == 0
    seconds = sum(each.seconds for each in batches(*sizes))
    assert line.seconds(len(sizes), sum(sizes)) == pytest.approx(seconds)


def test_no_batches_take_no_time() -> None:
    assert BatchLine.of([]) == BatchLine(0.0, 0.0)


def test_a_row_takes_what_the_model_and_the_rest_take() -> None:
    work = Work(rows=100, batches=10, tokens=2000)
    assert PROFILE.work_seconds(work) == pytest.approx(10 * 0.02 + 2000 * 0.001 + 100 * 0.05)
    assert replace(PROFILE, correction=2.0).work_seconds(work) == pytest.approx(2 * 7.2)


@pytest.mark.parametrize(("processes", "seconds"), [(1, 5.0), (2, 2.5), (8, 2.2)])
def test_beside_an_accelerator_the_slower_side_decides(processes: int, seconds: float) -> None:
    profile = replace(PROFILE, accelerated=True, processes=processes)
    assert profile.work_seconds(Work(100, 10, 2000)) == pytest.approx(seconds)


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "h100.json"
    path.write_text(PROFILE.as_json())
    assert Profile.read(path) == PROFILE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 7}, "version must be 1, got 7"),
        ({"host_seconds": -1}, "host_seconds must be a number of seconds, got -1"),
        ({"load_seconds": "a"}, "load_seconds must be a number"),
        ({"processes": 0}, "processes must be a positive integer"),
        ({"correction": 0}, "correction must be a positive number"),
    ],
)
def test_a_file_with_other_numbers_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "h100.json"
    path.write_text(json.dumps(asdict(PROFILE) | change))
    with pytest.raises(ProfileError, match=said):
        Profile.read(path)


@pytest.mark.parametrize("text", ["", "[1]", '{"version": 1, "task": "fill-mask"}', "\xff"])
def test_another_file_is_refused_with_the_command_that_makes_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ProfileError, match="which `pipelines-beam profile FILE -o"):
        Profile.read(path)


def test_a_profile_is_of_a_task_and_of_a_model() -> None:
    assert PROFILE.check_of("text-classification", "my/model") is None
    assert "of the model my/model, the job's is other" in str(
        PROFILE.check_of("text-classification", "other")
    )
    with pytest.raises(ProfileError, match="task 'text-classification', the job's is 'fill-mask'"):
        PROFILE.check_of("fill-mask", "my/model")
