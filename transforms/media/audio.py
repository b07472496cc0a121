"""Audio as the pipelines take it: one channel of float32 samples at the model's rate.

Files are decoded with libsndfile (wav, flac, ogg, mp3, …), which needs no ffmpeg.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..options.media_limits import MediaLimits
from ..options.shown import cut
from . import suspects
from .fetch import MediaError, in_memory, read
from .resample import resample

Samples: TypeAlias = NDArray[np.float32]

_BLOCK = 1 << 20  # numbers read at a time: bounds the memory for files of many channels
_MAX_RATE = 384_000  # the highest of recorders; a damaged header can claim any rate
#: An hour at 48 kHz is 690 MB of float32 before it is resampled. A higher rate may have as many
#: samples, in less time.
_LONGEST, _USUAL_RATE = 3600, 48_000
_MAX_PEAK = 100  # above any float audio: clipped music reaches 2, speech of unit variance 15

#: libsndfile's note about a wav, aiff or w64 file that is shorter than its header says; it raises
#: no error. Programs that write to a pipe leave 0 or the largest number as the length.
_TRUNCATED = re.compile(r"^ *(?:data|SSND|riff) *: (\d+) \(should be \d+\)", re.MULTILINE)
_KNOWN_LENGTHS = range(1, 0xFFFFFF00)


def decode(source: Any, rate: int, limits: MediaLimits) -> Any:
    """The samples of one audio: (samples,) float32 at `rate`.

    Args:
      source: the bytes of a file, in whatever holds bytes; a path or URI; {"bytes", "path"} as
        datasets has it; samples with their rate, {"array" or "raw", "sampling_rate"}; or samples
        alone, which are taken to be at the model's rate. Samples are floats from -1 to 1,
        (samples,) or (channels, samples).
      rate: the model's sampling rate.
      limits: the largest numbers of bytes and seconds.

    The sampling rate may be at most 384,000 Hz, and the number of samples at most that of one hour
    at 48,000 Hz, or of `audio_seconds` if that is longer.

    Channels are averaged. A mapping with "stride" (samples of context on the left and right)
    stays a mapping, {"raw", "sampling_rate", "stride"}, as speech recognition takes it.

    Raises MediaError.

    """
    samples, own_rate = _samples(source, rate, limits)
    _check_length(len(samples), own_rate, limits)
    count_suspect(samples)
    samples = resample(samples, own_rate, rate)
    stride = source.get("stride") if isinstance(source, Mapping) else None
    if stride is None:
        return samples
    left, right = (round(each * rate / own_rate) for each in stride)
    return {"raw": samples, "sampling_rate": rate, "stride": (left, right)}


def _samples(source: Any, rate: int, limits: MediaLimits) -> tuple[Samples, int]:
    """One channel of samples, and their rate."""
    if isinstance(source, Mapping) and {"array", "raw"} & set(source):
        return _of_mapping(source)
    source = in_memory(source)
    if isinstance(source, str | bytes | Mapping | os.PathLike):
        data = read(source, limits.audio_bytes, "audio", limits.timeout)
        return read_file(data, limits)
    return _mono(source), rate


def read_file(data: bytes, limits: MediaLimits) -> tuple[Samples, int]:
    """The averaged channels of a file's bytes, and its sampling rate. Raises MediaError."""
    import soundfile

    with open_file(data, limits) as file:
        try:
            blocks = [block.mean(1) for block in _blocks(file)]
        except soundfile.SoundFileError as error:
            raise MediaError(f"the audio is damaged: {_reason(error)}") from error
        samples = np.concatenate(blocks)
        if len(samples) < file.frames:
            raise MediaError(
                f"the audio is cut off: {len(samples)} of {file.frames} samples are there"
            )
        return samples, file.samplerate


@contextlib.contextmanager
def open_file(data: bytes, limits: MediaLimits) -> Iterator[Any]:
    """A soundfile.SoundFile of a file's bytes, with its header checked. Raises MediaError."""
    import soundfile

    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.SoundFileError as error:
        raise MediaError(
            f"the audio is of no format that can be read ({_reason(error)}): it must be wav, "
            f"flac, ogg, mp3 or another of libsndfile's, and not cut off in its header; it "
            f"begins with {data[:12]!r}"
        ) from error
    with file:
        cut = _TRUNCATED.search(file.extra_info)
        if cut and int(cut[1]) in _KNOWN_LENGTHS:
            raise MediaError("the audio is cut off: its header promises more than there is")
        _check_length(file.frames, file.samplerate, limits)
        yield file


def _blocks(file: Any) -> Any:
    left, most = file.frames, max(1, _BLOCK // file.channels)
    while left > 0:
        block = file.read(min(left, most), dtype="float32", always_2d=True)
        if not len(block):
            return
        left -= len(block)
        yield block


def _of_mapping(source: Mapping[str, Any]) -> tuple[Samples, int]:
    rate = source.get("sampling_rate")
    if isinstance(rate, float) and rate.is_integer():  # a column with gaps, in pandas
        rate = int(rate)
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or rate < 1:
        raise MediaError(
            f"sampling_rate must be a positive whole number of samples per second, got {rate!r}"
        )
    raw = source.get("raw")
    samples = source.get("array") if raw is None else raw
    if isinstance(in_memory(samples), bytes | str):
        raise MediaError(
            "audio samples must be numbers, floats from -1 to 1, got "
            f"{type(samples).__name__}: a file's bytes go into 'bytes', its name into 'path'"
        )
    return _mono(samples), int(rate)


def _mono(source: Any) -> Samples:
    """Samples of any form as one channel."""
    if hasattr(source, "is_floating_point"):  # a tensor; numpy has no bfloat16
        source = source.detach().cpu()
        source = (source.float() if source.is_floating_point() else source).numpy()
    with np.errstate(over="ignore"):  # too large becomes infinite
        samples = np.asarray(_numbers(source), np.float32)
    if samples.ndim == 2 and 1 <= len(samples) <= 2:
        samples = samples.mean(0)
    if samples.ndim != 1:
        raise MediaError(
            "audio samples must have the shape (samples,) or (channels, samples) with one or two "
            f"channels, got {samples.shape}"
        )
    return samples


def _numbers(source: Any) -> NDArray[Any]:
    """Samples as an array. Raises MediaError for values that are not valid samples."""
    try:
        samples = np.asarray(source)
    except (TypeError, ValueError) as error:
        raise MediaError(f"audio samples must be numbers: {cut(str(error), 200)}") from error
    if samples.dtype.kind == "f" or not samples.size:
        return samples
    what = f"{type(source).__name__} of {samples.dtype}"
    if samples.dtype.kind not in "iu":
        raise MediaError(f"audio samples must be numbers, floats from -1 to 1, got {what}")
    low, high = samples.min(), samples.max()
    if low < -1 or high > 1:  # 0 and 1 are silence and clicks, as good as floats
        raise MediaError(
            f"audio samples must be floats from -1 to 1, got {what} from {low} to {high}: divide "
            "samples of 16 bits by 32768, of 24 bits by 8388608, of 32 bits by 2147483648; the "
            "bytes of a file must be bytes"
        )
    return samples


def count_suspect(samples: Samples) -> None:
    """Count audio that no model can make sense of, see suspects.py."""
    peak = max(float(samples.max()), -float(samples.min()))
    if not math.isfinite(peak):
        suspects.count("audio_not_finite", "a sound")
    elif peak > _MAX_PEAK:
        suspects.count("audio_out_of_range", f"a sound with samples up to {peak:g}")


def _check_length(frames: int, rate: int, limits: MediaLimits) -> None:
    if frames <= 0:
        raise MediaError(
            "the audio is 0 seconds long: it has no samples, or is cut off before them"
        )
    if rate > _MAX_RATE:
        raise MediaError(
            f"the audio has a sampling rate of {rate:,} Hz: it must be at most {_MAX_RATE:,} Hz"
        )
    if frames > limits.audio_seconds * rate:
        raise MediaError(
            f"the audio is {frames / rate:,.1f} seconds long, more than the limit of "
            f"{limits.audio_seconds:,} seconds (audio_seconds)"
        )
    longest = max(_LONGEST, limits.audio_seconds)
    if frames > longest * _USUAL_RATE:
        raise MediaError(
            f"the audio has {frames:,} samples, more than the limit of "
            f"{longest * _USUAL_RATE:,}: as many as {_USUAL_RATE:,} Hz has in {longest:,} seconds"
        )


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".")
