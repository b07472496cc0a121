"""Processor time of an image on its way to the model: decoded, made features, sent, joined.

    python benchmarks/images.py [--rounds 5] [--size 640 480]

Photos (JPEG, 4:2:0) for ViT's processor, on one thread. "Before": decoded by Pillow, and features
of float32; "now": decoded by torchvision where its pixels are equal, and uint8 until they are with
the model. Printed are microseconds of processor time an image, of both in turns: the medians of
rounds, and the lowest and highest. The last rows are the bundle's own thread, with the images
decoded by it, and by others.
"""

from __future__ import annotations

import argparse
import io
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from media import tiny
from PIL import Image

from pipelines_beam import ImageClassification, Record
from transforms.batching import collate
from transforms.batching.padding import Padding
from transforms.batching.pixels import Finish
from transforms.batching.replica import Replica
from transforms.media import decode_ahead, jpeg
from transforms.stages.preprocess import PreprocessFn
from transforms.stages.record_pipeline import RecordPipeline

BATCH = 32


def photo(i: int, size: tuple[int, int]) -> bytes:
    """A picture with as much detail as photos have: about 100 kB at 640 by 480."""
    random = np.random.RandomState(i)
    small = Image.fromarray(random.randint(0, 256, (30, 40, 3), np.uint8))
    pixels = np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float64)
    pixels = np.clip(pixels + random.normal(0, 6, (size[1], size[0], 1)), 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=88)
    return file.getvalue()


def microseconds(function: Callable[[], Any], images: int, clock: Callable[[], float]) -> float:
    start = clock()
    function()
    return (clock() - start) / images * 1e6


class Way:
    """One way from files to what the model takes."""

    def __init__(self, task: ImageClassification, files: list[bytes], is_new: bool) -> None:
        spec = task.spec
        self._task, self._files, self._is_new = task, files, is_new
        self._pipeline = RecordPipeline(spec, task.plan.binding.task, for_engine=is_new)
        self._finish = Finish(Replica(spec.model)._pipe)

    def measured(self) -> dict[str, float]:
        jpegs = mock.patch.object(jpeg, "_is_equal", return_value=self._is_new)
        with jpegs:
            return self._measured()

    def _measured(self) -> dict[str, float]:
        images: list[Any] = []
        records: list[Record] = []
        batch: list[Any] = []

        def decode() -> None:
            images.extend(map(self._pipeline.decode, self._files))

        def preprocess() -> None:
            records.extend(self._pipeline.record("", "", image) for image in images)

        def cross() -> None:
            for record in records:
                pickle.loads(pickle.dumps(record))

        def join() -> None:
            chunks = [record.chunks[0] for record in records[:BATCH]]
            batch.append(collate.collate(chunks, Padding(None)))

        def finish() -> None:
            self._finish(batch[0])

        steps: dict[str, tuple[Callable[[], None], int]] = {
            "decoded": (decode, len(self._files)),
            "made features": (preprocess, len(self._files)),
            "pickled and unpickled": (cross, len(self._files)),
            f"joined to a batch of {BATCH}": (join, BATCH),
            "rescaled, normalised there": (finish, BATCH),
        }
        found = {
            name: microseconds(step, count, time.process_time)
            for name, (step, count) in steps.items()
        }
        found["all of it"] = sum(found.values())
        found["bundle's thread, decoding"] = self._bundle(1)
        found["bundle's thread, others decoding"] = self._bundle(4)
        return found

    def _bundle(self, threads: int) -> float:
        """Microseconds of the bundle's own thread in the first stage."""
        task = self._task
        fn = PreprocessFn(task.spec, False, task.plan.binding, None, for_engine=self._is_new)
        fn.setup()

        def run(files: list[bytes]) -> None:
            fn.start_bundle()
            for file in files:
                list(fn.process(file, WindowedValue(file, 0, (GlobalWindow(),))))
            list(fn.finish_bundle())

        with mock.patch.object(decode_ahead, "threads", return_value=threads):
            run(self._files[:2])  # the processor is tried
            found = microseconds(lambda: run(self._files), len(self._files), time.thread_time)
        fn.teardown()
        return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, nargs=2, default=[640, 480])
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    width, height = options.size
    files = [photo(i, (width, height)) for i in range(options.images)]
    with tempfile.TemporaryDirectory() as directory:
        task = ImageClassification(tiny(directory), device="cpu")
        ways = {name: Way(task, files, name == "now") for name in ("before", "now")}
        for way in ways.values():
            way.measured()
        rounds = [
            {name: way.measured() for name, way in ways.items()} for _ in range(options.rounds)
        ]
    for step in rounds[0]["now"]:
        cells = []
        for name in ways:
            values = [each[name][step] for each in rounds]
            middle = statistics.median(values)
            cells.append(f"{name} {middle:6.0f} ({min(values):.0f}-{max(values):.0f})")
        print(f"{step:34} {'   '.join(cells)}")


if __name__ == "__main__":
    main()
