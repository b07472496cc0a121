"""Resampling of waveforms, as in transformers' audio pipelines."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

#: torchaudio's defaults, which transformers uses: zero crossings of the filter on each side, and
#: the share of the lower rate's band that is kept.
_CROSSINGS = 6
_KEPT = 0.99


def resample(samples: NDArray[np.float32], rate: int, to: int) -> NDArray[np.float32]:
    """A mono waveform at another rate: a sinc filter under a Hann window.

    The numbers are those of `torchaudio.functional.resample`, to floating-point noise. It holds
    a filter of every phase over a whole period of both rates, which for 44,101 Hz are gigabytes;
    here a phase has only the taps that are not zero.
    """
    divisor = math.gcd(rate, to)
    step, phases = rate // divisor, to // divisor
    if step == phases:
        return samples
    cutoff = min(step, phases) * _KEPT
    reach = math.ceil(_CROSSINGS * step / cutoff)
    resampled = np.empty(-(-phases * len(samples) // step), np.float32)
    windows = sliding_window_view(np.pad(samples, (reach, reach + step + 1)), 2 * reach + 2)
    for phase in range(min(phases, len(resampled))):
        first = phase * step // phases
        taps = np.arange(first - reach, first + reach + 2)
        mine = resampled[phase::phases]
        mine[:] = windows[first::step][: len(mine)] @ _filter(taps, phase, step, phases, cutoff)
    return resampled


def _filter(
    taps: NDArray[np.int64], phase: int, step: int, phases: int, cutoff: float
) -> NDArray[np.float32]:
    """The weights of samples `taps` for the point `phase / phases` of a period of `step` samples.

    Computed in float32, rounding where torchaudio rounds: exact arithmetic differs from it by
    up to 1e-4.
    """
    single = np.float32
    waves = single(-phase) / single(phases) + taps.astype(single) / single(step)
    waves = np.clip(waves * single(cutoff), -_CROSSINGS, _CROSSINGS)
    window = np.cos(waves * single(math.pi) / single(_CROSSINGS) / single(2)) ** 2
    waves *= single(math.pi)
    ones = np.ones_like(waves)
    sinc = np.divide(np.sin(waves), waves, out=ones, where=waves != 0)
    weights: NDArray[np.float32] = sinc * (window * single(cutoff / step))
    return weights
