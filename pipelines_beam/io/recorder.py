"""Follows a run of jobs over files, and writes the record of each beside its output."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from apache_beam.runners.runner import PipelineState

from transforms.options.causes import is_caused_by
from transforms.options.shown import shown
from transforms.stages import metrics as live

from .. import machine
from .job import ABOUT, Job
from .kept_forecast import kept_forecast
from .output import is_shard
from .run_metrics import RunMetrics
from .run_record import DONE, FAILED, STOPPED, SUBMITTED, RunRecord
from .settings import Settings

logger = logging.getLogger(__name__)

_INTERVAL = 1.0  # seconds between samples, at first
_MOST_SAMPLES = 256  # then every second one is dropped, and the interval doubles
_WRITE_INTERVAL = 60.0  # seconds: what is known of a run that is killed
_MOST_ERROR_CHARACTERS = 2000


@dataclass
class Followed:
    """A job over files that a pipeline runs."""

    #: The label of its transform in the pipeline.
    label: str
    settings: Settings
    job: Job
    record: RunRecord = field(default_factory=lambda: RunRecord.begun(time.time()))


class Recorder:
    """Writes a record for each job over files of a pipeline, while the body runs it.

    ```python
    with Recorder(jobs) as recorder:
        recorder.result = pipeline.run()
        recorder.result.wait_until_finish()
    ```

    A record that cannot be written is a line in the log: the job is more important.
    """

    def __init__(self, jobs: Sequence[Followed]) -> None:
        self._jobs = jobs
        #: What Beam says of the run, once there is something.
        self.result: Any = None
        #: Whether the run goes on elsewhere when the body has ended.
        self.goes_on = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="run-record", daemon=True)

    def __enter__(self) -> Self:
        """Begin the records."""
        self._start = time.monotonic()
        self._done_before = _rows_done()
        for each in self._jobs:
            with _only_logged(each):
                _describe(each)
            _write(each)
        if self._jobs:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the records."""
        self._end.set()
        if self._jobs:
            self._thread.join()
        for each in self._jobs:
            with _only_logged(each):
                self._finish(each, error)
            _write(each)

    def _follow(self) -> None:
        """Take samples until the end; without other work on the threads of the pipeline."""
        interval, written = _INTERVAL, time.monotonic()
        while not self._end.wait(interval):
            for each in self._jobs:
                self._sample(each)
            if time.monotonic() - written >= _WRITE_INTERVAL:
                written = time.monotonic()
                for each in self._jobs:
                    _write(each)
            if self._jobs[0].record.samples[_MOST_SAMPLES:]:
                interval *= 2
                for each in self._jobs:
                    del each.record.samples[::2]

    def _sample(self, followed: Followed) -> None:
        record = followed.record
        record.seconds = round(time.monotonic() - self._start, 3)
        if len(self._jobs) == 1:  # the counts of a process do not tell jobs apart
            record.samples.append((record.seconds, _rows_done() - self._done_before))

    def _finish(self, followed: Followed, error: BaseException | None) -> None:
        self._sample(followed)
        record = followed.record
        record.state = self._state(error)
        record.error = "" if error is None else _said(error)
        record.shards_written = max(
            0, sum(map(is_shard, followed.job.output.names())) - followed.job.done
        )
        if self.result is not None and not self.goes_on:
            RunMetrics(self.result, followed.label, alone=len(self._jobs) == 1).add_to(record)
        if not any(rows for _, rows in record.samples):
            times = followed.job.output.times().items()
            own = [when for name, when in times if is_shard(name) and when >= record.started - 1]
            _sample_files(record, sorted(own))

    def _state(self, error: BaseException | None) -> str:
        if error is not None:
            # Within a step, Beam makes an error of somebody's stop.
            return STOPPED if is_caused_by(error, KeyboardInterrupt) else FAILED
        if self.goes_on:
            return SUBMITTED
        state = getattr(self.result, "state", PipelineState.DONE)
        return FAILED if state in (PipelineState.FAILED, PipelineState.CANCELLED) else DONE


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_MOST_ERROR_CHARACTERS]


def _sample_files(record: RunRecord, times: Sequence[float]) -> None:
    """Samples of a run whose rows were processed elsewhere: by the times of its files."""
    if not times or not record.rows:
        return
    rows = record.rows + record.failed
    step = max(1, len(times) // _MOST_SAMPLES)
    counts = sorted({*range(0, len(times), step), len(times) - 1})
    record.samples = [
        (round(max(0.0, times[i] - record.started), 3), round(rows * (i + 1) / len(times)))
        for i in counts
    ]
    record.samples_of_files = True


def _rows_done() -> int:
    counts = live.counts()
    return counts.answered + counts.failed


def _describe(followed: Followed) -> None:
    """Put into the record what runs, and where."""
    record, job, settings = followed.record, followed.job, followed.settings
    record.job = json.loads(job.output.read(ABOUT))["job"]
    record.options = {
        "files": shown(settings.files, 500),
        **({"rows per shard": str(settings.rows_per_shard)} if settings.rows_per_shard else {}),
        **_answers(settings),
        **_speed(settings),
    }
    record.machine = machine.described(settings.task.plan.spec.model.device)
    record.shards, record.shards_before = job.shards, job.done
    record.forecast = kept_forecast(job.output.uri, record.job)
    record.audit = {} if job.audit is None else asdict(job.audit)


def _answers(settings: Settings) -> dict[str, str]:
    """Where answers come from that are not computed for each row."""
    dedupe = {"dedupe": settings.dedupe} if settings.dedupes_job else {}
    return {**dedupe, "cache": shown(settings.cache, 500)} if settings.uses_cache else dedupe


def _speed(settings: Settings) -> dict[str, str]:
    """The options of the task that change only how fast it is, where they are given."""
    spec = settings.task.plan.spec
    options = {
        **{name: getattr(spec.model, name) for name in ("device", "device_map", "torch_compile")},
        **vars(spec.limits),
        "share": spec.sharing.share,
    }
    usual = vars(type(spec.limits)())
    return {
        name: shown(value)
        for name, value in options.items()
        if value not in (None, False, "auto") and value != usual.get(name)
    }


def _write(followed: Followed) -> None:
    with _only_logged(followed):
        followed.record.write(followed.job.output)


@contextlib.contextmanager
def _only_logged(followed: Followed) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        uri = followed.job.output.uri
        logger.warning("%s: the record of the run cannot be written: %s", uri, error)
