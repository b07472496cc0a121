"""Texts, images, sounds and videos at once: what test_answers.py does not ask of them."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import soundfile
import transformers
from cases import Case
from cases.any_to_any import CASES, SHORT, SILENT, SOUND, chat, frames, quiet_noise, same_media
from PIL import Image
from support.files import png
from support.pictures import PICTURES
from support.sounds import RATE, SOUNDS
from support.texts import CORPUS

from pipelines_beam import ElementError, pipeline

Run = Callable[..., list[Any]]
Model = Callable[[str], str]


@pytest.fixture(scope="module", autouse=True)
def _quiet_noise() -> Iterator[None]:
    with quiet_noise():
        yield


def drawn(directory: str, asked: Any) -> Any:
    """The image that Janus' documentation makes: transformers' pipeline cannot, up to 5.24."""
    processor = transformers.AutoProcessor.from_pretrained(directory)
    model = transformers.JanusForConditionalGeneration.from_pretrained(directory)
    if isinstance(asked, list):
        features = processor.apply_chat_template(
            asked, add_generation_prompt=True, return_dict=True, tokenize=True, return_tensors="pt"
        )
    else:
        features = processor(text=asked, return_tensors="pt")
    try:
        tokens = model.generate(**features, generation_mode="image")
    except TypeError as error:  # so it is up to 5.17
        pytest.skip(f"this transformers cannot make images: {error}")
    found = processor.postprocess(
        list(model.decode_image_tokens(tokens).float()), return_tensors="pt"
    )
    return found["pixel_values"][0].permute(1, 2, 0).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4, 512])
def test_images_are_made(batch: int, model: Model, run: Run) -> None:
    asked = ["a red cat", "the sun", *CORPUS[3:9], chat("a red dog"), chat("a sad dog")]
    expected = [drawn(model("janus"), each) for each in asked]
    transform = pipeline(
        "any-to-any", model("janus"), generation_mode="image", keyed=True, batch_size=batch
    )
    found = dict(run(list(enumerate(asked)), transform))
    for i, image in enumerate(expected):
        ((answer),) = found[i].inference
        assert answer["input_text"] == asked[i]
        difference = np.asarray(answer["generated_image"], int) - image
        assert np.abs(difference).max() <= 1
    assert len({image.tobytes() for image in expected}) > 6


def test_images_in_columns_are_files(model: Model, run: Run) -> None:
    drawn(model("janus"), "the sun")  # skips where it cannot be
    transform = pipeline("any-to-any", model("janus"), generation_mode="image", input="text")
    (row,) = run([{"text": "the sun"}], transform)
    image = Image.open(io.BytesIO(row["generated_image"]["bytes"]))
    assert (image.format, image.mode) == ("PNG", "RGB")
    assert b"generated_image" in transform.schema().metadata[b"huggingface"]


@pytest.mark.slow
def test_sounds_in_columns_are_files(
    model: Model, run: Run, reference: Callable[[Case], list[Any]]
) -> None:
    case = CASES[-1]
    reference(case)  # skips where it cannot be
    columns = {"text": "asked", "audio": "heard"}
    transform = pipeline("any-to-any", model("omni"), input=columns, **case.parameters)
    file = io.BytesIO()
    soundfile.write(file, SOUNDS[0], RATE, format="WAV", subtype="FLOAT")
    (row,) = run([{"asked": f"{SOUND} why?", "heard": file.getvalue()}], transform)
    samples, rate = soundfile.read(io.BytesIO(row["generated_audio"]["bytes"]))
    assert rate == 24_000
    assert len(samples) > 100


def clip(count: int = 24) -> bytes:
    """A video file of 12 frames a second."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width = stream.height = 32
        for frame in frames(5, count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"processor_kwargs": {"fps": 2}}], ids=str)
def test_video_files_are_sampled_as_transformers_does(
    options: dict[str, Any], model: Model, run: Run, tmp_path: Any
) -> None:
    """With PyAV on both sides: transformers itself wants torchcodec."""
    from transformers.video_utils import load_video

    path = tmp_path / "clip.mp4"
    path.write_bytes(clip())
    try:
        pipe = transformers.pipeline("any-to-any", model("omni"), device="cpu")
    except ImportError as error:
        pytest.skip(str(error))

    def fetch_videos(videos: Any, sample_indices_fn: Any = None) -> Any:
        if isinstance(videos, list):
            return list(zip(*(fetch_videos(each, sample_indices_fn) for each in videos)))  # noqa: B905
        return load_video(videos, backend="pyav", sample_indices_fn=sample_indices_fn)

    pipe.processor.video_processor.fetch_videos = fetch_videos
    asked = chat({"type": "video", "path": str(path)}, "What is it?")
    expected = pipe(copy.deepcopy(asked), **SILENT, **options)
    forms: list[Any] = [asked, chat({"type": "video", "video": clip()}, "What is it?")]
    if not options:
        forms.append({"text": "<|vision_bos|><|VIDEO|><|vision_eos|> what", "videos": [str(path)]})
    transform = pipeline("any-to-any", model("omni"), generate_kwargs=SHORT, keyed=True, **options)
    found = dict(run(list(enumerate(forms)), transform))
    said = expected[0]["generated_text"][-1]["content"]
    assert found[0].inference[0]["generated_text"][-1]["content"] == said
    assert found[1].inference[0]["generated_text"][-1]["content"] == said


def test_media_of_a_chat_come_in_any_form(model: Model, run: Run, tmp_path: Any) -> None:
    try:
        transformers.pipeline("any-to-any", model("omni"), device="cpu")
    except ImportError as error:
        pytest.skip(str(error))
    path = tmp_path / "0.wav"
    soundfile.write(path, SOUNDS[0], RATE, subtype="FLOAT")
    data = path.read_bytes()
    sounds = [SOUNDS[0], data, str(path), path.as_uri(), {"bytes": data, "path": None}]
    asked = [
        chat({"type": "image", "url": png(PICTURES[0])}, {"type": "audio", "audio": sound}, "What?")
        for sound in sounds
    ]
    found = run(asked, pipeline("any-to-any", model("omni"), generate_kwargs=SHORT))
    assert len({result.inference[0]["generated_text"][-1]["content"] for result in found}) == 1
    for result in found:
        assert same_media(result.inference[0]["input_text"], result.example)


def test_what_cannot_be_read_says_so(model: Model, run: Run) -> None:
    janus = pipeline("any-to-any", model("janus"))
    bad = [
        (chat({"type": "image", "image": b"GIF89a"}, "What?"), "not an image"),
        (chat(SOUNDS[0], "What?"), "the model takes no audio"),
        ({"text": "a", "images": [b"nothing"]}, "not an image"),
        ({"text": "a", "image": PICTURES[0]}, "unknown input 'image'"),
    ]
    for example, message in bad:
        with pytest.raises(ElementError, match=message):
            run([example], janus)


def test_what_the_model_cannot_give_is_refused(model: Model, run: Run) -> None:
    with pytest.raises(ValueError, match="generation_mode=audio` is not supported for Janus"):
        run(["a"], pipeline("any-to-any", model("janus"), generation_mode="audio"))
