"""The cases of the image tasks; that of image-to-image is in recorded.py."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import transformers
from packaging.version import Version
from support import comparing
from support.pictures import PICTURES

from cases.case import Case, OwnLabels

LABELS = ["cat", "a dog in the snow", "house"]
OTHER = ["red", "two blue birds", "night", "a boat"]
LABELLED = [
    {"image": image, "candidate_labels": OTHER if i % 3 else LABELS}
    for i, image in enumerate(PICTURES)
]
PAIRS = [list(pair) for pair in itertools.pairwise(PICTURES)]
FEW = {"points_per_crop": 4, "points_per_batch": 6, "pred_iou_thresh": 0.0}
LOOSE = {**FEW, "stability_score_thresh": 0.0, "crops_nms_thresh": 0.95}


@dataclass(frozen=True, eq=False)
class ImageCase(Case):
    """Asked about all pictures, where nothing else is said; images may differ by a grey level."""

    inputs: Sequence[Any] = tuple(PICTURES)

    def same(self, expected: Any, found: Any) -> bool:
        return comparing.equal(expected, found, self.tolerance)

    def tells_apart(self, answers: Sequence[Any]) -> bool:
        alike = [comparing.equal(answers[0], answer, 1e-3) for answer in answers[1:]]
        return not any(alike) and all(map(len, answers))


@dataclass(frozen=True, eq=False)
class LabelledImages(ImageCase, OwnLabels):
    """With labels for each image."""


# Crops of one image have different sizes, which versions before could not stack.
CROPS = [
    ImageCase("mask-generation", "sam", {**LOOSE, "crops_n_layers": 1}, PICTURES[:3], largest=1)
]
if Version(transformers.__version__) < Version("5.23"):
    CROPS.clear()

CASES = [
    ImageCase("image-classification", "vit-classification"),
    ImageCase("image-classification", "vit-classification", {"top_k": 2}),
    ImageCase("image-classification", "resnet-classification"),
    ImageCase("image-classification", "resnet-classification", {"function_to_apply": "softmax"}),
    ImageCase("image-feature-extraction", "vit-encoder"),
    ImageCase("image-feature-extraction", "vit-encoder", {"pool": True}),
    ImageCase("image-feature-extraction", "vit-encoder", {"return_tensors": True}),
    ImageCase("image-feature-extraction", "resnet-encoder"),
    ImageCase("image-feature-extraction", "resnet-encoder", {"pool": True}),
    ImageCase("depth-estimation", "dpt-depth"),
    ImageCase("depth-estimation", "depth-anything"),
    ImageCase("depth-estimation", "glpn-depth"),
    ImageCase("object-detection", "detr-detection", {"threshold": 0.1}),
    ImageCase("object-detection", "yolos-detection", {"threshold": 0.1}),
    ImageCase("image-segmentation", "segformer"),
    ImageCase("image-segmentation", "detr-panoptic", {"threshold": 0.1}),
    ImageCase("image-segmentation", "mask2former", {"threshold": 0.1}),
    ImageCase("image-segmentation", "mask2former", {"subtask": "semantic"}),
    ImageCase("zero-shot-image-classification", "clip", {"candidate_labels": LABELS}),
    LabelledImages("zero-shot-image-classification", "clip", inputs=LABELLED),
    ImageCase("zero-shot-image-classification", "siglip", {"candidate_labels": LABELS}),
    ImageCase("zero-shot-object-detection", "owlvit", {"threshold": 0.001}, LABELLED),
    ImageCase(
        "zero-shot-object-detection",
        "owlv2",
        {"candidate_labels": LABELS, "threshold": 0.001, "top_k": 5},
    ),
    ImageCase("mask-generation", "sam", LOOSE, PICTURES[:4], largest=1),
    ImageCase("mask-generation", "sam-hq", LOOSE, PICTURES[:4], largest=1),
    *CROPS,
    ImageCase("keypoint-matching", "superglue", inputs=PAIRS),
    ImageCase("keypoint-matching", "lightglue", inputs=PAIRS),
]
