"""How close jobs come to what a GPU can do, side by side with other ways, in eight minutes.

    python benchmarks/gpu.py [--only bert,vit] [--ways ours,tables] [--seconds 480]
    python benchmarks/gpu.py --device cpu --small

Models of real size with random weights in bfloat16 answer in these ways, each in a process of its
own with a time limit, the most telling first; what does not fit into the time is "not run":

- ready: batches that lie on the device, sorted by length, launched without waiting: the limit
- loop: by hand: tokenize all, sort, pad, launch without waiting, read back at the end
- DataLoader: by hand: a worker process for each core around the processor, and the model
- pipeline N: `transformers.pipeline` with this batch size
- ours N, tables N: this project in Beam's local runner with N worker processes, its elements single
  inputs or Arrow tables

A rate is that between the answers to 20 % and to 95 % of the rows; ready, loop and pipeline count
as a whole after first batches, without loading the model. One line of JSON for each measurement,
and tables at the end. Nothing is downloaded; images need the extra `vision`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu_models import WORKLOADS
from gpu_progress import figures

HERE = Path(__file__).resolve().parent
MARK = "BENCHMARKED"  # in the environment of all processes of a measurement
SMALLEST = 15.0  # seconds that are worth starting a process for
UNITS = {"text": "texts/s", "prompt": "prompts/s", "image": "images/s", "sound": "sounds/s"}
FIRST = (
    ("bert", ("ready", "loop", "ours 1", "ours all", "tables all")),
    ("vit", ("ready", "DataLoader", "ours all")),
    ("bert", ("tables 1", "pipeline 32")),
    ("vit", ("ours 1", "tables all", "pipeline 32")),
    ("llama", ("ready", "ours 1")),
    ("whisper", ("ready", "ours all")),
    ("minilm", ("ready", "loop", "tables all")),
)
Measurement = dict[str, Any]


def plan(models: list[str], ways: list[str], cores: int) -> list[tuple[str, str]]:
    """Models and ways in their order; with the number of cores in place of "all"."""
    order = [(model, way) for model, some in FIRST for way in some]
    for way in ("ready", "loop", "DataLoader", *_series(), "pipeline 1", "pipeline 256"):
        order += [(model, way) for model in WORKLOADS]
    found: dict[tuple[str, str], None] = {}
    for model, way in order:
        kind, _, number = way.partition(" ")
        preprocessed = WORKLOADS[model].kind in ("image", "sound")
        if kind == ("loop" if preprocessed else "DataLoader"):
            continue
        if kind == "tables" and WORKLOADS[model].kind == "sound":  # no column holds a waveform
            continue
        if kind in ("ours", "tables"):
            number = str(cores) if number == "all" else number
            if int(number) > cores:
                continue
        if model in models and kind in ways:
            found[model, f"{kind} {number}".strip()] = None
    return list(found)


def _series() -> list[str]:
    several = [f"{kind} {number}" for number in ("all", "1", "4") for kind in ("ours", "tables")]
    return [*several, "pipeline 32"]


def isolated(name: str, arguments: tuple[Any, ...], mark: str, log: str) -> None:
    """Call a function of gpu_ways in a process group of its own, with its output in a file."""
    os.setsid()
    os.environ[MARK] = mark
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    import gpu_ways

    getattr(gpu_ways, name)(*arguments)


class Runner:
    """Runs functions of gpu_ways in processes of their own, and ends what they leave.

    With `start` "forkserver" they have imported everything from the start.
    """

    def __init__(self, folder: Path, start: str) -> None:
        self._folder = folder
        self._context: Any = multiprocessing.get_context(start)
        self._context.set_forkserver_preload(["gpu_ways"])
        self._count = 0

    def run(self, name: str, arguments: tuple[Any, ...], seconds: float) -> str:
        """The empty string, or why it did not come to its end."""
        self._count += 1
        mark = f"{os.getpid()}-{self._count}"
        log = self._folder / f"{self._count}.log"
        process = self._context.Process(
            target=isolated, args=(name, arguments, mark, str(log)), name=mark
        )
        process.start()
        process.join(seconds)
        ended = process.exitcode is None
        if ended and process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
        _end_marked(mark, 0.0 if ended else 5.0)
        if not ended and not process.exitcode:
            return ""
        lines = log.read_text(errors="replace").strip().splitlines()
        print(*lines[-20:], sep="\n", file=sys.stderr, flush=True)
        return f"ended after {seconds:.0f} s" if ended else f"failed: {''.join(lines[-1:])[:200]}"


def _marked(mark: str) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}\0".encode() in (path / "environ").read_bytes():
                yield int(path.name)


def _end_marked(mark: str, patience: float) -> None:
    """Wait for the processes that a measurement has started, such as an engine's; end the rest."""
    until = time.monotonic() + patience
    while list(_marked(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    for number in _marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def job_of(model: str, way: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The fields of the Job of a way."""
    workload = WORKLOADS[model]
    kind, _, number = way.partition(" ")
    workers = int(number) if kind in ("ours", "tables") else options.workers
    several = workers > 1 and kind in ("ours", "tables", "DataLoader")
    block = max(4, workload.block // 16) if options.small else workload.block
    rows = max(4 * block, 16 if workload.kind == "sound" else 64)
    rows = rows if options.small else workload.rows
    return {
        "model": model,
        "folder": str(folder),
        "record": tempfile.mkdtemp(prefix=f"{model}-", dir=folder),
        "device": options.device,
        "rows": rows * ((4 if workers > 4 else 2) if several else 1),
        "block": block,
        "workers": workers,
        "seconds": 2.0 if options.small else 8.0,
    }


def measure(runner: Runner, way: str, job: dict[str, Any], seconds: float) -> Measurement:
    """Run a way and say what its record says, also if it was ended."""
    if way.startswith("tables") and importlib.util.find_spec("transforms.rows.tables") is None:
        return {"note": "not available"}
    start = time.monotonic()
    note = runner.run("run", (way, job), seconds)
    found = figures(Path(job["record"]))
    return {
        "unit": UNITS[WORKLOADS[job["model"]].kind],
        "rate": found.rate,
        "padding": found.padding,
        "busy": found.busy,
        "rows_in_batch": found.rows_in_batch,
        "rows": found.rows,
        "seconds": time.monotonic() - start,
        **({"note": note} if note else {}),
    }


def say(measurement: Measurement) -> None:
    shown = {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in measurement.items()
        if value is not None
    }
    print(json.dumps(shown), flush=True)


def table(model: str, found: list[Measurement]) -> Iterator[str]:
    """A model's measurements, in Markdown."""
    rates = {each["way"]: each.get("rate") for each in found}
    by_hand = "DataLoader" if "DataLoader" in rates else "loop"
    unit = UNITS[WORKLOADS[model].kind]
    title = WORKLOADS[model].title
    yield f"| {title} | {unit} | of ready | of {by_hand} | padding | busy | batch |"
    yield "|---|---|---|---|---|---|---|"
    for each in found:
        rate = each.get("rate")
        cells = [each["way"], f"{rate:,.0f}" if rate and rate > 20 else f"{rate or 0:.2g}"]
        if not rate:
            cells[1] = each.get("note", "too few").partition(":")[0]
        elif "note" in each:
            cells[0] += f" ({each['note']})"
        for base in (rates.get("ready"), rates.get(by_hand)):
            cells.append(f"{rate / base:.2f}" if rate and base else "")
        for share in (each.get("padding"), each.get("busy")):
            cells.append("" if share is None else f"{share:.1%}")
        cells.append(f"{each['rows_in_batch']:.0f}" if each.get("rows_in_batch") else "")
        yield f"| {' | '.join(cells)} |"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny models, few rows: to try it")
    parser.add_argument("--only", default=",".join(WORKLOADS), help="models")
    parser.add_argument("--ways", default="ready,loop,DataLoader,ours,tables,pipeline")
    parser.add_argument("--seconds", type=float, default=480, help="for all of it")
    parser.add_argument("--limit", type=float, default=75, help="seconds for one way")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--start", choices=("forkserver", "spawn"), default="forkserver")
    options = parser.parse_args()
    for model in options.only.split(","):
        if model not in WORKLOADS:
            parser.error(f"--only must be some of {', '.join(WORKLOADS)}, got {model!r}")
    return options


def main() -> None:
    options = parsed()
    end = time.monotonic() + options.seconds
    models = options.only.split(",")
    order = plan(models, options.ways.split(","), options.workers)
    # Also for the worker processes, which import what is counted.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent)])
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # looking for a GPU must not exclude forks
    sys.path.insert(0, str(HERE.parent))
    results: dict[str, list[Measurement]] = {model: [] for model in models}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runner = Runner(folder, options.start)
        making = (name, models, options.device, options.small)
        if failed := runner.run("prepare", making, end - time.monotonic()):
            hint = "where CUDA does not start in a forked process, give --start spawn"
            raise SystemExit(f"the models could not be made ({hint}): {failed}")
        machine = {**json.loads((folder / "machine.json").read_text()), "cores": options.workers}
        print(json.dumps(machine), flush=True)
        for model, way in order:
            left = end - time.monotonic()
            found: Measurement = {"note": "not run"}
            if left > SMALLEST:
                limit = min(options.limit, left - 5)
                found = measure(runner, way, job_of(model, way, folder, options), limit)
            found = {"model": model, "way": way, **found, "device": machine["device"]}
            results[model].append(found)
            say(found)
    for model, measured in results.items():
        print("", f"{machine['device']}, {options.workers} cores", "", sep="\n")
        print("\n".join(table(model, measured)))


if __name__ == "__main__":
    main()
