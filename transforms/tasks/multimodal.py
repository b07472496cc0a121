"""The tasks of several modalities. Columns carry Hugging Face's names; see text.py."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from .audio import AUDIO
from .columns import Audio, Image
from .image import IMAGE
from .input_structures import itself, word_boxes
from .task import Columns, Parameters, Task
from .text import asks_for_several, generated_text, only
from .text_checks import questions, text, texts
from .video import VIDEO

_PIPELINES = "transforms.pipelines.classes."


class DocumentAnswer(NamedTuple):
    """An answer; for models of words and boxes, its probability and its first and last word."""

    answer: Optional[str]
    score: Optional[float]
    start: Optional[int]
    end: Optional[int]


class ImageAnswer(NamedTuple):
    """An answer, and its probability if the model is a classifier."""

    answer: str
    score: Optional[float]


class OptionProbability(NamedTuple):
    """An option of a question, and its probability."""

    option: str
    probability: float


class QuestionAnswer(NamedTuple):
    """The answer to one question of a request: `noul`, `choice` or `score`, as its type says."""

    question: str
    type: str
    noul: Optional[float]
    choice: Optional[str]
    score: Optional[float]
    confidence: Optional[float]
    probabilities: Optional[Sequence[OptionProbability]]


def _decisions(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    answers = []
    for name, answer in inference.items():
        options = answer.get("probabilities")
        if options is not None:
            options = [{"option": key, "probability": value} for key, value in options.items()]
        answers.append({**answer, "question": name, "probabilities": options})
    return {"answers": answers}


_TEXT = generated_text("generated_text")
#: The sampling rate of the models that generate speech: their processors do not state it.
_SPOKEN_RATE = 24_000


def _any_columns(parameters: Parameters) -> Columns:
    mode = parameters.get("generation_mode")
    if mode not in ("image", "audio"):
        columns: Columns = _TEXT["columns"](parameters)
        return columns
    kind = Image if mode == "image" else Audio
    return {f"generated_{mode}": Sequence[kind] if asks_for_several(parameters) else kind}  # type: ignore[valid-type]


def _any_values(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    mode = parameters.get("generation_mode")
    if mode not in ("image", "audio"):
        values: Mapping[str, Any] = _TEXT["values"](inference, parameters)
        return values
    name = f"generated_{mode}"
    answers = [answer[name] for answer in inference]
    if mode == "audio":
        answers = [{"array": samples, "sampling_rate": _SPOKEN_RATE} for samples in answers]
    return {name: answers if asks_for_several(parameters) else only(answers)}


def _answers(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    return {"answers": inference}


TASKS = (
    Task(
        name="image-text-to-text",
        transform="ImageTextToText",
        inputs={"text": (str, list), "images": (*IMAGE, list, tuple)},
        optional_inputs=frozenset({"images"}),
        media={"text": "chat", "images": "images"},
        lists="chat",
        parameters={
            "max_new_tokens": None,
            "generate_kwargs": None,
            "timeout": None,
            "return_full_text": None,
            "return_tensors": None,
            "clean_up_tokenization_spaces": None,
            "stop_sequence": None,
            "continue_final_message": None,
            "skip_special_tokens": None,
            "processor_kwargs": None,
        },
        texts={"stop_sequence": texts},
        pipeline=_PIPELINES + "image_text:ImageTextToTextPipeline",
        **generated_text("generated_text"),
    ),
    Task(
        name="any-to-any",
        transform="AnyToAny",
        inputs={
            "text": (str, list),
            "images": (*IMAGE, list, tuple),
            "videos": (*VIDEO, list, tuple),
            "audio": (*AUDIO, tuple),
        },
        optional_inputs=frozenset({"text", "images", "videos", "audio"}),
        media={
            "text": "chat",
            "images": "chat_images",
            "videos": "videos",
            "audio": "chat_audios",
        },
        lists="chat",
        parameters={
            "max_new_tokens": None,
            "generate_kwargs": None,
            "generation_mode": None,
            "timeout": None,
            "return_full_text": None,
            "return_tensors": None,
            "clean_up_tokenization_spaces": None,
            "stop_sequence": None,
            "continue_final_message": None,
            "skip_special_tokens": None,
            "processor_kwargs": None,
        },
        texts={"stop_sequence": texts, "generation_mode": text},
        generates=True,
        answers_in_text=True,
        columns=_any_columns,
        values=_any_values,
        choices={**_TEXT["choices"], "generation_mode": "audio"},
        pipeline=_PIPELINES + "any_to_any:AnyToAnyPipeline",
    ),
    Task(
        name="document-question-answering",
        transform="DocumentQuestionAnswering",
        inputs={"image": IMAGE, "question": (str,), "word_boxes": (list, tuple)},
        optional_inputs=frozenset({"image", "word_boxes"}),
        media={"image": "image"},
        structures={"word_boxes": word_boxes},
        parameters={
            "top_k": 1,
            "doc_stride": None,
            "max_answer_len": 15,
            "max_seq_len": None,
            "handle_impossible_answer": False,
            "padding": "do_not_pad",
            "lang": None,
            "tesseract_config": "",
            "timeout": None,
        },
        texts={"lang": text, "tesseract_config": text},
        generates=True,
        columns=lambda parameters: {"answers": Sequence[DocumentAnswer]},
        values=_answers,
        token_outputs=frozenset({"start_logits", "end_logits"}),
        pipeline=_PIPELINES + "image_text:DocumentQuestionAnsweringPipeline",
    ),
    Task(
        name="visual-question-answering",
        transform="VisualQuestionAnswering",
        aliases=("vqa",),
        inputs={"image": IMAGE, "question": (str,)},
        media={"image": "image"},
        parameters={"top_k": 5, "padding": False, "truncation": False, "timeout": None},
        generates=True,
        columns=lambda parameters: {"answers": Sequence[ImageAnswer]},
        values=_answers,
        outputs=frozenset({"logits", "sequences"}),
        pipeline=_PIPELINES + "image_to_text:VisualQuestionAnsweringPipeline",
        model_classes=("AutoModelForVisualQuestionAnswering",),
        default_model=("dandelin/vilt-b32-finetuned-vqa", "d0a1f6a"),
    ),
    Task(
        name="image-to-text",
        transform="ImageToText",
        inputs={"image": IMAGE},
        media={"image": "image"},
        parameters={
            "max_new_tokens": None,
            "generate_kwargs": None,
            "prompt": None,
            "timeout": None,
        },
        texts={"prompt": text},
        outputs=frozenset({"sequences"}),
        pipeline=_PIPELINES + "image_to_text:ImageToTextPipeline",
        model_classes=("AutoModelForImageTextToText",),
        default_model=("ydshieh/vit-gpt2-coco-en", "5bebf1e"),
        **generated_text("generated_text"),
    ),
    Task(
        name="decision",
        transform="Decision",
        recent=True,
        inputs={"state": (str, dict, list), "questions": (dict, str), "assets": (dict,)},
        optional_inputs=frozenset({"questions", "assets"}),
        media={"assets": "assets"},
        structures={"questions": itself, "assets": itself},
        parameters={"questions": None},
        texts={"questions": questions},
        columns=lambda parameters: {"answers": Sequence[QuestionAnswer]},
        values=_decisions,
        pipeline=_PIPELINES + "decision:DecisionPipeline",
    ),
    Task(
        name="text-to-image",
        transform="TextToImage",
        inputs={"prompt": (str,), "negative_prompt": (str,)},
        optional_inputs=frozenset({"negative_prompt"}),
        # None: the default of the model's own pipeline.
        parameters={
            "seed": 0,
            "num_inference_steps": None,
            "guidance_scale": None,
            "height": None,
            "width": None,
        },
        open_parameters=True,
        columns=lambda parameters: {"image": Image},
        values=lambda inference, parameters: {"image": inference},
        pipeline=_PIPELINES + "text_to_image:TextToImagePipeline",
        default_model=(
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        ),
    ),
)
