"""A model directory that is watched while a job runs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.utils import WatchFilePattern
from apache_beam.utils.timestamp import Timestamp
from support import sink
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import TextClassification


def test_the_newest_model_that_matches_answers(model: Callable[[str], str], tmp_path: Path) -> None:
    first = model("bert-classification")
    newer = shutil.copytree(first, tmp_path / "2")
    os.utime(newer / "config.json", (time.time() + 3600,) * 2)
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        found = p | "Watch" >> WatchFilePattern(
            f"{tmp_path}/*/config.json", interval=10**7, stop_timestamp=Timestamp.now() + 1
        )
        task: Any = TextClassification(first, input="text", model_metadata_pcoll=found)
        rows = [beam.Row(text=text) for text in CORPUS * 40]
        p | beam.Create(rows, reshuffle=False) | task | beam.Map(sink.collect)
    assert len(sink.collected) == len(CORPUS) * 40
    assert {row.model_id for row in sink.collected} == {first, str(newer)}


def test_a_pattern_is_watched_with_beams_own_transform(model: Callable[[str], str]) -> None:
    p = beam.Pipeline(RUNNER)
    task: Any = TextClassification(
        model("bert-classification"), watch_model_pattern="models/*/config.json"
    )
    p | beam.Create(CORPUS, reshuffle=False) | task
    graph = p.to_runner_api().components
    (watch,) = [t for t in graph.transforms.values() if t.unique_name.endswith("/WatchModel")]
    (run,) = [t for t in graph.transforms.values() if t.unique_name.endswith("Forward/Run")]
    assert len(run.inputs) == 2
    # What comes in from the side goes through the watch, directly or by way of a view.
    made = {
        pcoll
        for t in graph.transforms.values()
        for pcoll in t.outputs.values()
        if t.unique_name.startswith(watch.unique_name)
    }
    assert made & set(run.inputs.values())
