"""A thousand files in one job, good and bad: each has its answer, or the reason why it has none."""

from __future__ import annotations

import http.server
import io
import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pytest
import soundfile
import transformers
from numpy.typing import NDArray
from PIL import Image
from support import sink
from support.comparing import equal
from support.files import ODD, bomb, saved, sound_file
from support.pictures import PICTURES, picture
from support.runs import RUNNER
from support.servers import serving
from support.sounds import RATE, SOUNDS, sound
from transformers.image_utils import load_image

from pipelines_beam import AutomaticSpeechRecognition, ImageClassification
from transforms.media.resample import resample

SPEECH: dict[str, Any] = {"chunk_length_s": 5}
LIMITS = {
    "image_bytes": 150_000,
    "image_pixels": 1_000_000,
    "audio_bytes": 8_000_000,
    "audio_seconds": 600,
}
PAGE = b"<!DOCTYPE html><html><body>Please log in.</body></html>"
JPEG = saved(picture("a photo", 200, 150), "JPEG")
PNG = saved(PICTURES[3])
WAV, MP3, FLAC = (sound_file(sound("said", 2.0), kind) for kind in ("WAV", "MP3", "FLAC"))
UNREADABLE = "the audio is of no format that can be read .*"

#: name -> what the file holds, and what is to be said of it.
BAD_IMAGES: dict[str, tuple[bytes, str]] = {
    "half.jpg": (JPEG[: len(JPEG) // 2], r"the JPEG image is cut off or damaged: .*truncated.*"),
    "most.jpg": (JPEG[:-900], r"the JPEG image is cut off or damaged: .*truncated.*"),
    "start.jpg": (JPEG[:30], r"the image cannot be opened: Truncated File Read \(30 bytes .*"),
    "half.png": (PNG[: len(PNG) // 2], r"the PNG image is cut off or damaged: .*"),
    "bomb.png": (bomb(), r"the image has more pixels than the limit of 1,000,000 .*"),
    "huge.png": (
        bomb(2_000, 1_500),
        r"the image has 2,000 by 1,500 pixels, more than the limit of 1,000,000 \(image_pixels\)",
    ),
    "text.jpg": (b"dear diary", r"not an image, .*: 10 bytes that begin with b'dear diary'"),
    "page.jpg": (PAGE, r"not an image, .*: \d+ bytes that begin with b'<!DOCTYPE ht'"),
    "sound.png": (WAV[:9000], r"not an image, .* begin with b'RIFF.*"),
    "empty.jpg": (b"", r"the image is empty: it has 0 bytes"),
    "heavy.bmp": (
        saved(picture("heavy", 300, 200), "BMP"),
        r"the image has more bytes than the limit of 150,000 \(image_bytes\)",
    ),
}
BAD_SOUNDS: dict[str, tuple[bytes, str]] = {
    "nothing.wav": (
        sound_file(SOUNDS[0][:0]),
        r"the audio is 0 seconds long: it has no samples, or is cut off before them",
    ),
    "half.wav": (WAV[:20_000], r"the audio is cut off: its header promises more than there is"),
    "start.wav": (WAV[:20], UNREADABLE),
    "corrupted.wav": (WAV[:8] + bytes(20) + WAV[28:], UNREADABLE),
    "half.mp3": (MP3[: len(MP3) // 2], r"the audio is cut off: \d+ of 32000 samples are there"),
    "half.flac": (FLAC[: len(FLAC) // 2], r"the audio is damaged: .*"),
    "text.wav": (b"dear diary", UNREADABLE),
    "page.mp3": (PAGE, UNREADABLE),
    "picture.wav": (PNG, UNREADABLE),
    "empty.wav": (b"", r"the audio is empty: it has 0 bytes"),
    "heavy.wav": (
        sound_file(np.zeros(4_100_000, np.float32)),
        r"the audio has more bytes than the limit of 8,000,000 \(audio_bytes\)",
    ),
    "ten minutes and a half second.flac": (
        sound_file(np.zeros(600 * 8_000 + 4_000, np.float32), "FLAC", rate=8_000),
        r"the audio is 600.5 seconds long, more than the limit of 600 seconds \(audio_seconds\)",
    ),
}
GOOD_IMAGES = {
    **{f"{name}.{kind}": data for kind, (name, data) in enumerate(ODD.items())},
    **{f"{i}.png": saved(each) for i, each in enumerate(PICTURES)},
    **{f"{i}.jpg": saved(each, "JPEG", quality=70 + i) for i, each in enumerate(PICTURES)},
}


def _sounds() -> Iterator[tuple[str, bytes]]:
    for i, each in enumerate(SOUNDS[:6]):
        yield f"{i}.wav", sound_file(each)
        yield f"{i}.flac", sound_file(each, "FLAC")
        yield f"{i}.mp3", sound_file(each, "MP3")
        yield f"{i} stereo.ogg", sound_file(np.stack([each, each[::-1]]).T, "OGG", "VORBIS")
        yield f"{i} stereo.wav", sound_file(np.stack([each, each * 0.3]).T, subtype="FLOAT")
    for rate in (8_000, 22_050, 44_100, 48_000):
        yield f"{rate}.wav", sound_file(sound(f"at {rate}", 1.1, rate), rate=rate)
        both = np.stack([sound(f"{side} {rate}", 0.9, rate) for side in range(2)]).T
        yield f"{rate} stereo.flac", sound_file(both, "FLAC", rate=rate)


GOOD_SOUNDS = dict(_sounds())
#: Minutes of the same second, so that the file is small; the model hears it in pieces.
TEN_MINUTES = sound_file(np.tile(sound("on and on", 1.0, 8_000) / 8, 600), "FLAC", rate=8_000)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if "broken" in self.path:
            self.send_error(503, "Out of order")
        else:
            super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and the address of a server of what is in it."""

    def handler(*args: Any) -> Any:
        return _Handler(*args, directory=str(tmp_path))

    with serving(handler) as url:
        yield tmp_path, url


class Asked(NamedTuple):
    """A medium, and either the name of a good file or what is to be said of a bad one."""

    source: Any
    name: str = ""
    reason: str = ""


def forms(contents: Mapping[str, bytes], folder: Path, url: str) -> Iterator[tuple[str, Any]]:
    """For ever: (name, source) of every file, in one form after the other."""
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    for i in itertools.count():
        for j, (name, data) in enumerate(contents.items()):
            path = str(folder / name)
            every: list[Any] = [
                data,
                path,
                {"bytes": data, "path": None},
                {"bytes": None, "path": path},
                f"{url}/{folder.name}/{name.replace(' ', '%20')}",
                f"file://{path}",
            ]
            yield name, every[(i + j) % len(every)]


def absent(what: str, url: str) -> Iterator[Asked]:
    """For ever: what is not there."""
    for i in itertools.count():
        for source, reason in [
            (
                f"/nowhere/gone {i}",
                "is not there: it must be the path of a file, a URI, or a whole file in base64",
            ),
            (f"{url}/gone{i}", "cannot be read: the server answered 404 File not found"),
            (f"{url}/broken{i}", "cannot be read: the server answered 503 Out of order"),
            (f"memory://gone/{i}", "is not there"),
        ]:
            said = f"the {what} '{source}' {reason}"
            yield Asked(source, reason=re.escape(said))
            yield Asked({"bytes": None, "path": source}, reason=re.escape(said))
        yield Asked({"bytes": None, "path": None}, reason=f"the {what} has neither bytes nor .*")


def asked(
    what: str,
    good: Mapping[str, bytes],
    bad: Mapping[str, tuple[bytes, str]],
    counts: tuple[int, int, int],
    place: tuple[Path, str],
) -> list[Asked]:
    """As many good, bad and missing ones as `counts` says, in any order."""
    root, url = place
    found = forms(good, root / what, url)
    broken = forms({name: data for name, (data, _) in bad.items()}, root / f"bad-{what}", url)
    everything = [
        *(Asked(source, name) for name, source in itertools.islice(found, counts[0])),
        *(Asked(source, "", bad[name][1]) for name, source in itertools.islice(broken, counts[1])),
        *itertools.islice(absent(what, url), counts[2]),
    ]
    random.Random(7).shuffle(everything)
    return everything


def samples(data: bytes) -> NDArray[np.float32]:
    found, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return resample(found.mean(1), rate, RATE)


@pytest.mark.slow
def test_a_thousand_files(files: tuple[Path, str], model: Callable[[str], str]) -> None:
    sees, hears = model("vit-classification"), model("wav2vec2-layer-ctc")
    everything = {
        "image": asked("image", GOOD_IMAGES, BAD_IMAGES, (330, 120, 50), files),
        "audio": asked("audio", GOOD_SOUNDS, BAD_SOUNDS, (319, 130, 50), files),
    }
    everything["audio"].insert(100, Asked(TEN_MINUTES, "ten minutes"))
    assert sum(map(len, everything.values())) == 1000
    transforms = {
        "image": ImageClassification(sees, keyed=True, media_limits=LIMITS),
        "audio": AutomaticSpeechRecognition(hears, keyed=True, media_limits=LIMITS, **SPEECH),
    }
    sink.collected.clear()

    with beam.Pipeline(RUNNER) as p:
        for what, transform in transforms.items():
            elements = [((what, i), each.source) for i, each in enumerate(everything[what])]
            good, bad = (
                p
                | f"Create {what}" >> beam.Create(elements, reshuffle=False)
                | transform.with_exception_handling()
            )
            good | f"Answered {what}" >> beam.Map(sink.collect)
            bad | f"Failed {what}" >> beam.Map(sink.collect)

    rows = [each for each in sink.collected if hasattr(each, "stage")]
    found = dict(each for each in sink.collected if not hasattr(each, "stage"))
    sink.collected.clear()
    names = {(what, i): each for what in everything for i, each in enumerate(everything[what])}
    assert sorted(row.element[0] for row in rows) == sorted(k for k in names if names[k].reason)
    for row in rows:
        assert (row.stage, row.kind, row.error) == ("preprocess", "data", "MediaError")
        assert re.fullmatch(names[row.element[0]].reason, row.message), row.message
        assert len(row.message) < 400
        assert " at 0x" not in row.message
    assert found.keys() == {key for key in names if names[key].name}
    right = {**answers_to_images(sees), **answers_to_sounds(hears)}
    assert len(set(map(repr, right.values()))) > 0.7 * len(right)
    for key, result in found.items():
        assert equal(right[key[0], names[key].name], result.inference), names[key].name


def answers_to_images(directory: str) -> dict[tuple[str, str], Any]:
    pipe = transformers.pipeline("image-classification", directory, device="cpu")
    opened = {name: Image.open(io.BytesIO(data)) for name, data in GOOD_IMAGES.items()}
    return {("image", name): pipe(load_image(image)) for name, image in opened.items()}


def answers_to_sounds(directory: str) -> dict[tuple[str, str], Any]:
    pipe = transformers.pipeline("automatic-speech-recognition", directory, device="cpu")
    heard = {**GOOD_SOUNDS, "ten minutes": TEN_MINUTES}
    return {("audio", name): pipe(samples(data), **SPEECH) for name, data in heard.items()}
