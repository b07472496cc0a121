"""The image tasks. Columns carry the names of Hugging Face's inference types; see text.py."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from .columns import Image
from .input_structures import itself, pair
from .parameter_checks import whole
from .task import Columns, Parameters, Task
from .text import LABELS, Label
from .text_checks import labels, template

#: The types of an image input, besides Pillow images; see media/image.py.
IMAGE = (bytes, bytearray, memoryview, str, os.PathLike, Mapping, np.ndarray)

#: Outputs of the model that the processors for object detection read.
_DETECTION_OUTPUTS = {"logits", "pred_boxes", "pred_logits", "presence_logits", "out_masks"} | {
    f"{kind}order_logits" for kind in ("", "relative_", "successor_")
}
#: Outputs of the model that the processors for segmentation read.
_SEGMENTATION_OUTPUTS = {
    "pred_masks",
    "class_queries_logits",
    "masks_queries_logits",
    "patch_offsets",
}


class Box(NamedTuple):
    """A rectangle in pixels of the image, from its upper left corner."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Object(NamedTuple):
    """One object: its label, its probability and its box."""

    label: str
    score: float
    box: Box


class Segment(NamedTuple):
    """One segment: its label, its probability where the model gives one, and its mask.

    The mask has the size of the image: white inside, black outside.
    """

    label: str
    score: Optional[float]
    mask: Image


class Keypoint(NamedTuple):
    """A point in pixels of an image."""

    x: float
    y: float


class Match(NamedTuple):
    """Two points, one in each image, that match."""

    keypoint_image_0: Keypoint
    keypoint_image_1: Keypoint
    score: float


class RunLengths(NamedTuple):
    """A mask in COCO's run-length encoding: by columns, pixels outside and inside in turn."""

    size: Sequence[int]
    counts: Sequence[int]


def _fixed(**columns: Any) -> Callable[[Parameters], Columns]:
    return lambda parameters: columns


def _as_column(name: str) -> Callable[[Any, Parameters], Mapping[str, Any]]:
    """The whole inference as one column."""
    return lambda inference, parameters: {name: inference}


def _on_images(**declared: Any) -> dict[str, Any]:
    """What a task declares whose only input is an image."""
    return {"inputs": {"image": IMAGE}, "media": {"image": "image"}, **declared}


def _on_labelled_images() -> dict[str, Any]:
    """What a task declares whose inputs are an image and, optionally, its own candidate labels."""
    return {
        "inputs": {"image": IMAGE, "candidate_labels": LABELS},
        "optional_inputs": frozenset({"candidate_labels"}),
        "media": {"image": "image"},
        "structures": {"candidate_labels": itself},
        "texts": {"candidate_labels": labels, "hypothesis_template": template},
    }


def _embedding_columns(parameters: Parameters) -> Columns:
    if parameters.get("pool"):
        return {"embedding": Sequence[np.float32]}
    return {"features": Sequence[Sequence[np.float32]]}


def _embedding_values(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    features = np.asarray(inference, np.float32)[0]
    if parameters.get("pool"):
        return {"embedding": features.reshape(-1)}
    if features.ndim == 3:  # a feature map, (channels, height, width)
        features = features.reshape(len(features), -1).T
    return {"features": features}


def _mask_columns(parameters: Parameters) -> Columns:
    columns: Columns = {"masks": Sequence[Image], "scores": Sequence[float]}
    if parameters.get("output_rle_mask"):
        columns["rle_mask"] = Sequence[RunLengths]
    if parameters.get("output_bboxes_mask"):
        columns["bounding_boxes"] = Sequence[Sequence[np.float32]]
    return columns


TASKS = (
    Task(
        name="image-classification",
        transform="ImageClassification",
        **_on_images(),
        parameters={"top_k": 5, "function_to_apply": None, "timeout": None},
        columns=_fixed(predictions=Sequence[Label]),
        values=_as_column("predictions"),
        outputs=frozenset({"logits"}),
    ),
    Task(
        name="image-feature-extraction",
        transform="ImageFeatureExtraction",
        **_on_images(),
        parameters={
            "image_processor_kwargs": None,
            "return_tensors": False,
            "pool": False,
            "timeout": None,
        },
        columns=_embedding_columns,
        values=_embedding_values,
        pipeline="transforms.pipelines.classes.image_features:ImageFeatureExtractionPipeline",
    ),
    Task(
        name="depth-estimation",
        transform="DepthEstimation",
        **_on_images(),
        parameters={"timeout": None, "parameters": None},
        columns=_fixed(depth=Image, predicted_depth=Sequence[Sequence[np.float32]]),
        values=lambda inference, parameters: inference,
        outputs=frozenset({"predicted_depth", "field_of_view", "domain_logits"}),
    ),
    Task(
        name="object-detection",
        transform="ObjectDetection",
        **_on_images(),
        parameters={"threshold": 0.5, "timeout": None},
        columns=_fixed(objects=Sequence[Object]),
        values=_as_column("objects"),
        outputs=frozenset(_DETECTION_OUTPUTS),
    ),
    Task(
        name="image-segmentation",
        transform="ImageSegmentation",
        **_on_images(),
        parameters={
            "subtask": None,
            "threshold": 0.9,
            "mask_threshold": 0.5,
            "overlap_mask_area_threshold": 0.5,
            "timeout": None,
        },
        columns=_fixed(segments=Sequence[Segment]),
        values=_as_column("segments"),
        outputs=frozenset(_DETECTION_OUTPUTS | _SEGMENTATION_OUTPUTS | {"semantic_seg"}),
    ),
    Task(
        name="zero-shot-image-classification",
        transform="ZeroShotImageClassification",
        **_on_labelled_images(),
        parameters={
            "candidate_labels": None,
            "hypothesis_template": "This is a photo of {}.",
            "tokenizer_kwargs": None,
            "timeout": None,
        },
        columns=_fixed(predictions=Sequence[Label]),
        values=_as_column("predictions"),
        pipeline="transforms.pipelines.classes.zero_shot_image:ZeroShotImageClassificationPipeline",
    ),
    Task(
        name="zero-shot-object-detection",
        transform="ZeroShotObjectDetection",
        **_on_labelled_images(),
        parameters={"candidate_labels": None, "threshold": 0.1, "top_k": None, "timeout": None},
        checks={"top_k": whole(0)},  # 0: all
        columns=_fixed(objects=Sequence[Object]),
        values=_as_column("objects"),
        pipeline="transforms.pipelines.classes.zero_shot_image:ZeroShotObjectDetectionPipeline",
        outputs=frozenset(_DETECTION_OUTPUTS),
    ),
    Task(
        name="mask-generation",
        transform="MaskGeneration",
        **_on_images(),
        parameters={
            "points_per_batch": 64,
            "points_per_crop": 32,
            "crops_n_layers": 0,
            "crop_overlap_ratio": 512 / 1500,
            "crop_n_points_downscale_factor": 1,
            "pred_iou_thresh": 0.88,
            "stability_score_thresh": 0.95,
            "stability_score_offset": 1,
            "mask_threshold": 0,
            "max_hole_area": None,
            "max_sprinkle_area": None,
            "crops_nms_thresh": 0.7,
            "output_rle_mask": False,
            "output_bboxes_mask": False,
            "timeout": None,
        },
        choices={"output_rle_mask": True, "output_bboxes_mask": True},
        columns=_mask_columns,
        values=lambda inference, parameters: inference,
        pipeline="transforms.pipelines.classes.mask_generation:MaskGenerationPipeline",
    ),
    Task(
        name="keypoint-matching",
        transform="KeypointMatching",
        inputs={"images": (list, tuple)},
        media={"images": "images"},
        structures={"images": pair},
        parameters={"threshold": 0.0, "timeout": None},
        columns=_fixed(matches=Sequence[Match]),
        values=_as_column("matches"),
    ),
    Task(
        name="image-to-image",
        transform="ImageToImage",
        **_on_images(),
        parameters={"timeout": None},
        columns=_fixed(image=Image),
        values=_as_column("image"),
        pipeline="transforms.pipelines.classes.image_to_image:ImageToImagePipeline",
        model_classes=("AutoModelForImageToImage",),
        default_model=("caidas/swin2SR-classical-sr-x2-64", "cee1c92"),
        outputs=frozenset({"reconstruction"}),
    ),
)

#: No task of a model: what DecodeImages does to a column.
DECODE = Task(
    name="decode-images",
    transform="DecodeImages",
    **_on_images(),
    parameters={},
    columns=_fixed(pixels=Any),
    values=_as_column("pixels"),
)
