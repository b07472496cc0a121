"""A task's weightless pipeline between elements and Records: with the model, transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import transformers
from support.comparing import same
from support.files import png
from support.pictures import PICTURES
from support.texts import CORPUS

from transforms.batching.replica import Replica
from transforms.options.spec import ModelSpec, Spec
from transforms.pipelines.construction_lock import computing
from transforms.stages.record import Record
from transforms.stages.record_pipeline import RecordPipeline
from transforms.tasks import find

Model = Callable[[str], str]


def pipeline(task: str, directory: str, **parameters: Any) -> tuple[RecordPipeline, Spec]:
    spec = Spec(model=ModelSpec(task=task, source=directory), parameters=parameters)
    return RecordPipeline(spec, find(task)), spec


def inference(made: RecordPipeline, spec: Spec, record: Record) -> Any:
    """What the pipeline makes of the model's outputs for a Record."""
    program = Replica(spec.model).program(spec.parameters)
    record.chunks = [program.run([chunk])[0] for chunk in record.chunks]
    return made.inference(record)


def test_texts(model: Model) -> None:
    directory = model("bert-classification")
    made, spec = pipeline("text-classification", directory, top_k=2)
    oracle = transformers.pipeline("text-classification", directory, device="cpu")
    with computing:
        made.prefetch([*CORPUS[:3], {"text": CORPUS[3]}])
        records = [made.record(("key", text), text, text) for text in CORPUS[:3]]
    for text, record in zip(CORPUS, records, strict=False):
        assert record.element == ("key", text)
        assert record.example == text
        assert record.counts == [1]
        assert same(inference(made, spec, record), oracle(text, top_k=2))


def test_texts_that_repeat_are_tokenized_ahead_like_others(model: Model) -> None:
    """A text that comes twice in one call does not keep later texts from being prepared."""
    made, _ = pipeline("text-classification", model("bert-classification"))
    asked = 0
    tokenizer = made._split.pipe.tokenizer
    encode = tokenizer._encode_plus

    def counted(*args: Any, **keywords: Any) -> Any:
        nonlocal asked
        asked += 1
        return encode(*args, **keywords)

    tokenizer._encode_plus = counted
    with computing:
        made.record("first", "first", "first")
        for texts in (["a", "b", "a", "b"], ["a", "c", "d", "e"], ["f", "g", "g", "h"]):
            made.prefetch(texts)
            records = [made.record(text, text, text) for text in texts]
            made.prefetch(["x", "y"])
            alone = [made.record(text, text, text) for text in texts]
            for record, other in zip(records, alone, strict=True):
                assert same(dict(record.chunks[0]), dict(other.chunks[0]))
            assert made._split._prefetch._passes_on  # type: ignore[attr-defined]
    assert asked == 1 + 3 * (1 + 1 + 4)


def test_labels_are_chunks_of_one_record(model: Model) -> None:
    labels = {"candidate_labels": ["sport", "home", "war"]}
    made, spec = pipeline("zero-shot-classification", model("bert-nli"), **labels)
    oracle = transformers.pipeline("zero-shot-classification", model("bert-nli"), device="cpu")
    with computing:
        record = made.record(CORPUS[0], CORPUS[0], CORPUS[0])
    assert (len(record.chunks), record.counts) == (3, [3])
    assert same(inference(made, spec, record), oracle(CORPUS[0], **labels))


def test_media_are_decoded_and_leave_a_small_stand_in(model: Model) -> None:
    directory = model("vit-classification")
    made, spec = pipeline("image-classification", directory)
    oracle = transformers.pipeline("image-classification", directory, device="cpu")
    file = png(PICTURES[0])
    fetched: Future[bytes] = Future()
    fetched.set_result(file)
    for example in (file, fetched):
        decoded_example = made.decode(example)
        assert decoded_example.tobytes() == PICTURES[0].tobytes()
        with computing:
            record = made.record(file, file, decoded_example)
        assert record.element == file
        assert record.example.size == (1, 1)
        assert same(inference(made, spec, record), oracle(PICTURES[0]))
