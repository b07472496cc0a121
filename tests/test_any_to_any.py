"""Promise 1 for texts, images, sounds and videos at once: the answer is transformers' own."""

from __future__ import annotations

import copy
import functools
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers
from cases import BATCHES, COMPOSED, arranged
from PIL import Image
from support.comparing import same as same_values
from support.files import png
from support.pictures import PICTURES
from support.sounds import RATE, SOUNDS
from support.texts import CORPUS

from pipelines_beam import ElementError, pipeline

Run = Callable[..., list[Any]]
Model = Callable[[str], str]


def chat(*content: Any) -> list[Any]:
    return [{"role": "user", "content": [block(each) for each in content]}]


def block(content: Any) -> dict[str, Any]:
    if isinstance(content, dict):
        return content
    if isinstance(content, str):
        return {"type": "text", "text": content}
    kind = (
        "image" if isinstance(content, Image.Image) else "audio" if content.ndim == 1 else "video"
    )
    return {"type": kind, kind: content}


def frames(seed: int, count: int = 6, size: int = 32) -> Any:
    small = np.random.RandomState(seed).randint(0, 255, (count, 4, 4, 3)).astype(np.uint8)
    return small.repeat(size // 4, 1).repeat(size // 4, 2)


SOUND = "<|audio_bos|><|AUDIO|><|audio_eos|>"
HEARD: list[Any] = [
    *(chat(SOUNDS[i], CORPUS[i]) for i in range(7)),
    *({"text": f"{SOUND} {CORPUS[i]}", "audio": SOUNDS[i]} for i in (7, 8, 0)),
    chat(SOUNDS[0], "and", SOUNDS[2], "are the same?"),
    "The capital of France",
    chat("Who was born?"),
    chat("Who was here?"),
]
SEEN: list[Any] = [
    *(chat(PICTURES[i], CORPUS[i]) for i in range(6)),
    *(chat(PICTURES[i], CORPUS[0]) for i in (1, 5, 6)),
    *({"text": f"<image_placeholder> {CORPUS[i]}", "images": PICTURES[i]} for i in range(3)),
    "The capital of France",
    [
        *chat(PICTURES[2], "What is it?"),
        {"role": "assistant", "content": [{"type": "text", "text": "It is"}]},
    ],
]
ALL: list[Any] = [
    *(chat(PICTURES[i], CORPUS[i]) for i in range(3)),
    *(chat(SOUNDS[i], CORPUS[i]) for i in (0, 2, 7)),
    *(chat(frames(i), CORPUS[i]) for i in range(2)),
    chat(PICTURES[0], SOUNDS[1], frames(3, 4), "all the same?"),
    {"text": "<|vision_bos|><|VIDEO|><|vision_eos|> what", "videos": frames(4)},
    *(chat(CORPUS[i]) for i in range(20, 26)),
    "The capital of France",
]
#: What is said aloud: transformers fails to say anything of pictures.
SAID: list[Any] = [*ALL[3:6], *ALL[10:13], ALL[-1]]
SHORT = {"thinker_max_new_tokens": 8}
LOUD = {
    **SHORT,
    "talker_min_new_tokens": 2,
    "talker_max_new_tokens": 8,
    "talker_do_sample": False,
    "talker_eos_token_id": [24, 26],
    "thinker_min_new_tokens": 2,
}


@dataclass(frozen=True)
class Case:
    """A model with parameters, and what it is asked."""

    model: str
    inputs: Sequence[Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: The parameters as transformers' own pipeline takes them, if it takes others.
    stock: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return "-".join([self.model, *self.parameters])


#: Without it, transformers has every answer said aloud, and fails for videos and short answers.
SILENT = {"generate_kwargs": {**SHORT, "generation_mode": "text"}}
CASES = [
    Case("qwen2-audio", HEARD),
    Case("qwen2-audio", HEARD, {"max_new_tokens": 6, "return_tensors": True}),
    Case("janus", SEEN),
    Case("janus", SEEN, {"max_new_tokens": 6, "return_full_text": False}),
    Case(
        "janus",
        SEEN[:6],
        {"max_new_tokens": 6, "num_beams": 2, "num_return_sequences": 2},
        {"max_new_tokens": 6, "generate_kwargs": {"num_beams": 2, "num_return_sequences": 2}},
    ),
    Case("omni", ALL, {"generate_kwargs": SHORT}, SILENT),
    Case("omni", SAID, {"generate_kwargs": LOUD, "generation_mode": "audio"}),
]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Image.Image):
        return isinstance(right, Image.Image) and left.tobytes() == right.tobytes()
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return same_values(left, right)


@pytest.fixture(scope="module", autouse=True)
def _quiet_noise() -> Any:
    """Speech begins with noise: the same noise for both."""
    found = torch.randn
    torch.randn = functools.partial(_ramp)
    yield
    torch.randn = found


def _ramp(*size: Any, dtype: Any = None, device: Any = None, **_: Any) -> torch.Tensor:
    shape = size[0] if len(size) == 1 else size
    count = int(np.prod(shape))
    return torch.linspace(-1, 1, count, dtype=dtype, device=device).reshape(list(shape))


@pytest.fixture(scope="module")
def oracle(model: Model) -> Callable[[Case], list[Any]]:
    """transformers' own answers, one input at a time."""
    known: dict[int, list[Any]] = {}

    def answers(case: Case) -> list[Any]:
        if id(case) not in known:
            try:
                pipe = transformers.pipeline("any-to-any", model(case.model), device="cpu")
            except ImportError as error:  # older ones want librosa
                pytest.skip(str(error))
            parameters = case.parameters if case.stock is None else case.stock
            known[id(case)] = [
                pipe(copy.deepcopy(x), **copy.deepcopy(dict(parameters))) for x in case.inputs
            ]
        return known[id(case)]

    return answers


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("batch", "order"), COMPOSED)
def test_the_answer_is_transformers_own(
    case: Case,
    batch: str,
    order: str,
    model: Model,
    oracle: Callable[[Case], list[Any]],
    run: Run,
) -> None:
    expected = oracle(case)
    elements = arranged(case.inputs, order)
    size = BATCHES[batch]
    transform = pipeline(
        "any-to-any", model(case.model), keyed=True, batch_size=size, **case.parameters
    )

    found = dict(run(elements, transform))

    assert found.keys() == set(range(len(expected)))
    for i, answer in enumerate(expected):
        assert same(answer, found[i].inference), (answer, found[i].inference)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_different_inputs_have_different_answers(
    case: Case, oracle: Callable[[Case], list[Any]]
) -> None:
    """Else the tests above would prove little."""
    answers = [repr(list(answer[0].values())[1:]) for answer in oracle(case)]
    assert len(set(answers)) >= 0.6 * len(answers)


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


def test_sounds_in_columns_are_files(
    model: Model, run: Run, oracle: Callable[[Case], list[Any]]
) -> None:
    case = CASES[-1]
    oracle(case)  # skips where it cannot be
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
        assert same(result.inference[0]["input_text"], result.example)


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
