"""How peak memory grows with the number of images, where the features of one are 17 MB.

    python benchmarks/memory_images.py [--few 40] [--many 300]

Photos of 640 by 480 through DETR's own preprocessing (3 by 800 by 1,066 numbers and a mask) and a
small DETR that is slower than it, so that features wait; each job in a process of its own. Printed
are peak resident megabytes: with the default window (256 MiB of features and answers in flight), by
how much the job with many images takes more, and with a window of a quarter.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile

import torch
import transformers

JOB = """
import io, resource, sys
from dataclasses import replace
import apache_beam as beam
import numpy as np
import torch
from PIL import Image
from pipelines_beam import ObjectDetection
from pipelines_beam.beam_options import DEFAULT_RUNNER

model, count, window = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)

def photos(_):
    for i in range(count):
        small = Image.fromarray(np.random.RandomState(i).randint(0, 256, (6, 8, 3), np.uint8))
        file = io.BytesIO()
        small.resize((640, 480)).save(file, "JPEG")
        yield file.getvalue()

ours = ObjectDetection(model, device="cpu", threshold=0.0)
_limits = replace(ours.spec.limits, window_bytes=window << 20)
ours.plan = replace(ours.plan, spec=replace(ours.spec, limits=_limits))
with beam.Pipeline(DEFAULT_RUNNER) as p:
    (
        p
        | beam.Create([None], reshuffle=False)
        | beam.FlatMap(photos)
        | ours
        | beam.combiners.Count.Globally()
        | beam.Map(print))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def small(directory: str) -> None:
    """A DETR of few weights, and DETR's own processor."""
    backbone = transformers.ResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 32, 32, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    config = transformers.DetrConfig(
        backbone_config=backbone,
        d_model=32,
        num_queries=4,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
    )
    torch.manual_seed(0)
    transformers.DetrForObjectDetection(config).save_pretrained(directory)
    transformers.DetrImageProcessor().save_pretrained(directory)


def peak(model: str, images: int, window: int) -> int:
    """The peak resident memory of a job in MB."""
    command = [sys.executable, "-W", "ignore", "-c", JOB, model, str(images), str(window)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answered, megabytes = done.stdout.split()
    assert int(answered) == images, done.stdout
    return int(megabytes)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--few", type=int, default=40)
    parser.add_argument("--many", type=int, default=300)
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as model:
        small(model)
        few, many = (peak(model, images, 256) for images in (options.few, options.many))
        quarter = peak(model, options.few, 64)
    print(f"window of 256 MiB: {few} MB at {options.few} images, {many} MB at {options.many}")
    print(f"window of 64 MiB: {quarter} MB at {options.few} images")
    print(f"more for more images: {many - few} MB")


if __name__ == "__main__":
    main()
