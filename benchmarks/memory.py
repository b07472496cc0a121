"""How peak memory grows with the number of rows: with our transform, and without it.

    python benchmarks/memory.py [--few 50000] [--many 1000000]

Short texts through a tiny model, as typed rows, to Parquet; each run in a process of its own.
Printed are peak resident megabytes after the first 25,000 rows, and by how much more the job with
our transform grows. Needs Linux.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers

JOB = """
import sys
from pathlib import Path
from typing import NamedTuple
import apache_beam as beam
import pyarrow as pa
import transformers  # in both jobs: what the libraries take is not what rows take
from pipelines_beam import TextClassification
from pipelines_beam.beam_options import DEFAULT_RUNNER

class Row(NamedTuple):
    text: str

model, out, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

def rows(_):
    for i in range(count):
        if i == 25_000:  # importing and loading take more for a moment than rows take
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        yield Row(text=f"the text number {i} is short")

ours = TextClassification(model, input="text", device="cpu")
own = pa.schema([("text", pa.string())])

def label(row):
    return {"text": row.text, "label": "label", "score": 0.5}

def as_dict(row):
    return row if isinstance(row, dict) else row.as_dict()

with beam.Pipeline(DEFAULT_RUNNER) as p:
    (
        p
        | beam.Create([None], reshuffle=False)
        | beam.FlatMap(rows).with_output_types(Row)
        | (ours if sys.argv[4] == "ours" else beam.Map(label))
        | "Dict" >> beam.Map(as_dict)
        | beam.io.WriteToParquet(out, schema=ours.schema(own)))
(peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak.split()[1]) // 1024)
"""


def tiny(directory: str) -> None:
    """A classifier of a few thousand weights, and its tokenizer."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "text", "number", "is", "short"]
    words += [str(i) for i in range(10)] + [f"##{i}" for i in range(10)]
    tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_labels=3,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(directory)


def peak(model: str, rows: int, which: str) -> int:
    """The peak resident memory of a job in MB."""
    with tempfile.TemporaryDirectory() as out:
        arguments = [model, str(Path(out) / "part"), str(rows), which]
        command = [sys.executable, "-W", "ignore", "-c", JOB, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--few", type=int, default=50_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    grown = {}
    with tempfile.TemporaryDirectory() as model:
        tiny(model)
        for which in ("alone", "ours"):
            few, many = (peak(model, rows, which) for rows in (options.few, options.many))
            grown[which] = many - few
            print(f"{which:6} {few:6} MB at {options.few:,} rows, {many:6} MB at {options.many:,}")
    print(f"ours grows by {grown['ours'] - grown['alone']} MB more")


if __name__ == "__main__":
    main()
