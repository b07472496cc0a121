"""The image tasks: what test_answers.py does not ask of them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
import transformers
from apache_beam.transforms.window import GlobalWindows
from cases import CASES as ALL_CASES
from cases import Case
from cases.image import CASES, LABELLED, LABELS, LOOSE, OTHER
from PIL import Image
from support.comparing import equal
from support.pictures import PICTURES

from pipelines_beam import DepthEstimation, ElementError, Forward, Postprocess, Preprocess, pipeline
from transforms.batching.replica import Replica
from transforms.options.sizes import nbytes
from transforms.options.spec import ModelSpec
from transforms.pipelines.factory import weightless
from transforms.rows.files import png
from transforms.stages.preprocess import PreprocessFn
from transforms.tasks import TASKS
from transforms.tasks.image import TASKS as IMAGE_TASKS

Run = Callable[..., list[Any]]


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
# Other tasks: their first case, whatever its columns are.
for _case in ALL_CASES:
    if _case.task in {task.name for task in IMAGE_TASKS}:
        COLUMNS.setdefault(_case.task, (_case.model, dict(_case.parameters), None))


def test_every_image_task_has_columns() -> None:
    assert set(COLUMNS) == {task.name for task in IMAGE_TASKS}


@pytest.mark.parametrize("output", [None, "found"])
@pytest.mark.parametrize("task", COLUMNS)
def test_rows_fit_the_schema(
    task: str, output: str | None, model: Callable[[str], str], run: Run
) -> None:
    """Rows with images in them, as Parquet holds them and `datasets` has them."""
    name, parameters, columns = COLUMNS[task]
    pair = task == "keypoint-matching"
    files = [{"bytes": png(each), "path": None} for each in PICTURES[:3]]
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
    case: Case, model: Callable[[str], str], reference: Callable[[Case], list[Any]], run: Run
) -> None:
    """Features and outputs that were sent from stage to stage give the same answers."""
    of = pipeline(case.task, model(case.model), **case.parameters)
    steps = [beam.Reshuffle(), Forward(of), "Again" >> beam.Reshuffle(), Postprocess(of)]

    found = run(list(case.inputs[:2]), Preprocess(of), *steps)

    expected = reference(case)[:2]
    answers = [result.inference for result in found]
    for answer in expected:
        assert any(equal(answer, other, case.tolerance) for other in answers), answers


def test_features_of_images_never_wait_in_a_list(model: Callable[[str], str]) -> None:
    """They are megabytes each: only the window after the stage may hold several."""
    transform = pipeline("image-classification", model("vit-classification"))
    fn = PreprocessFn(transform.spec, False, transform.plan.binding, None)
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
