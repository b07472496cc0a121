"""The ways in which benchmarks/gpu.py has a model answer. Each runs in a process of its own."""

from __future__ import annotations

import functools
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import torch
import transformers
from apache_beam.options.pipeline_options import PipelineOptions
from gpu_models import RATE, WORKLOADS, Workload, block_of, inputs, make, table_of
from gpu_progress import Record

from pipelines_beam import pipeline
from pipelines_beam.beam_options import DEFAULT_RUNNER

PADDED_TOKENS = 32_768  # of a batch of texts, by hand
IMAGES, GENERATED = 256, 64  # in a batch by hand
_OFTEN = 8  # answers of a worker that are written down together


@dataclass(frozen=True)
class Job:
    """One measurement, as it is told to its process."""

    model: str
    #: Where models and images are, and where answers are recorded.
    folder: str
    record: str
    device: str
    rows: int
    #: Inputs in an element of the source, as in a file: a table has as many rows.
    block: int
    #: Worker processes: of Beam, and of a DataLoader.
    workers: int
    #: For ways that stop by themselves.
    seconds: float

    @property
    def workload(self) -> Workload:
        return WORKLOADS[self.model]

    @property
    def directory(self) -> str:
        return str(Path(self.folder) / self.model)

    def inputs(self, rows: int) -> list[Any]:
        return inputs(self.model, self.folder, rows)


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


# By hand


def load(job: Job) -> Any:
    auto = getattr(transformers, job.workload.auto)
    return auto.from_pretrained(job.directory, dtype=torch.bfloat16).to(job.device).eval()


def computing(job: Job) -> Callable[[Any], Any]:
    """What answers a batch on the device."""
    model = load(job)
    infer = torch.inference_mode()
    if job.workload.kind in ("text", "image"):
        return infer(lambda batch: model(**batch).logits)
    options = dict(job.workload.parameters)
    options = options.get("generate_kwargs", options)
    return infer(lambda batch: model.generate(**batch, **options))


def placed(job: Job, batch: Any) -> dict[str, torch.Tensor]:
    """A batch on its way to the device: floats in the model's precision."""
    found = {}
    for name, value in batch.items():
        tensor = value.to(torch.bfloat16) if value.is_floating_point() else value
        found[name] = tensor.to(job.device, non_blocking=True)
    return found


def text_batches(job: Job, texts: list[str]) -> Iterator[Any]:
    """Tokenize all, sort by length, pad each batch; on the host."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.directory)
    encoded = tokenizer(texts, truncation=True)
    lengths = list(map(len, encoded["input_ids"]))
    order = sorted(range(len(texts)), key=lambda i: -lengths[i])
    generates = job.workload.kind == "prompt"
    start = 0
    while start < len(order):
        most = PADDED_TOKENS // lengths[order[start]]
        rows = order[start : start + (GENERATED if generates else most)]
        start += len(rows)
        columns = {name: [values[i] for i in rows] for name, values in encoded.items()}
        yield tokenizer.pad(columns, return_tensors="pt")


class Preprocessed(torch.utils.data.Dataset[Any]):
    """Features of images or sounds, one by one."""

    def __init__(self, job: Job, items: list[Any]) -> None:
        self._kind, self._items = job.workload.kind, items
        auto = transformers.AutoImageProcessor
        if self._kind == "sound":
            auto = transformers.AutoFeatureExtractor
        self._processor = auto.from_pretrained(job.directory)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        if self._kind == "image":
            from PIL import Image

            image = Image.open(self._items[i]).convert("RGB")
            found = self._processor(image, return_tensors="pt")
        else:
            found = self._processor(self._items[i], sampling_rate=RATE, return_tensors="pt")
        return {name: value[0] for name, value in found.items()}


def loader(job: Job, rows: int) -> Any:
    most = IMAGES if job.workload.kind == "image" else GENERATED
    return torch.utils.data.DataLoader(
        Preprocessed(job, job.inputs(rows)),
        batch_size=max(1, min(most, rows // 8)),
        num_workers=job.workers,
        pin_memory=job.device != "cpu",
    )


def host_batches(job: Job, rows: int) -> Any:
    if job.workload.kind in ("text", "prompt"):
        return text_batches(job, job.inputs(rows))
    return loader(job, rows)


def size_of(batch: Any) -> int:
    return len(next(iter(batch.values())))


def ready(job: Job, record: Record) -> None:
    """Batches lie on the device and are launched one after the other, without waiting."""
    compute = computing(job)
    preprocessed = job.workload.kind in ("image", "sound")
    distinct = min(job.rows, 8 * IMAGES if preprocessed else job.rows)
    batches = [placed(job, batch) for batch in host_batches(job, distinct)]
    batches *= max(1, job.rows // distinct)
    for batch in batches[:: max(1, len(batches) // 3)]:
        compute(batch)
    synchronize(job.device)
    record.start()
    answers = [compute(batch) for batch in batches]
    synchronize(job.device)
    record.answered(sum(map(len, answers)))


def loop(job: Job, record: Record) -> None:
    """Tokenize all, sort, pad, launch without waiting; read all back at the end."""
    compute = computing(job)
    for batch in text_batches(job, job.inputs(job.block)):
        compute(placed(job, batch)).cpu()
    texts = job.inputs(job.rows)
    record.start()
    answers = [compute(placed(job, batch)) for batch in text_batches(job, texts)]
    for answer in answers:
        record.answered(len(answer.cpu()))


def data_loader(job: Job, record: Record) -> None:
    """Worker processes make features; one batch is launched while the last is computed."""
    compute = computing(job)
    waiting: Any = None
    for batch in loader(job, job.rows):
        answer = compute(placed(job, batch))
        if waiting is not None:
            record.answered(len(waiting.cpu()))
        waiting = answer
    record.answered(len(waiting.cpu()))


def stock(job: Job, record: Record, batch_size: int) -> None:
    """transformers.pipeline over an iterator, for some seconds."""
    workload = job.workload
    pipe = transformers.pipeline(
        workload.task, job.directory, device=job.device, dtype=torch.bfloat16
    )
    items = job.inputs(max(job.rows, 3 * batch_size))
    answers = pipe((item for item in items), batch_size=batch_size, **workload.parameters)
    end = float("inf")
    for count, _ in enumerate(answers, 1):
        if count > batch_size:
            record.answered(1)
        elif count == batch_size:  # the first batch warms up
            record.start()
            end = time.monotonic() + job.seconds
        if count % batch_size == 0 and time.monotonic() > end:
            return


# This project


class Answered(beam.DoFn):  # type: ignore[misc]
    """Counts predictions, and the batches that this worker hears of."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def setup(self) -> None:
        from transforms.engine.reports import BatchReport
        from transforms.stages.metrics import EngineMetrics

        self._record = record = Record(self._folder)
        count = EngineMetrics.add

        def counted(stage: Any, reports: Any) -> None:
            for report in reports:
                if isinstance(report, BatchReport) and not report.split:
                    record.batch(report)
            count(stage, reports)

        EngineMetrics.add = counted  # type: ignore[assignment,method-assign]

    def process(self, element: Any) -> None:
        rows = len(element) if isinstance(element, pa.Table | pa.RecordBatch) else 1
        self._record.answered(rows, _OFTEN)

    def finish_bundle(self) -> None:
        self._record.answered(0, 0)


def ours(job: Job, record: Record, tables: bool) -> None:
    """A job in Beam's local runner, from blocks of inputs, with elements or tables of a block."""
    workload = job.workload
    several = job.workers > 1
    options = ["--direct_running_mode=multi_processing", f"--direct_num_workers={job.workers}"]
    model, folder, block = job.model, job.folder, job.block
    read: Any = beam.FlatMap(lambda i: block_of(model, folder, i, block))
    if tables:
        read = beam.Map(lambda i: table_of(model, folder, i, block)).with_output_types(pa.Table)
    task = pipeline(
        workload.task,
        job.directory,
        device=job.device,
        dtype="bfloat16",
        input="input" if tables else None,
        **workload.parameters,
    )
    # As many blocks for each worker: none runs dry long before the others.
    blocks = -(-job.rows // (block * job.workers)) * job.workers
    with beam.Pipeline(DEFAULT_RUNNER, options=PipelineOptions(options if several else [])) as p:
        given = p | beam.Create(range(blocks), reshuffle=several) | "Read" >> read
        _ = given | task | "Count" >> beam.ParDo(Answered(job.record))


def run(way: str, fields: dict[str, Any]) -> None:
    """Run a way by its name, such as "pipeline 32", with the fields of its Job."""
    job = Job(**fields)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    kind, _, number = way.partition(" ")
    ways: dict[str, Callable[[Job, Record], None]] = {
        "ready": ready,
        "loop": loop,
        "DataLoader": data_loader,
        "pipeline": functools.partial(stock, batch_size=int(number or 1)),
        "ours": functools.partial(ours, tables=False),
        "tables": functools.partial(ours, tables=True),
    }
    ways[kind](job, Record(job.record))


def prepare(folder: str, models: list[str], device: str, small: bool) -> None:
    """Make models and images, and write down what the figures are measured on."""
    make(Path(folder), models, device, small)
    Path(folder, "machine.json").write_text(json.dumps(machine(device)))


def machine(device: str) -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    name = next(iter(names), platform.machine())
    if device != "cpu":
        name = torch.cuda.get_device_name(device)
    libraries = {"torch": torch, "transformers": transformers, "beam": beam}
    versions = {key: value.__version__ for key, value in libraries.items()}
    return {"device": name, "python": platform.python_version(), **versions}
