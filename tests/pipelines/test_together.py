"""What is done to many texts at once is, to the bit, what is done to each alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.texts import CORPUS
from transformers import BatchEncoding
from transformers.pipelines import text_classification

from transforms.engine.blocks import Outputs, Row, unpacked
from transforms.options.spec import ModelSpec
from transforms.pipelines import together
from transforms.pipelines.factory import weightless
from transforms.pipelines.split_call import SplitPipeline

Model = Callable[[str], str]


def split(model: str, task: str, **parameters: Any) -> SplitPipeline:
    return SplitPipeline(weightless(ModelSpec(task=task, source=model, device="cpu")), parameters)


@pytest.mark.parametrize("labels", [1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 128, 129, 1000])
@pytest.mark.parametrize("function", ["softmax", "sigmoid"])
def test_scores_of_many_rows_are_those_of_each(labels: int, function: str) -> None:
    compute = getattr(text_classification, function)
    for seed in range(5):
        rows = np.random.default_rng(seed).normal(0, 8, (257, labels)).astype(np.float32)
        alone = np.stack([compute(row) for row in rows])
        assert (compute(rows).view(np.int32) == alone.view(np.int32)).all()


@pytest.mark.parametrize(
    "parameters",
    [
        *({}, {"top_k": 2}, {"top_k": None}, {"top_k": 1}),
        *({"function_to_apply": each} for each in ("sigmoid", "softmax", "none")),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_answered_together_as_alone(
    parameters: dict[str, Any], dtype: torch.dtype, model: Model
) -> None:
    pipe = split(model("bert-classification"), "text-classification", **parameters)
    torch.manual_seed(3)
    outputs = [{"logits": torch.randn(1, 3).mul(9).to(dtype)} for _ in range(100)]
    outputs += [{"logits": torch.zeros(1, 3, dtype=dtype)}, {"logits": torch.full((1, 3), 50.0)}]
    alone = [pipe.postprocess("a text", [output], [1]) for output in outputs]
    assert pipe.answers_together
    assert pipe.postprocess_texts(outputs) == alone


def test_rows_of_batches_are_answered_together_in_their_order(model: Model) -> None:
    pipe = split(model("bert-classification"), "text-classification")
    torch.manual_seed(3)
    batches = [Outputs(dict, {"logits": torch.randn(rows, 3)}, rows) for rows in (7, 1, 30)]
    outputs: list[Any] = [row for batch in batches for row in batch]
    outputs.append({"logits": torch.randn(1, 3)})
    random.Random(3).shuffle(outputs)
    alone = [pipe.postprocess("a text", [unpacked(output)], [1]) for output in outputs]
    assert pipe.postprocess_texts(outputs) == alone

    other = Outputs(dict, {"logits": torch.randn(2, 4)}, 2)
    assert pipe.postprocess_texts([*outputs, *other]) is None
    listed = Outputs(dict, {"logits": [torch.randn(1, 3)]}, 1)
    assert pipe.postprocess_texts([*outputs, *listed]) is None


def test_logits_of_several_shapes_are_answered_alone(model: Model) -> None:
    pipe = split(model("bert-classification"), "text-classification")
    pipe.postprocess("a text", [{"logits": torch.zeros(1, 3)}], [1])
    for shape in ((2, 3), (1, 2), (3,)):
        outputs = [{"logits": torch.zeros(1, 3)}, {"logits": torch.zeros(shape)}]
        assert pipe.postprocess_texts(outputs) is None


def test_other_pipelines_are_asked_for_each(model: Model) -> None:
    pipe = split(model("bert-ner"), "token-classification")
    assert not pipe.answers_together
    assert together.together(pipe.pipe, {}) is None
    classifier = split(model("bert-classification"), "text-classification")
    assert together.together(classifier.pipe, {"unknown": 1}) is None


@pytest.mark.parametrize(
    ("name", "task", "parameters"),
    [
        ("bert-classification", "text-classification", {"truncation": True, "max_length": 8}),
        ("roberta-classification", "text-classification", {}),
        ("bert-encoder", "feature-extraction", {}),
        ("bert-encoder", "feature-extraction", {"pooling": "mean"}),
    ],
)
def test_texts_of_a_block_have_the_features_of_each(
    name: str, task: str, parameters: dict[str, Any], model: Model
) -> None:
    texts = [*CORPUS, "", CORPUS[0], "ß ∂ 漢字"]
    alone = [split(model(name), task, **parameters).preprocess(text)[0][0] for text in texts]
    pipe = split(model(name), task, **parameters)
    pipe.preprocess(texts[0])
    pipe.prefetch(texts)
    assert pipe._prefetch._features  # preprocess need not be called for these

    for text, expected in zip(texts, alone, strict=True):
        (found,), counts = pipe.preprocess(text)
        assert counts == [1]
        assert type(found) is BatchEncoding
        assert vars(found).keys() == vars(BatchEncoding({})).keys()
        assert found.keys() == expected.keys()
        for column, tensor in found.items():
            assert tensor.dtype == expected[column].dtype
            assert torch.equal(tensor, expected[column])


def test_rows_of_texts_are_their_features(model: Model) -> None:
    texts = [*CORPUS, "", "ß ∂ 漢字"]
    pipe, other = (split(model("bert-classification"), "text-classification") for _ in range(2))
    for each, as_rows in ((pipe, True), (other, False)):
        each.preprocess(texts[0])
        each.prefetch(texts, as_rows=as_rows)
    for text in texts:
        (row,), (expected,) = pipe.preprocess(text)[0], other.preprocess(text)[0]
        assert type(row) is Row
        found = row.features()
        assert type(found) is BatchEncoding
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_text_that_comes_twice_has_features_of_its_own(model: Model) -> None:
    pipe = split(model("bert-classification"), "text-classification")
    pipe.preprocess("a text")
    pipe.prefetch(["one", "two", "one"])
    first, second = (pipe.preprocess("one")[0][0]["input_ids"] for _ in range(2))
    first.zero_()
    assert second.any()


def test_what_preprocess_changes_is_not_passed_by(model: Model) -> None:
    """A tokenizer that gives no attention_mask: the features have one in its place."""
    pipe = split(
        model("bert-encoder"),
        "feature-extraction",
        pooling="mean",
        tokenize_kwargs={"return_attention_mask": False},
    )
    pipe.preprocess("a text")
    pipe.prefetch(["one", "two"])
    assert not pipe._prefetch._features
    assert "token_mask" in pipe.preprocess("one")[0][0]
