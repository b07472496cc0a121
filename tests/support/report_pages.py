"""Writes reports of several tasks, with hostile texts in them, for `make browser` to look at."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines_beam.io.audit.rows import SCHEMA
from pipelines_beam.report import Report
from transforms.rows.files import png, wav

from .pictures import picture
from .reports import a_run, output_of
from .sounds import RATE, sound

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "{{ 7 * 7 }} {% raw %}",
    "</style></svg></iframe>",
    "x" * 1_000_000,
    "\x00\u202e",
    "\u05e9\u05dc\u05d5\u05dd from right to left",
)
_SCORE = 0.5
AUDITED = ("file", "input", "answer", "reference")


def results() -> dict[str, tuple[dict[str, str], list[dict[str, Any]]]]:
    """The inputs and rows of some tasks."""
    image = {"bytes": png(picture("cat", 640, 480)), "path": None}
    clip = {"bytes": wav(sound("hum", 2.0), RATE), "path": None}
    box = {"xmin": 10, "ymin": 20, "xmax": 110, "ymax": 70}
    labels = [{"label": each, "score": _SCORE} for each in HOSTILE]
    words = [{"entity": each[:50], "score": _SCORE, "start": 1, "end": 5} for each in HOSTILE]
    chunks = [{"text": each, "timestamp": [0.0, 1.0]} for each in HOSTILE]
    text = {"text": "text"}
    return {
        "text-classification": (text, [{"text": t, "predictions": labels} for t in HOSTILE]),
        "token-classification": (
            text,
            [{"text": t, "entities": [w]} for t, w in zip(HOSTILE, words, strict=True)],
        ),
        "text-generation": (text, [{"text": t, "generated_text": t} for t in HOSTILE]),
        "object-detection": (
            {"image": "photo"},
            [{"photo": image, "objects": [{**each, "box": box} for each in labels]}],
        ),
        "automatic-speech-recognition": (
            {"audio": "clip"},
            [{"clip": clip, "text": each, "chunks": chunks} for each in HOSTILE],
        ),
        "feature-extraction": (text, [{"text": t, "embedding": [1.0, -2.0]} for t in HOSTILE]),
    }


def failures() -> list[dict[str, Any]]:
    """Failure rows whose every text is hostile."""
    why = dict.fromkeys(("stage", "kind", "error"), HOSTILE[1])
    return [
        {"file": t, "row": 1, "element": {"text": t}, **why, "message": t, "attempts": 1}
        for t in HOSTILE
    ]


PLAN = {
    "rows": 100,
    "failed": 0,
    "seconds": [80.0, 90.0, 110.0],
    "workers": 4,
    "device": HOSTILE[0],
    "batch_rows": 20.0,
    "padding": 0.2,
}


def audit(output: Path) -> None:
    """Audited rows whose every text is hostile."""
    (output / "_audit").mkdir()
    rows = [
        {"row": i, "flips": i % 2 == 0, "size": _SCORE, **dict.fromkeys(AUDITED, text)}
        for i, text in enumerate(HOSTILE)
    ]
    table = pa.Table.from_pylist(rows, SCHEMA)
    pq.write_table(table, output / "_audit/part-000-0.parquet")


def main(folder: Path) -> None:
    """Write a page for each task."""
    folder.mkdir(parents=True, exist_ok=True)
    run = a_run(
        state="failed",
        error=HOSTILE[1],
        job={"model": HOSTILE[0]},
        audit={"share": 0.1},
        forecast=PLAN,
    )
    with tempfile.TemporaryDirectory() as outputs:
        for task, (inputs, rows) in results().items():
            output = output_of(Path(outputs) / task, task, inputs, rows, failed=failures(), run=run)
            audit(Path(output))
            Report(output).write(folder / f"{task}.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
