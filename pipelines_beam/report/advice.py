"""One recommendation, drawn from where the time of a run went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..io.run_record import RUNNING, SUBMITTED, RunRecord

_IDLE, _LOADING, _PADDING = 0.3, 0.4, 0.35  # shares that are worth a change
_SMALL_BATCH = 4  # rows
_SHORT = 30  # seconds


@dataclass(frozen=True)
class Advice:
    """What to do, why, and how it is said to the job."""

    title: str
    why: str
    #: Options of a YAML job, or of the command; "" where there is none.
    how: str = ""


def advice(record: RunRecord) -> Advice:
    """The recommendation of the first rule that holds."""
    return next(found for rule in RULES if (found := rule(record)) is not None)


def _unknown(record: RunRecord) -> Advice | None:
    if record.rows + record.failed or any(record.stages.values()):
        return None
    if record.state in (RUNNING, SUBMITTED):
        why = "Where the time went is known when a run has ended. This one goes on, or was killed."
        return Advice("Wait for the run, or resume it", why, "pipelines-beam run FILE --resume")
    if record.state != "done":
        why = "A run that ends early leaves no times. What it has written is kept."
        return Advice("Resume the job", why, "pipelines-beam run FILE --resume")
    return Advice("Nothing to do", "All results were there already: this run computed nothing.")


def _restarts(record: RunRecord) -> Advice | None:
    count = record.counters.get("engine_restarts", 0)
    if not count:
        return None
    why = (
        f"The process with the model died {count:,} times and was replaced: each time the model is "
        "loaded again. Failure rows of the kind “crash” show which rows did it."
    )
    return Advice("Find what ends the model's process", why, "pipelines-beam run FILE --verbose")


def _memory(record: RunRecord) -> Advice | None:
    splits, batches = record.counters.get("splits_memory", 0), sum(record.batches.values())
    if not splits or splits < batches / 100:
        return None
    why = (
        f"{splits:,} batches ran out of memory and were computed again in parts, beside "
        f"{batches:,} that fitted."
    )
    return Advice("Limit the size of batches", why, "batch_tokens: 1024   # or less")


def _timeouts(record: RunRecord) -> Advice | None:
    count = record.counters.get("failures_timeout", 0)
    if count <= record.rows / 100:
        return None
    why = f"{count:,} rows failed because their batch took longer than batch_timeout allows."
    return Advice("Allow batches more time", why, "batch_timeout: 600   # seconds")


def _loading(record: RunRecord) -> Advice | None:
    stages = record.stages
    total = sum(stages.get(name, 0) for name in ("load", "compute", "idle"))
    if not total or stages.get("load", 0) / total < _LOADING:
        return None
    why = (
        f"Loading the model took {stages['load'] / total:.0%} of the model's time. It is loaded "
        "once for each run and engine, so the share falls as a job grows."
    )
    return Advice("Give one job more rows", why, 'files: ["first/*.parquet", "second/*.parquet"]')


#: What to do where threads do something else than wait for the model.
_FEEDING = {
    "read": (
        "Read less, or from nearer",
        "reading files",
        "columns: []   # beside the task's input: none",
    ),
    "preprocess": (
        "Prepare rows in more processes",
        "reading and preparing inputs (fetching, decoding, tokenizing)",
        "pipelines-beam run FILE --direct_running_mode=multi_processing --direct_num_workers=4",
    ),
    "postprocess": (
        "Postprocess in more processes",
        "making predictions of the model's outputs",
        "pipelines-beam run FILE --direct_running_mode=multi_processing --direct_num_workers=4",
    ),
    "write": (
        "Write larger files, or nearer",
        "writing files of results",
        "rows_per_shard: 50000",
    ),
}


def _waiting(record: RunRecord) -> Advice | None:
    stages = record.stages
    total = stages.get("compute", 0) + stages.get("idle", 0)
    feeding = {name: stages.get(name, 0) for name in _FEEDING}
    if not total or stages.get("idle", 0) / total < _IDLE or not any(feeding.values()):
        return None
    slowest = max(feeding, key=feeding.__getitem__)
    title, what, how = _FEEDING[slowest]
    why = (
        f"The model had nothing to do for {stages['idle'] / total:.0%} of the time after it was "
        f"loaded. Beside it, {what} took longest: {feeding[slowest] / sum(feeding.values()):.0%} "
        "of the work that is not the model's."
    )
    return Advice(title, why, how)


def _padding(record: RunRecord) -> Advice | None:
    share = padding_share(record)
    if share < _PADDING:
        return None
    why = (
        f"{share:.0%} of what the model computed was padding. A batch is as long as its longest "
        "row: smaller batches hold fewer lengths, and a limit cuts off the ends of long texts."
    )
    return Advice(
        "Pad less", why, "batch_tokens: 1024\nmax_length: 256     # with truncation: true"
    )


def _small_batches(record: RunRecord) -> Advice | None:
    batches = sum(record.batches.values())
    small = sum(n for size, n in record.batches.items() if int(size) < _SMALL_BATCH)
    if batches < 20 or small / batches < 0.5:
        return None
    why = (
        f"{small / batches:.0%} of the batches had fewer than {_SMALL_BATCH} rows. Model types "
        "that do not ignore padding exactly share batches of equal lengths only, and a batch_size "
        "or batch_tokens that is low has the same effect."
    )
    return Advice("Fill the batches", why, "batch_tokens: 8192   # and no batch_size")


def _computing(record: RunRecord) -> Advice | None:
    if record.machine.get("accelerator"):
        why = "Most of the time was the model's own computing: nothing else is left to save."
        return Advice("Compute in half precision", why, "dtype: bfloat16")
    why = (
        "Most of the time was the model's own computing, on the CPU. An accelerator is many times "
        "as fast; on CPUs with bfloat16 instructions, half precision is 1.7 times as fast."
    )
    return Advice(
        "Compute faster", why, "device: cuda      # on a machine that has one\ndtype: bfloat16"
    )


#: In the order of what they can save; the last one always holds.
RULES: tuple[Callable[[RunRecord], Advice | None], ...] = (
    _unknown,
    _restarts,
    _timeouts,
    _memory,
    _loading,
    _waiting,
    _padding,
    _small_batches,
    _computing,
)


def padding_share(record: RunRecord) -> float:
    """The share of padding among all that the model computed."""
    return 1 - record.tokens / record.padded_tokens if record.padded_tokens else 0.0


def is_short(record: RunRecord) -> bool:
    """Whether a run was too short to say much of longer ones."""
    return record.seconds < _SHORT
