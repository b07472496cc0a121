"""From what was measured to what all rows take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .finished import Speed
from .measure import Round
from .profile import BatchLine
from .ranges import Range, relative_error

#: What a sample does not show: a machine that gets warm, other programs, how Beam cuts bundles.
UNSEEN = 0.10
#: The same where a finished run has corrected the forecast, and where a profile of another
#: machine is used.
UNSEEN_AFTER_RUN, UNSEEN_OF_PROFILE = 0.05, 0.25


@dataclass(frozen=True)
class Estimate:
    """Seconds of the rows of a job by one worker, without what comes before the first row."""

    seconds: float
    #: The width of the range to each side, as a share.
    error: float

    def range(self, start_seconds: float, share: float = 1.0) -> Range:
        """Of the whole job, if a worker has a share of the rows."""
        return Range.around(self.seconds * share, self.error) + start_seconds


def round_seconds(done: Round, processes: int, accelerated: bool) -> float:
    """What a round takes on this machine in a job of several worker processes.

    Beside an accelerator, the processes prepare rows while it computes: the slower of the two
    decides. The measurement has one process, which is slower.
    """
    if not accelerated or processes == 1:
        return done.seconds
    return min(done.seconds, max(done.compute_seconds, done.host_seconds / processes))


def speed_of(rounds: Sequence[Round], processes: int, accelerated: bool) -> Speed:
    """What an average row takes.

    The median of the rounds' seconds per token: a round that another program disturbed does not
    move it. Times the mean of the tokens: a few long rows count as they are.
    """
    paces = [round_seconds(each, processes, accelerated) / each.tokens for each in rounds]
    tokens = sum(each.tokens for each in rounds) / sum(each.rows for each in rounds)
    return Speed(float(np.median(paces)) * tokens, tokens)


def error_of(rounds: Sequence[Round], processes: int, accelerated: bool) -> float:
    """How far the average row of all inputs may be from that of the rounds, as a share."""
    paces = [round_seconds(each, processes, accelerated) / each.tokens for each in rounds]
    tokens = [each.tokens / each.rows for each in rounds]
    return min(math.hypot(relative_error(paces), relative_error(tokens)), 1.0)


def host_seconds(rounds: Sequence[Round], accelerated: bool) -> float:
    """What an average row takes outside of the model."""
    rows = sum(each.rows for each in rounds)
    if accelerated:
        return sum(each.host_seconds for each in rounds) / rows
    return sum(max(each.seconds - each.compute_seconds, 0.0) for each in rounds) / rows


def line_of(rounds: Sequence[Round]) -> BatchLine:
    """The line of all batches of the rounds."""
    return BatchLine.of([batch for each in rounds for batch in each.batches])


def share_of_worker(shards: int, workers: int) -> float:
    """The part of all rows that the worker with the most shards has."""
    return math.ceil(shards / workers) / shards if shards else 0.0
