"""What `pipelines-beam plan` says of three jobs, beside what they take.

    OMP_NUM_THREADS=1 python benchmarks/plan.py [--only text,image,speech] [--scale 1.0]

Each job is planned, run, planned once more (from what the run took) and run once more: texts
through MiniLM-L6, JPEGs through a tiny ViT, sounds through a tiny Whisper. Printed are the seconds
of the plan with its range, those of the run as a whole, and the ratio of both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import gpu_models
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

COMMAND = [sys.executable, "-W", "ignore", "-m", "pipelines_beam"]


class Job(NamedTuple):
    """A job, and how many rows make it take a minute or so."""

    model: str
    small: bool
    rows: int
    type: str
    config: dict[str, Any]


JOBS = {
    "text": Job("minilm", False, 3000, "TextClassification", {"truncation": True}),
    "image": Job("vit", True, 12_000, "ImageClassification", {}),
    "speech": Job(
        "whisper",
        True,
        600,
        "AutomaticSpeechRecognition",
        {"generate_kwargs": {"max_new_tokens": 20, "num_beams": 1}},
    ),
}


def make(name: str, folder: Path, scale: float) -> Path:
    """Write the model, the input and the file of a job; returns the last."""
    job = JOBS[name]
    gpu_models.make(folder, [job.model], "cpu", job.small)
    inputs = gpu_models.inputs(job.model, str(folder), int(job.rows * scale))
    if name == "speech":
        inputs = [_written(folder / f"{i}.wav", sound) for i, sound in enumerate(inputs)]
    pq.write_table(pa.table({"input": inputs}), folder / "in.parquet", row_group_size=1000)
    config = {"model": str(folder / job.model), "input": "input", "dtype": "float32", **job.config}
    over = {
        "files": str(folder / "in.parquet"),
        "output": str(folder / "out"),
        "reuse": False,  # images take turns
        "task": {"type": job.type, "config": {**config, "device": "cpu"}},
    }
    steps = {"pipeline": {"transforms": [{"type": "ProcessFiles", "config": over}]}}
    file = folder / "job.yaml"
    file.write_text(json.dumps(steps))
    return file


def _written(path: Path, sound: Any) -> str:
    soundfile.write(path, sound, gpu_models.RATE)
    return str(path)


def planned(file: Path) -> dict[str, Any]:
    """The forecast of a job."""
    command = [*COMMAND, "plan", str(file), "--overwrite", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(file: Path) -> float:
    """The seconds of a job, with the start of its command."""
    start = time.perf_counter()
    subprocess.run([*COMMAND, "run", str(file), "--overwrite"], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(JOBS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of rows")
    options = parser.parse_args()
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            file = make(name, Path(folder), options.scale)
            for which in ("first", "after a run"):
                said = planned(file)["seconds"]
                took = run(file)
                likely, low, high = (said[each] for each in ("value", "low", "high"))
                print(
                    f"{name:7} {which:12} plan {likely:6.1f} s ({low:.1f} to {high:.1f})  "
                    f"run {took:6.1f} s  plan / run {likely / took:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
