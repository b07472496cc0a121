"""Audio as it comes: files, arrays, structs; and what is wrong with those that are refused."""

from __future__ import annotations

import array
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import soundfile
import torch
from support import sink
from support.comparing import same
from support.files import sound_file
from support.holders import HOLDERS
from support.runs import RUNNER
from support.sounds import RATE, SOUNDS, TONE, sound

from pipelines_beam import pipeline
from transforms.media import audio
from transforms.media.audio import decode
from transforms.media.fetch import MediaError
from transforms.media.resample import resample
from transforms.options.media_limits import MediaLimits

LIMITS = MediaLimits()


@pytest.mark.parametrize(
    ("kind", "subtype", "difference"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "FLOAT", 0),
        ("WAV", "PCM_U8", 1e-2),
        ("FLAC", "PCM_24", 1e-6),
        ("AIFF", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.2),
        ("MP3", "MPEG_LAYER_III", 0.4),
    ],
)
def test_files_are_read(kind: str, subtype: str, difference: float) -> None:
    found = decode(sound_file(kind=kind, subtype=subtype), RATE, LIMITS)
    assert found.dtype == np.float32
    assert found.shape == TONE.shape
    assert np.abs(found - TONE).max() <= difference


def test_every_form_gives_the_same_samples(tmp_path: Path) -> None:
    data = sound_file(subtype="FLOAT")
    (tmp_path / "tone.wav").write_bytes(data)
    forms: list[Any] = [
        data,
        str(tmp_path / "tone.wav"),
        tmp_path / "tone.wav",
        (tmp_path / "tone.wav").as_uri(),
        {"bytes": data, "path": None},
        {"bytes": None, "path": str(tmp_path / "tone.wav")},
        {"array": TONE, "sampling_rate": RATE},
        {"raw": TONE.tolist(), "sampling_rate": RATE, "path": "tone.wav"},
        TONE,
        TONE.astype(np.float64),
        np.stack([TONE, TONE]),
    ]
    for form in forms:
        np.testing.assert_array_equal(decode(form, RATE, LIMITS), TONE)


@pytest.mark.parametrize("name", HOLDERS)
def test_whatever_holds_bytes_holds_a_file(name: str) -> None:
    held = HOLDERS[name](sound_file(subtype="FLOAT"))
    for source in (held, {"bytes": held, "path": None}):
        np.testing.assert_array_equal(decode(source, RATE, LIMITS), TONE)


def test_numbers_of_any_kind_that_can_be_samples() -> None:
    few = [0, 1, -1, 0]
    forms: list[Any] = [
        few,
        np.array(few, np.int16),
        torch.tensor(few),
        torch.tensor(few, dtype=torch.bfloat16),
        torch.tensor(few, dtype=torch.float64, requires_grad=True),
        np.array(few, np.float16),
        array.array("f", few),
    ]
    for form in forms:
        np.testing.assert_array_equal(decode(form, RATE, LIMITS), np.array(few, np.float32))


def test_channels_are_averaged() -> None:
    stereo = np.stack([TONE, -TONE / 2])
    np.testing.assert_allclose(
        decode(sound_file(stereo.T, subtype="FLOAT"), RATE, LIMITS), TONE / 4, atol=1e-7
    )
    np.testing.assert_allclose(
        decode({"array": stereo, "sampling_rate": RATE}, RATE, LIMITS), TONE / 4, atol=1e-7
    )


def test_other_rates_become_the_models() -> None:
    given = sound("tone", 1.0, 44_100)
    expected = resample(given, 44_100, RATE)
    np.testing.assert_array_equal(
        decode(sound_file(given, subtype="FLOAT", rate=44_100), RATE, LIMITS), expected
    )
    np.testing.assert_array_equal(
        decode({"raw": given, "sampling_rate": 44_100}, RATE, LIMITS), expected
    )


def test_the_stride_of_a_chunk_is_kept() -> None:
    given = {"raw": TONE, "sampling_rate": 8_000, "stride": (100, 50)}
    found = decode(given, RATE, LIMITS)
    assert found["sampling_rate"] == RATE
    assert found["stride"] == (200, 100)
    assert len(found["raw"]) == 2 * len(TONE)


def test_a_stream_that_did_not_know_its_length_is_read() -> None:
    """As ffmpeg writes to a pipe."""
    data = sound_file(subtype="PCM_16").replace((32_000).to_bytes(4, "little"), b"\xff" * 4)
    assert decode(data, RATE, LIMITS).shape == TONE.shape


BAD: dict[str, tuple[Any, str]] = {
    "empty": (b"", "empty"),
    "text": (b"this is no audio, whatever its name is", "no format that can be read"),
    "m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0", "no format that can be read"),
    "missing": ("/nowhere/tone.wav", "is not there"),
    "zero seconds": (sound_file(TONE[:0]), "0 seconds"),
    "no samples": (TONE[:0], "0 seconds"),
    "cut wav": (sound_file()[:20_000], "cut off"),
    "cut flac": (sound_file(kind="FLAC")[:20_000], "damaged"),
    "cut mp3": (sound_file(kind="MP3")[:2_500], "cut off"),
    "cut ogg": (sound_file(kind="OGG", subtype="VORBIS")[:5_000], "cut off"),
    "long file": (sound_file(rate=4), "4,000.0 seconds long, more than the limit of 3,600"),
    "long samples": ({"raw": TONE, "sampling_rate": 1}, "more than the limit"),
    "no rate": ({"raw": TONE}, "sampling_rate must be a positive whole number"),
    "rate 0": ({"raw": TONE, "sampling_rate": 0}, "sampling_rate must be"),
    "rate of a file": (
        sound_file(TONE[:16], rate=10_000_000),
        "a sampling rate of 10,000,000 Hz: it must be at most 384,000 Hz",
    ),
    "rate of samples": ({"raw": TONE, "sampling_rate": 384_001}, "384,001 Hz: it must be at most"),
    "three channels": (np.zeros((3, 8), np.float32), "one or two channels"),
    "channels last": (np.zeros((8, 2), np.float32), "one or two channels"),
    "words": (["a", "b"], "must be numbers, .*got list of <U1"),
    "numbers in words": (["0.1", "0.2"], "must be numbers, .*got list of <U3"),
    "samples of 16 bits": (
        (TONE * 32767).astype(np.int16),
        r"floats from -1 to 1, got ndarray of int16 from -\d+ to \d+: divide .* by 32768",
    ),
    "whole numbers": ([82, 73, 70, 70], "got list of int64 from 70 to 82"),
    "whole numbers of torch": (torch.tensor([300, 2]), "got ndarray of int64 from 2 to 300"),
    "array of 16 bits": (array.array("h", [5, -5]), "got array of int16 from -5 to 5"),
    "with a rate": ({"array": np.array([9], np.int32), "sampling_rate": RATE}, "of int32 from 9"),
    "complex": (TONE[:9].astype(np.complex64), "got ndarray of complex64"),
    "true or false": (np.zeros(9, bool), "got ndarray of bool"),
    "objects": (np.array([0.1, None]), "got (ndarray|list) of object"),
    "a gap": ([0.1, None], "got list of object"),
    "number": (7.5, r"must have the shape .* got \(\)"),
    "file as samples": (
        {"array": bytearray(sound_file()), "sampling_rate": RATE},
        "got bytearray: a file's bytes go into 'bytes'",
    ),
    "path as samples": (
        {"raw": "tone.wav", "sampling_rate": RATE},
        "got str: a file's bytes",
    ),
    "bytearray of text": (bytearray(b"this is no audio"), "no format that can be read"),
    "nothing in it": ({"bytes": None, "path": None}, "neither bytes nor a path"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_refused_with_the_reason(name: str) -> None:
    source, reason = BAD[name]
    with pytest.raises(MediaError, match=reason):
        decode(source, RATE, LIMITS)


def test_the_seconds_are_counted_before_anything_is_decoded() -> None:
    hours = sound_file(np.zeros(60 * 60 * 8 + 8, np.float32), kind="FLAC", rate=8)
    with pytest.raises(MediaError, match="seconds long"):
        decode(hours, RATE, LIMITS)
    with pytest.raises(MediaError, match="audio_bytes"):
        decode(sound_file(), RATE, MediaLimits(audio_bytes=1000))


def test_high_rates_are_read() -> None:
    given = sound("tone", 0.1, 384_000)
    assert decode(sound_file(given, rate=384_000), RATE, LIMITS).shape == (RATE // 10,)
    assert decode({"raw": given, "sampling_rate": 384_000}, RATE, LIMITS).shape == (RATE // 10,)


def test_an_hour_may_have_as_many_samples_as_at_48_khz(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of higher rates there is less; a lower limit of seconds lowers nothing else."""
    monkeypatch.setattr(audio, "_LONGEST", 1)
    fits, high = (sound_file(sound("tone", seconds, 96_000), rate=96_000) for seconds in (0.5, 0.6))
    few = MediaLimits(audio_seconds=1)
    assert decode(sound_file(sound("tone", 1.0, 48_000), rate=48_000), RATE, few).shape == (RATE,)
    assert decode(fits, RATE, few).shape == (RATE // 2,)
    with pytest.raises(MediaError, match=r"57,600 samples, more than .* 48,000: .* in 1 seconds"):
        decode(high, RATE, few)
    assert decode(high, RATE, MediaLimits(audio_seconds=2)).shape == (RATE * 6 // 10,)


@pytest.mark.parametrize("channels", [1, 3, 1000])
def test_many_channels_take_no_more_memory(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = np.random.default_rng(3).uniform(-1, 1, (50, channels)).astype(np.float32)
    data = sound_file(given, subtype="FLOAT")
    read = soundfile.SoundFile.read
    asked: list[int] = []

    def reading(self: Any, frames: int, **options: Any) -> Any:
        asked.append(frames * channels)
        return read(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", reading)
    monkeypatch.setattr(audio, "_BLOCK", 100)
    np.testing.assert_allclose(decode(data, RATE, LIMITS), given.mean(1), atol=1e-6)
    assert max(asked) <= max(100, channels)


def test_bad_ones_become_rows_and_good_ones_are_answered(
    model: Callable[[str], str], run: Callable[..., list[Any]]
) -> None:
    good = {f"good {i}": sound_file(each, subtype="FLOAT") for i, each in enumerate(SOUNDS)}
    # A list of texts is no sound, but several: that is said before anybody decodes it.
    bad = {name: each for name, each in BAD.items() if name not in ("words", "numbers in words")}
    elements = [*good.items(), *((name, source) for name, (source, _) in bad.items())]
    directory = model("wav2vec2-layer-keywords")
    alone = {
        result.example.tobytes(): result.inference
        for result in run(SOUNDS, pipeline("audio-classification", directory))
    }
    transform = pipeline("audio-classification", directory, keyed=True)
    results: dict[str, Any] = {}
    failures: dict[str, Any] = {}

    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        pcoll = p | beam.Create(elements, reshuffle=False)
        answered, failed = pcoll | transform.with_exception_handling()
        answered | "Answered" >> beam.Map(sink.collect)
        failed | "Failed" >> beam.Map(sink.collect)
    for found in sink.collected:
        if hasattr(found, "stage"):
            failures[found.element[0]] = found
        else:
            results[found[0]] = found[1]

    assert results.keys() == good.keys()
    assert failures.keys() == bad.keys()
    for i, each in enumerate(SOUNDS):
        assert same(results[f"good {i}"].inference, alone[each.tobytes()])
    for name, row in failures.items():
        assert row.stage == "preprocess"
        assert row.error == "MediaError"
        assert re.search(bad[name][1], row.message)
