"""Images and sounds of chats: read as transformers reads them there, in whatever form they come."""

from __future__ import annotations

import base64
import copy
import io
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers
from cases.any_to_any import chat
from PIL import Image
from support.files import saved
from support.models.any_to_any import CHAT_TEMPLATE
from support.pictures import PICTURES
from transformers import audio_utils
from transformers.pipelines import any_to_any, image_text_to_text

from pipelines_beam import ElementError, pipeline
from transforms.media import chat as chats
from transforms.media import suspects
from transforms.media.decoding import decoded
from transforms.media.fetch import MediaError
from transforms.options.media_limits import MediaLimits
from transforms.pipelines.factory import weightless
from transforms.pipelines.split_call import SplitPipeline
from transforms.tasks import TASKS

Model = Callable[[str], str]
Run = Callable[..., list[Any]]

LIMITS = MediaLimits()
PICTURE = PICTURES[0]
PIXELS = np.array(PICTURE)
GREY = np.array(PICTURE.convert("L"))
ALPHA = np.linspace(0, 255, GREY.size).reshape(GREY.shape).astype(np.uint8)
CLEAR = Image.fromarray(np.dstack([PIXELS, ALPHA]))
TURNED = Image.Exif()
TURNED[0x0112] = 6
PALETTE = PICTURE.quantize(16)
TWO = [PICTURE.rotate(180)]

#: Files that transformers answers.
FILES: dict[str, bytes] = {
    "photo": saved(PICTURE, "JPEG", quality=80),
    "turned photo": saved(PICTURE, "JPEG", exif=TURNED),
    "turned drawing": saved(PICTURE, "PNG", exif=TURNED),
    "turned web picture": saved(PICTURE, "WEBP", lossless=True, exif=TURNED),
    "photo of four inks": saved(PICTURE.convert("CMYK"), "JPEG"),
    "photo without colours": saved(PICTURE.convert("L"), "JPEG"),
    "photo with a preview": saved(PICTURE, "MPO", save_all=True, append_images=TWO),
    "drawing": saved(PICTURE),
    "16 bits": saved(Image.fromarray(GREY.astype(np.uint16) * 257)),
    "alpha": saved(CLEAR),
    "grey and alpha": saved(CLEAR.convert("LA")),
    "palette": saved(PALETTE),
    "palette with a hole": saved(PALETTE, transparency=3),
    "palette with shades": saved(PALETTE, transparency=bytes(range(0, 240, 15))),
    "GIF": saved(PALETTE, "GIF"),
    "GIF with a hole": saved(PALETTE, "GIF", transparency=3),
    "moving PNG": saved(PICTURE, save_all=True, append_images=TWO),
}
#: Files that only Pillow reads.
OTHERS: dict[str, bytes] = {
    "BMP": saved(PICTURE, "BMP"),
    "TIFF": saved(PICTURE, "TIFF"),
    "LAB": saved(PICTURE.convert("LAB"), "TIFF"),
    "PPM": saved(PICTURE, "PPM"),
}
#: What is in memory.
HELD: dict[str, Any] = {
    "Pillow": PICTURE,
    "turned in Pillow": Image.open(io.BytesIO(FILES["turned photo"])),
    "alpha in Pillow": CLEAR,
    "grey and alpha in Pillow": CLEAR.convert("LA"),
    "grey in Pillow": PICTURE.convert("L"),
    "palette in Pillow": PALETTE,
    "16 bits in Pillow": Image.open(io.BytesIO(FILES["16 bits"])),
    "array": PIXELS,
    "grey array": GREY,
    "array, channels first": np.ascontiguousarray(PIXELS.transpose(2, 0, 1)),
    "array of floats": (PIXELS / 255).astype(np.float32),
    "tensor": torch.from_numpy(PIXELS),
}
MODELS = [
    ("image-text-to-text", "llava"),
    ("image-text-to-text", "qwen2-vl"),
    ("any-to-any", "janus"),
]


@pytest.fixture(scope="module")
def pipes(model: Model) -> Callable[[str, str], tuple[Any, Any]]:
    """The pipeline of transformers, and the call of ours, for a task and a model."""
    known: dict[str, tuple[Any, Any]] = {}

    def found(task: str, name: str) -> tuple[Any, Any]:
        if name not in known:
            spec = pipeline(task, model(name)).spec.model
            known[name] = (
                transformers.pipeline(task, model(name)),
                SplitPipeline(weightless(spec), {}),
            )
        return known[name]

    return found


def asked(image: Any, key: str = "image") -> list[Any]:
    return chat({"type": "image", key: image}, "What is it?")


def ours(call: Any, task: str, example: Any) -> Any:
    chunks, _ = call.preprocess(decoded(example, TASKS[task], call.pipe, LIMITS))
    return chunks[0]


def stocks(pipe: Any, messages: Any) -> Any:
    kinds = any_to_any if pipe.task == "any-to-any" else image_text_to_text
    return pipe.preprocess(kinds.Chat(copy.deepcopy(messages)))


def same(left: Any, right: Any) -> bool:
    names = {name for name, value in left.items() if isinstance(value, torch.Tensor)}
    assert "pixel_values" in names
    assert names <= right.keys()
    return all(torch.equal(left[name], right[name]) for name in names)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_transformers_reads_it(name: str, pipes: Any, tmp_path: Path) -> None:
    stock, call = pipes("image-text-to-text", "llava")
    path = tmp_path / "image"
    path.write_bytes(FILES[name])
    expected = stocks(stock, asked(str(path)))
    assert same(expected, ours(call, "image-text-to-text", asked(str(path))))


@pytest.mark.parametrize(("task", "of"), MODELS)
def test_a_file_is_read_so_wherever_it_is(task: str, of: str, pipes: Any, tmp_path: Path) -> None:
    stock, call = pipes(task, of)
    data = FILES["16 bits"]
    path = tmp_path / "image"
    path.write_bytes(data)
    encoded = base64.b64encode(data).decode()
    expected = stocks(stock, asked(str(path)))
    forms: list[Any] = [
        asked(str(path)),
        asked(str(path), "url"),
        asked(str(path), "path"),
        asked(encoded, "base64"),
        asked(f"data:image/png;base64,{encoded}", "url"),
        asked(data),
        asked({"bytes": data, "path": None}),
        asked(path.as_uri()),
    ]
    for form in forms:
        assert same(expected, ours(call, task, form)), form


@pytest.mark.parametrize(("task", "of"), MODELS)
def test_what_is_in_memory_goes_to_the_processor(task: str, of: str, pipes: Any) -> None:
    stock, call = pipes(task, of)
    for name, held in HELD.items():
        try:
            expected = stocks(stock, asked(held))
        except Exception as error:  # a processor does not take everything
            with pytest.raises(type(error)):
                ours(call, task, asked(held))
        else:
            assert same(expected, ours(call, task, asked(held))), name


def test_images_beside_a_text_are_a_processors_in_any_to_any(pipes: Any, tmp_path: Path) -> None:
    stock, call = pipes("any-to-any", "janus")
    path = tmp_path / "image"
    path.write_bytes(FILES["16 bits"])
    given = {"text": "<image_placeholder> what", "images": [str(path)]}
    assert same(stock.preprocess(given), ours(call, "any-to-any", given))


def test_images_beside_a_text_are_pillows_in_image_text_to_text(pipes: Any, tmp_path: Path) -> None:
    stock, call = pipes("image-text-to-text", "llava")
    path = tmp_path / "image"
    path.write_bytes(FILES["16 bits"])
    given = {"text": "<image> what", "images": [str(path)]}
    assert same(stock.preprocess(given), ours(call, "image-text-to-text", given))


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_transformers_refuses_is_read_by_pillow(
    name: str, pipes: Any, tmp_path: Path
) -> None:
    stock, call = pipes("image-text-to-text", "llava")
    path = tmp_path / "image"
    path.write_bytes(OTHERS[name])
    with pytest.raises(RuntimeError, match=r"[Uu]nsupported image"):
        stocks(stock, asked(str(path)))
    loaded = Image.open(path).convert("RGB")
    expected = stocks(stock, asked(loaded))
    assert same(expected, ours(call, "image-text-to-text", asked(str(path))))


def cut(name: str) -> bytes:
    return FILES[name][: len(FILES[name]) * 2 // 3]


BAD: dict[str, tuple[Any, str]] = {
    "moving GIF": (saved(PALETTE, "GIF", save_all=True, append_images=TWO), "has 2 frames"),
    "moving WebP": (saved(PICTURE, "WEBP", save_all=True, append_images=TWO), "WEBP image .* anim"),
    "cut photo": (cut("photo"), "JPEG image cannot be read .*truncated"),
    "cut drawing": (cut("drawing"), "PNG image is cut off or damaged"),
    "junk": (b"no picture but a text", "not an image"),
    "number": (3, "must be bytes, a path"),
    "empty array": (np.zeros((0, 4, 3), np.uint8), "no pixels"),
}


def test_damaged_drawings_are_refused_or_read(pipes: Any) -> None:
    """torchvision's decoder would end the process at some of them."""
    processor = pipes("image-text-to-text", "llava")[0].processor
    whole = saved(PICTURE, icc_profile=bytes(3000))
    draw, refused = random.Random(5), 0
    for _ in range(200):
        at = draw.randrange(40, len(whole))
        damaged = whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :]
        try:
            assert chats.image(damaged, processor, LIMITS).shape == (3, *PICTURE.size[::-1])
        except MediaError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_says_why(name: str, pipes: Any) -> None:
    _, call = pipes("image-text-to-text", "llava")
    source, reason = BAD[name]
    with pytest.raises(MediaError, match=f"(?i){reason}"):
        ours(call, "image-text-to-text", asked(source))


@pytest.mark.parametrize(
    "source",
    [
        FILES["drawing"],
        PICTURE,
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        torch.from_numpy(PIXELS),
        saved(PALETTE.resize((8, 8)), "GIF", save_all=True, append_images=[PICTURE.resize((8, 8))]),
    ],
)
def test_pixels_are_limited_before_anything_is_decoded(source: Any, pipes: Any) -> None:
    _, call = pipes("image-text-to-text", "llava")
    processor = call.pipe.processor
    with pytest.raises(MediaError, match=r"limit of 100 \(image_pixels\)"):
        chats.image(source, processor, MediaLimits(image_pixels=100))


def test_bytes_are_limited(pipes: Any) -> None:
    _, call = pipes("image-text-to-text", "llava")
    with pytest.raises(MediaError, match=r"limit of 100 \(image_bytes\)"):
        chats.image(FILES["drawing"], call.pipe.processor, MediaLimits(image_bytes=100))


def test_a_bad_image_of_a_chat_fails_alone(model: Model, run: Run) -> None:
    with pytest.raises(ElementError, match="cannot be read as transformers reads images of chats"):
        run([asked(cut("photo"))], pipeline("image-text-to-text", model("llava")))


def test_a_processor_that_loads_by_itself_gets_pillows_images(model: Model) -> None:
    """Idefics2's calls `load_image`, which takes neither arrays nor tensors."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model("llava"))
    processor = transformers.Idefics2Processor(
        transformers.Idefics2ImageProcessor(do_image_splitting=False),
        tokenizer,
        image_seq_len=4,
        chat_template=CHAT_TEMPLATE.format(image="<image>", video="", audio=""),
    )
    for source in (FILES["16 bits"], FILES["photo"], PIXELS):
        found = chats.image(source, processor, LIMITS)
        assert isinstance(found, Image.Image)
        messages = chat({"type": "image", "image": found}, "What?")
        assert "pixel_values" in processor.apply_chat_template(
            messages, tokenize=True, return_dict=True
        )


class Foreign:
    """A processor of a model's repository."""


def test_a_processor_of_a_repository_gets_pillows_images() -> None:
    for source in (FILES["16 bits"], PIXELS):
        assert isinstance(chats.image(source, Foreign(), LIMITS), Image.Image)


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("16 bits", "images_of_16_bits"),
        ("alpha", "images_transparent"),
        ("palette with a hole", "images_transparent"),
        ("moving PNG", "images_of_many_frames"),
        ("photo", None),
    ],
)
def test_what_is_hardly_meant_is_counted(
    name: str,
    counted: str | None,
    pipes: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, call = pipes("image-text-to-text", "llava")
    found: list[str] = []
    monkeypatch.setattr(suspects, "_logged", set())
    monkeypatch.setattr(suspects, "count_suspect", found.append)
    with caplog.at_level(logging.WARNING, logger=suspects.__name__):
        chats.image(FILES[name], call.pipe.processor, LIMITS)
    assert found == ([] if counted is None else [counted])


RATE = 16_000
WAVE = np.sin(np.arange(RATE // 2) * 0.05).astype(np.float32)


def sound(rate: int, channels: int = 1) -> bytes:
    written = io.BytesIO()
    soundfile.write(written, np.stack([WAVE, WAVE / 3][:channels], 1), rate, format="WAV")
    return written.getvalue()


def test_sounds_are_resampled_by_transformers_where_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It wants packages for that which this library does not."""
    asked: list[tuple[bytes, int]] = []

    def load_audio(audio: str, sampling_rate: int) -> Any:
        asked.append((base64.b64decode(audio.removeprefix("data:;base64,")), sampling_rate))
        return WAVE

    monkeypatch.setattr(audio_utils, "load_audio", load_audio)
    data = sound(8_000)
    for source in (data, base64.b64encode(data).decode(), {"bytes": data, "path": None}):
        assert chats.audio(source, RATE, LIMITS) is WAVE
    assert asked == [(data, RATE)] * 3
    assert len(chats.audio(WAVE, RATE, LIMITS)) == len(WAVE)
    assert len(chats.audio({"raw": WAVE, "sampling_rate": 8_000}, RATE, LIMITS)) == 2 * len(WAVE)
    assert len(asked) == 3


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_are_those_of_transformers(rate: int, channels: int, tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(sound(rate, channels))
    try:
        expected = audio_utils.load_audio(str(path), sampling_rate=RATE)
    except ImportError as error:
        pytest.skip(f"transformers reads no sounds here: {error}")
    assert np.array_equal(chats.audio(str(path), RATE, LIMITS), expected)


def test_sounds_are_resampled_here_where_transformers_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load_audio(audio: str, sampling_rate: int) -> Any:
        raise ImportError("no soxr")

    monkeypatch.setattr(audio_utils, "load_audio", load_audio)
    found = chats.audio(sound(8_000), RATE, LIMITS)
    assert (found.dtype, len(found)) == (np.float32, 2 * len(WAVE))


def test_a_sound_that_transformers_cannot_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_audio(audio: str, sampling_rate: int) -> Any:
        raise RuntimeError("no such codec")

    monkeypatch.setattr(audio_utils, "load_audio", load_audio)
    with pytest.raises(MediaError, match="sounds of chats: no such codec"):
        chats.audio(sound(8_000), RATE, LIMITS)


def test_sounds_are_limited_before_transformers_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audio_utils, "load_audio", None)
    with pytest.raises(MediaError, match=r"limit of 100 \(audio_bytes\)"):
        chats.audio(sound(8_000), RATE, MediaLimits(audio_bytes=100))
    with pytest.raises(MediaError, match=r"limit of 0.1 seconds \(audio_seconds\)"):
        chats.audio(sound(8_000), RATE, MediaLimits(audio_seconds=0.1))  # type: ignore[arg-type]
