"""The public names: a transform class for every task, `pipeline`, which creates them, and more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .pipelines.custom import is_custom
from .pipelines.errors import ModelLoadError
from .stages.custom_pipeline import CustomPipeline
from .stages.decode_images import DecodeImages
from .stages.failure_rows import ElementError
from .stages.file_systems import SCHEMES as _SCHEMES  # noqa: F401 - Beam finds them
from .stages.record import Record
from .stages.task_transform import TaskTransform
from .stages.transforms import Forward, Postprocess, Preprocess
from .tasks import find

if TYPE_CHECKING:
    from .stages.run_inference import TaskModelHandler


class AudioClassification(TaskTransform):
    """Labels for sounds: files as bytes, paths or URIs, or samples.

    Column: predictions, a list of label and score; best first.
    """

    task = "audio-classification"


class AutomaticSpeechRecognition(TaskTransform):
    """Transcriptions of speech: files as bytes, paths or URIs, or samples.

    Columns: text; with `return_timestamps`, chunks: a list of text and timestamp. With
    `chunk_length_s`, long recordings are computed in pieces, with one prediction for the whole.
    """

    task = "automatic-speech-recognition"


class ZeroShotAudioClassification(TaskTransform):
    """Scores of `candidate_labels` for sounds, with a model that was not trained on the labels.

    Labels in one text are those between its commas, as for texts; transformers' pipeline, which
    asks for a list, would take each character for a label.

    Column: predictions, a list of label and score; best first.
    """

    task = "zero-shot-audio-classification"


class TextToAudio(TaskTransform):
    """Speech, music or sounds from texts.

    Columns: audio, a WAV file; sampling_rate.
    """

    task = "text-to-audio"


class ImageTextToText(TaskTransform):
    """Answers to chats with images, or to texts with images ({"text": …, "images": […]}).

    A chat is a list of {"role", "content"}; its content may hold {"type": "image", "url": …}, with
    any form of image in place of the URL. Column: generated_text; for a chat, the model's reply.
    """

    task = "image-text-to-text"


class AnyToAny(TaskTransform):
    """Answers to chats or texts with images, videos and audio; as text, image or audio.

    An input is a chat, a text, or {"text": …, "images": …, "videos": …, "audio": …}, where each of
    the last three is one item or a list. A chat is a list of {"role", "content"}; its content may
    hold {"type": "image", "video" or "audio", "url": …}, with any form of the medium in place of
    the URL. Column: generated_text; for a chat, the model's reply. With `generation_mode="image"`
    or "audio", which few models support: generated_image, generated_audio (at 24 kHz).
    """

    task = "any-to-any"


class DocumentQuestionAnswering(TaskTransform):
    """Answers to a question about a page ({"image": …, "question": …, "word_boxes": […]}).

    `word_boxes` are pairs of a word and its box (x0, y0, x1, y1) in thousandths of the page; for
    models that need them, they are read from the page by tesseract if missing. Column: answers.
    """

    task = "document-question-answering"


class VisualQuestionAnswering(TaskTransform):
    """Answers to a question about an image ({"image": …, "question": …}). Column: answers."""

    task = "visual-question-answering"


class ImageToText(TaskTransform):
    """Descriptions of images. Column: generated_text."""

    task = "image-to-text"


class TextToImage(TaskTransform):
    """Images from texts, by diffusers ({"prompt": …, "negative_prompt": …}).

    Needs `pip install 'pipelines-beam[diffusers]'`. Parameters are those of the call of the
    model's diffusers pipeline. The same prompt gives the same image in any batch and on any
    worker: its noise depends only on the prompt and `seed`. Column: image.
    """

    task = "text-to-image"


class TextClassification(TaskTransform):
    """Labels for texts, or for pairs of texts ({"text": …, "text_pair": …}).

    Columns: label, score; with `top_k`, predictions: a list of both.
    """

    task = "text-classification"


class TokenClassification(TaskTransform):
    """Labels for the tokens of texts, or with `aggregation_strategy` the entities in them.

    Column: entities.
    """

    task = "token-classification"


class FillMask(TaskTransform):
    """Predictions of a masked language model for the mask tokens of texts.

    Column: predictions.
    """

    task = "fill-mask"


class TextGeneration(TaskTransform):
    """Continuations of prompts, or answers to chats (lists of {"role", "content"}).

    Column: generated_text; for a chat, the model's last reply.
    """

    task = "text-generation"


class FeatureExtraction(TaskTransform):
    """Hidden states of texts; with `pooling` ("mean", "cls", "last", "max"), one vector each.

    Column: features, a list per token; with `pooling`, embedding. `normalize=True` gives the
    vectors length 1.
    """

    task = "feature-extraction"


class ZeroShotClassification(TaskTransform):
    """Scores of `candidate_labels` for texts, with a model that was not trained on the labels.

    Columns: labels, scores; best first.
    """

    task = "zero-shot-classification"


class TableQuestionAnswering(TaskTransform):
    """Answers to a question ("query") from the cells of a table ({"table": …, "query": …}).

    Columns: answer, coordinates, cells, aggregator.
    """

    task = "table-question-answering"


class QuestionAnswering(TaskTransform):
    """Spans of a context that answer a question ({"question": …, "context": …}).

    Columns: score, start, end, answer; with `top_k` above 1, answers: a list of them.
    """

    task = "question-answering"


class Summarization(TaskTransform):
    """Summaries of texts. Column: summary_text."""

    task = "summarization"


class Translation(TaskTransform):
    """Translations of texts. Column: translation_text.

    Languages are chosen by `src_lang` and `tgt_lang`, or by `task="translation_en_to_fr"` for
    models that have such names in their configuration.
    """

    task = "translation"


class Text2TextGeneration(TaskTransform):
    """Texts generated from texts by an encoder-decoder model. Column: generated_text."""

    task = "text2text-generation"


class ImageClassification(TaskTransform):
    """Labels for images: files as bytes, paths or URIs, Pillow images or arrays.

    Column: predictions, a list of label and score; best first.
    """

    task = "image-classification"


class ImageFeatureExtraction(TaskTransform):
    """Hidden states of images; with `pool=True`, one vector each.

    Column: features, a list per patch; with `pool`, embedding.
    """

    task = "image-feature-extraction"


class DepthEstimation(TaskTransform):
    """The depth of each pixel of images.

    Columns: depth, an image with grey levels from the lowest to the highest value;
    predicted_depth, the model's values in rows.
    """

    task = "depth-estimation"


class ObjectDetection(TaskTransform):
    """Objects in images. Column: objects, a list of label, score and box."""

    task = "object-detection"


class ImageSegmentation(TaskTransform):
    """Segments of images. Column: segments, a list of label, score and mask (an image)."""

    task = "image-segmentation"


class ZeroShotImageClassification(TaskTransform):
    """Scores of `candidate_labels` for images, with a model that was not trained on the labels.

    Labels may also come with each image ({"image": …, "candidate_labels": [...]}). Labels in one
    text are those between its commas, as for texts; transformers' pipeline, which asks for a list,
    would take each character for a label.
    Column: predictions, a list of label and score; best first.
    """

    task = "zero-shot-image-classification"


class ZeroShotObjectDetection(TaskTransform):
    """Objects of `candidate_labels` in images, with a model that was not trained on the labels.

    Labels may also come with each image ({"image": …, "candidate_labels": [...]}).
    Column: objects, a list of label, score and box; best first.
    """

    task = "zero-shot-object-detection"


class MaskGeneration(TaskTransform):
    """Masks of all objects in images, without labels.

    Columns: masks (images), scores; with `output_rle_mask`, rle_mask, a list of size and counts;
    with `output_bboxes_mask`, bounding_boxes.
    """

    task = "mask-generation"


class KeypointMatching(TaskTransform):
    """Matching points in the two images of a pair.

    Column: matches, a list of keypoint_image_0, keypoint_image_1 and score; best first.
    """

    task = "keypoint-matching"


class ImageToImage(TaskTransform):
    """Images from images, such as larger or denoised ones. Column: image."""

    task = "image-to-image"


class VideoClassification(TaskTransform):
    """Labels for videos: files as bytes, paths or URIs, or arrays of frames.

    Column: predictions, a list of label and score; best first.
    """

    task = "video-classification"


class Decision(TaskTransform):
    """Answers with a probability for every option, from one forward pass for each question.

    An input is a request, {"state": …, "questions": {name: {"type": "choice", "score" or "noul",
    "instructions": …, "criteria": …}}}, with the images that it names in "assets"; or its JSON.
    With the parameter `questions`, an input is a state. Column: answers.
    """

    task = "decision"


def __getattr__(name: str) -> Any:
    if name == "TaskModelHandler":  # the module that has its base class imports torch
        from .stages import run_inference

        return run_inference.TaskModelHandler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_CLASSES: dict[str, type[TaskTransform]] = {
    cls.task: cls for cls in TaskTransform.__subclasses__() if cls is not CustomPipeline
}


def pipeline(
    task: str,
    model: str | None = None,
    *,
    pipeline_class: type[Any] | str | None = None,
    **options: Any,
) -> TaskTransform:
    """The transform of a task, by its name in `transformers.pipeline`.

    ```python
    p | beam.Create(["I love this"]) | pipeline("sentiment-analysis", device="cpu")
    ```

    `pipeline_class`, a subclass of transformers.Pipeline, runs in place of the task's own class; so
    does a class for the task in the model's repository, with `trust_remote_code=True`: see
    CustomPipeline. The other options are those of TaskTransform and the task's own parameters.
    Raises the errors of TaskTransform, and ValueError for a task that does not exist.
    """
    if is_custom(task, model, pipeline_class, options):
        return CustomPipeline(model, task=task, pipeline_class=pipeline_class, **options)
    return _CLASSES[find(task).name](model, task=task, **options)


if not TYPE_CHECKING:  # a type checker reads the names above
    __all__ = ["pipeline"]
    __all__ += [cls.__name__ for cls in _CLASSES.values()]
    __all__ += [
        "CustomPipeline",
        "DecodeImages",
        "ElementError",
        "Forward",
        "ModelLoadError",
        "Postprocess",
        "Preprocess",
        "Record",
        "TaskModelHandler",
        "TaskTransform",
    ]
