"""Promise 1 for the image tasks: the answer is transformers' own, in any batch and any order."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import cases
import numpy as np
import pyarrow as pa
import pytest
import record_images
import torch
import transformers
from apache_beam.ml.inference.base import PredictionResult
from apache_beam.transforms.window import GlobalWindows
from cases import BATCHES, COMPOSED, arranged
from image_models import PICTURES
from packaging.version import Version
from PIL import Image
from test_text import same

from pipelines_beam import DepthEstimation, ElementError, Forward, Postprocess, Preprocess, pipeline
from transforms.batching.replica import Replica
from transforms.media import image
from transforms.media.decoding import decoded
from transforms.options.media_limits import MediaLimits
from transforms.options.sizes import nbytes
from transforms.options.spec import ModelSpec
from transforms.pipelines.factory import weightless
from transforms.pipelines.split_call import SplitPipeline
from transforms.stages.preprocess import PreprocessFn
from transforms.tasks import TASKS
from transforms.tasks.image import TASKS as IMAGE_TASKS

Run = Callable[..., list[Any]]


@dataclass(frozen=True)
class Case(cases.Case):
    """Asked about all pictures, where nothing else is said."""

    inputs: Sequence[Any] = tuple(PICTURES)


LABELS = ["cat", "a dog in the snow", "house"]
OTHER = ["red", "two blue birds", "night", "a boat"]
LABELLED = [
    {"image": image, "candidate_labels": OTHER if i % 3 else LABELS}
    for i, image in enumerate(PICTURES)
]
PAIRS = [list(pair) for pair in itertools.pairwise(PICTURES)]
FEW = {"points_per_crop": 4, "points_per_batch": 6, "pred_iou_thresh": 0.0}
LOOSE = {**FEW, "stability_score_thresh": 0.0, "crops_nms_thresh": 0.95}

# Crops of one image have different sizes, which versions before could not stack.
CROPS = [Case("mask-generation", "sam", {**LOOSE, "crops_n_layers": 1}, PICTURES[:3])]
if Version(transformers.__version__) < Version("5.23"):
    CROPS.clear()

CASES = [
    Case("image-classification", "vit-classification"),
    Case("image-classification", "vit-classification", {"top_k": 2}),
    Case("image-classification", "resnet-classification"),
    Case("image-classification", "resnet-classification", {"function_to_apply": "softmax"}),
    Case("image-feature-extraction", "vit-encoder"),
    Case("image-feature-extraction", "vit-encoder", {"pool": True}),
    Case("image-feature-extraction", "vit-encoder", {"return_tensors": True}),
    Case("image-feature-extraction", "resnet-encoder"),
    Case("image-feature-extraction", "resnet-encoder", {"pool": True}),
    Case("depth-estimation", "dpt-depth"),
    Case("depth-estimation", "depth-anything"),
    Case("depth-estimation", "glpn-depth"),
    Case("object-detection", "detr-detection", {"threshold": 0.1}),
    Case("object-detection", "yolos-detection", {"threshold": 0.1}),
    Case("image-segmentation", "segformer"),
    Case("image-segmentation", "detr-panoptic", {"threshold": 0.1}),
    Case("image-segmentation", "mask2former", {"threshold": 0.1}),
    Case("image-segmentation", "mask2former", {"subtask": "semantic"}),
    Case("zero-shot-image-classification", "clip", {"candidate_labels": LABELS}),
    Case("zero-shot-image-classification", "clip", inputs=LABELLED),
    Case("zero-shot-image-classification", "siglip", {"candidate_labels": LABELS}),
    Case("zero-shot-object-detection", "owlvit", {"threshold": 0.001}, LABELLED),
    Case(
        "zero-shot-object-detection",
        "owlv2",
        {"candidate_labels": LABELS, "threshold": 0.001, "top_k": 5},
    ),
    Case("mask-generation", "sam", LOOSE, PICTURES[:4]),
    Case("mask-generation", "sam-hq", LOOSE, PICTURES[:4]),
    *CROPS,
    Case("keypoint-matching", "superglue", inputs=PAIRS),
    Case("keypoint-matching", "lightglue", inputs=PAIRS),
]


def equal(left: Any, right: Any, tolerance: float = 1e-5) -> bool:
    """As `same`, images within one grey level."""
    if isinstance(left, Image.Image):
        return (
            isinstance(right, Image.Image)
            and left.size == right.size
            and left.mode == right.mode
            and int(np.abs(np.asarray(left, int) - np.asarray(right, int)).max()) <= 1
        )
    if isinstance(left, torch.Tensor | np.ndarray):
        if type(left) is not type(right) or left.shape != right.shape:
            return False
        left, right = np.asarray(left), np.asarray(right)
        # What adds up large numbers to a small one has the noise of the large ones.
        noise = tolerance * max(1.0, float(np.abs(left).max(initial=0.0)))
        return np.allclose(left, right, tolerance, noise)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(
            equal(left[name], right[name], tolerance) for name in left
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(
            equal(a, b, tolerance) for a, b in zip(left, right, strict=True)
        )
    return same(left, right, tolerance)


def _asked(pipe: Any, task: str, example: Any, parameters: Mapping[str, Any]) -> Any:
    """What transformers answers; it takes labels for each image in one of two tasks."""
    if task == "zero-shot-image-classification" and isinstance(example, dict):
        return pipe(example["image"], candidate_labels=example["candidate_labels"], **parameters)
    return pipe(example, **parameters)


@pytest.fixture(scope="module")
def oracle(model: Callable[[str], str]) -> Callable[[Case], list[Any]]:
    """transformers' own answers, one input at a time."""
    known: dict[str, list[Any]] = {}

    def answers(case: Case) -> list[Any]:
        key = f"{case}{case.parameters}"
        if key not in known:
            pipe = transformers.pipeline(case.task, model(case.model), device="cpu")
            known[key] = [_asked(pipe, case.task, x, case.parameters) for x in case.inputs]
        return known[key]

    return answers


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_cases_tell_answers_apart(case: Case, oracle: Callable[[Case], list[Any]]) -> None:
    answers = oracle(case)
    alike = [equal(answers[0], answer, 1e-3) for answer in answers[1:]]
    assert not any(alike), answers
    assert all(len(answer) for answer in answers), answers


@pytest.mark.parametrize(("batch", "order"), COMPOSED)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_answer_is_transformers_own(
    case: Case,
    batch: str,
    order: str,
    model: Callable[[str], str],
    oracle: Callable[[Case], list[Any]],
    run: Run,
) -> None:
    expected = oracle(case)
    transform = pipeline(
        case.task, model(case.model), keyed=True, batch_size=BATCHES[batch], **case.parameters
    )

    found = dict(run(arranged(case.inputs, order), transform))

    assert found.keys() == set(range(len(expected)))
    for i, answer in enumerate(expected):
        assert isinstance(found[i], PredictionResult)
        assert equal(answer, found[i].inference, case.tolerance), (answer, found[i].inference)


@pytest.mark.parametrize(("batch", "order"), COMPOSED)
def test_image_to_image_is_that_of_4_57(
    batch: str, order: str, model: Callable[[str], str], run: Run
) -> None:
    transform = pipeline("image-to-image", model("swin2sr"), keyed=True, batch_size=BATCHES[batch])

    found = dict(run(arranged(PICTURES, order), transform))

    answers = record_images.recorded()
    assert found.keys() == set(range(len(answers)))
    for i, answer in enumerate(answers):
        assert np.asarray(answer).std() > 5
        assert equal(answer.convert("RGB"), found[i].inference)


def test_labels_of_each_image(model: Callable[[str], str], run: Run) -> None:
    """Images with other labels than the call's share the call's batches, not its labels."""
    transform = pipeline(
        "zero-shot-image-classification", model("clip"), candidate_labels=OTHER, batch_size=512
    )
    given = [PICTURES[0], LABELLED[0], {"image": PICTURES[0]}]

    found = run(given, transform)

    labels = sorted(sorted(each["label"] for each in result.inference) for result in found)
    assert labels == sorted([sorted(OTHER), sorted(LABELS), sorted(OTHER)])
    with pytest.raises(ElementError, match="candidate_labels must be given"):
        run([PICTURES[0]], pipeline("zero-shot-image-classification", model("clip")))


def test_a_wide_net_is_cast_for_outputs() -> None:
    """What the installed image processors read of a model's outputs is not dropped beside it."""
    functions = {
        "post_process_object_detection": ("object-detection", "zero-shot-object-detection"),
        "post_process_depth_estimation": ("depth-estimation",),
        "post_process_semantic_segmentation": ("image-segmentation",),
        "post_process_instance_segmentation": ("image-segmentation",),
        "post_process_panoptic_segmentation": ("image-segmentation",),
    }
    folder = Path(transformers.__file__).parent / "models"
    source = "\n".join(file.read_text() for file in folder.glob("*/image_processing_*.py"))
    for function, tasks in functions.items():
        body = rf"    def {function}\b[\s\S]*?(?=\n    def |\nclass |\Z)"
        found = "\n".join(re.findall(body, source))
        read = {a or b for a, b in re.findall(r"outputs\.(\w+)|outputs\[\"(\w+)\"\]", found)}
        assert len(read) >= 2
        for task in tasks:
            assert read <= TASKS[task].outputs, task


COLUMNS: dict[str, tuple[str, dict[str, Any], list[str] | None]] = {
    "image-classification": ("vit-classification", {}, ["predictions"]),
    "image-feature-extraction": ("resnet-encoder", {}, ["features"]),
    "depth-estimation": ("dpt-depth", {}, ["depth", "predicted_depth"]),
    "object-detection": ("detr-detection", {"threshold": 0.1}, ["objects"]),
    "image-segmentation": ("segformer", {}, ["segments"]),
    "zero-shot-image-classification": ("clip", {"candidate_labels": LABELS}, ["predictions"]),
    "zero-shot-object-detection": ("owlv2", {"candidate_labels": LABELS}, ["objects"]),
    "mask-generation": ("sam", {**LOOSE, "output_bboxes_mask": True}, None),
    "keypoint-matching": ("superglue", {}, ["matches"]),
    "image-to-image": ("swin2sr", {}, ["image"]),
}


def test_every_image_task_has_columns() -> None:
    assert set(COLUMNS) == {task.name for task in IMAGE_TASKS}
    assert {case.task for case in CASES} | {"image-to-image"} == set(COLUMNS)


@pytest.mark.parametrize("output", [None, "found"])
@pytest.mark.parametrize("task", COLUMNS)
def test_rows_fit_the_schema(
    task: str, output: str | None, model: Callable[[str], str], run: Run
) -> None:
    """Rows with images in them, as Parquet holds them and `datasets` has them."""
    name, parameters, columns = COLUMNS[task]
    pair = task == "keypoint-matching"
    files = [{"bytes": image.png(each), "path": None} for each in PICTURES[:3]]
    rows = [{"id": i, "input": [each, files[0]] if pair else each} for i, each in enumerate(files)]
    columns_of = {"images": "input"} if pair else "input"
    transform = pipeline(task, model(name), input=columns_of, output=output, **parameters)

    found = run(rows, transform)

    schema = transform.schema()
    table = pa.Table.from_pylist([{k: row[k] for k in schema.names} for row in found], schema)
    assert [output] == schema.names if output else columns in (None, schema.names)
    assert table.num_rows == 3
    for pictures in pictures_of(table.to_pylist()):
        assert Image.open(io.BytesIO(pictures["bytes"])).format == "PNG"
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    assert ('_type": "Image' in json.dumps(features)) == any(pictures_of(table.to_pylist()))


def pictures_of(value: Any) -> list[Any]:
    """The structs of bytes and path in nested rows."""
    if isinstance(value, dict):
        own = [value] if value.keys() == {"bytes", "path"} else []
        return own + [each for item in value.values() for each in pictures_of(item)]
    return [each for item in value for each in pictures_of(item)] if isinstance(value, list) else []


def test_the_inputs_own_metadata_stays() -> None:
    theirs = {"info": {"features": {"photo": {"_type": "Image"}}}}
    given = pa.schema(
        [("photo", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))],
        {"huggingface": json.dumps(theirs), "other": "kept"},
    )
    schema = DepthEstimation("a/model", input="photo").schema(given)
    assert schema.metadata[b"other"] == b"kept"
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"photo": {"_type": "Image"}, "depth": {"_type": "Image"}}


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.model not in ("yolos-detection", "siglip")], ids=str
)
def test_stages_may_be_far_apart(
    case: Case, model: Callable[[str], str], oracle: Callable[[Case], list[Any]], run: Run
) -> None:
    """Features and outputs that were sent from stage to stage give the same answers."""
    of = pipeline(case.task, model(case.model), **case.parameters)
    steps = [beam.Reshuffle(), Forward(of), "Again" >> beam.Reshuffle(), Postprocess(of)]

    found = run(list(case.inputs[:2]), Preprocess(of), *steps)

    expected = oracle(case)[:2]
    answers = [result.inference for result in found]
    for answer in expected:
        assert any(equal(answer, other, case.tolerance) for other in answers), answers


def test_features_of_images_never_wait_in_a_list(model: Callable[[str], str]) -> None:
    """They are megabytes each: only the window after the stage may hold several."""
    transform = pipeline("image-classification", model("vit-classification"))
    fn = PreprocessFn(transform.spec, False, transform._binding, None)
    fn.setup()
    fn.start_bundle()
    for each in PICTURES:
        assert len(list(fn.process(each, GlobalWindows.windowed_value(each)))) == 1
    assert not list(fn.finish_bundle())


def test_only_what_postprocess_reads_leaves_the_model(model: Callable[[str], str]) -> None:
    directory = model("owlvit")
    task, parameters = "zero-shot-object-detection", {"candidate_labels": LABELS}
    replica = Replica(ModelSpec(task=task, source=directory, device="cpu"))
    stock = transformers.pipeline(task, directory, device="cpu")
    given = {"image": PICTURES[0], "candidate_labels": LABELS}
    chunks = list(stock.preprocess(given))

    found = replica.program(parameters).run(chunks)

    assert [set(each) for each in found] == [
        {"logits", "pred_boxes", "target_size", "candidate_label", "is_last"}
    ] * 3
    everything = stock.forward(chunks[0])
    assert nbytes(found[0]) < nbytes(everything) / 10


@pytest.mark.parametrize(("pool", "kept"), [(True, "pooler_output"), (False, "last_hidden_state")])
def test_only_features_asked_for_leave_the_model(
    pool: bool, kept: str, model: Callable[[str], str]
) -> None:
    spec = ModelSpec(task="image-feature-extraction", source=model("vit-encoder"), device="cpu")
    chunk = weightless(spec).preprocess(PICTURES[0])
    (found,) = Replica(spec).program({"pool": pool}).run([chunk])
    assert set(found) == {kept}


def test_an_image_is_processed_once_for_all_labels(model: Callable[[str], str]) -> None:
    spec = ModelSpec(task="zero-shot-object-detection", source=model("owlvit"), device="cpu")
    chunks = list(weightless(spec).preprocess({"image": PICTURES[0], "candidate_labels": LABELS}))
    assert len(chunks) == len(LABELS)
    assert len({id(chunk["pixel_values"]) for chunk in chunks}) == 1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_whatever_may_share_a_batch_does(
    case: Case, model: Callable[[str], str], oracle: Callable[[Case], list[Any]]
) -> None:
    """Batches as large as their keys allow, which timing does not promise inside a pipeline."""
    spec = ModelSpec(task=case.task, source=model(case.model), device="cpu")
    call = SplitPipeline(weightless(spec), case.parameters)
    program = Replica(spec).program(case.parameters)
    ready = [decoded(x, TASKS[case.task], call.pipe, MediaLimits()) for x in case.inputs]
    made = [call.preprocess(example) for example in ready]
    groups: dict[Any, list[tuple[int, int]]] = {}
    for i, (chunks, _) in enumerate(made):
        for j, chunk in enumerate(chunks):
            groups.setdefault(program.batch_slot(chunk).key, []).append((i, j))
    outputs: dict[tuple[int, int], Any] = {}
    for places in groups.values():
        found = program.run([made[i][0][j] for i, j in places])
        outputs.update(zip(places, found, strict=True))

    largest = max(map(len, groups.values()))
    assert largest == 1 if case.task == "mask-generation" else largest >= 3
    assert program._padding.can_batch  # it was not told that its outputs have no rows
    for i, expected in enumerate(oracle(case)):
        chunks, counts = made[i]
        own = [outputs[i, j] for j in range(len(chunks))]
        answer = call.postprocess(ready[i], own, counts)
        assert equal(expected, answer, case.tolerance), (expected, answer)
