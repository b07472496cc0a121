"""The text tasks: what test_answers.py does not ask of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
from cases import BATCHES
from cases.text import TABLES, TEXTS
from support.comparing import same
from support.texts import CORPUS

from pipelines_beam import ElementError, TaskTransform, pipeline
from transforms.batching.replica import Replica
from transforms.options.sizes import nbytes
from transforms.options.spec import ModelSpec
from transforms.pipelines.factory import weightless
from transforms.pipelines.split_call import SplitPipeline

Run = Callable[..., list[Any]]


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
@pytest.mark.parametrize("batch", BATCHES)
def test_pooling_is_that_of_the_tokens_features(
    pooling: str, batch: str, model: Callable[[str], str], run: Run
) -> None:
    pipe = transformers.pipeline("feature-extraction", model("bert-encoder"), device="cpu")
    tokens = {text: torch.tensor(pipe(text))[0] for text in TEXTS}
    pools = {
        "mean": lambda x: x.mean(0),
        "cls": lambda x: x[0],
        "last": lambda x: x[-1],
        "max": lambda x: x.amax(0),
    }
    transform = pipeline(
        "feature-extraction",
        model("bert-encoder"),
        pooling=pooling,
        normalize=True,
        batch_size=BATCHES[batch],
    )

    found = run(TEXTS, transform)

    assert len(found) == len(TEXTS)
    for result in found:
        vector = pools[pooling](tokens[result.example])
        assert same((vector / vector.norm()).tolist(), result.inference)


@pytest.mark.parametrize(
    ("task", "name", "parameters", "text", "kept"),
    [
        ("text-classification", "bert-classification", {}, CORPUS[30], {"logits"}),
        ("fill-mask", "roberta-mlm", {}, f"{CORPUS[30]} <mask>", {"input_ids", "mask_logits"}),
        (
            "zero-shot-classification",
            "bart-nli",
            {"candidate_labels": ["a", "b"]},
            CORPUS[30],
            {"logits", "candidate_label", "sequence", "is_last"},
        ),
    ],
)
def test_only_what_postprocess_reads_leaves_the_model(
    task: str,
    name: str,
    parameters: dict[str, Any],
    text: str,
    kept: set[str],
    model: Callable[[str], str],
) -> None:
    spec = ModelSpec(task=task, source=model(name), device="cpu")
    chunks, _ = SplitPipeline(weightless(spec), parameters).preprocess(text)
    found = Replica(spec).program(parameters).run(chunks)
    assert all(set(each) == kept for each in found)
    assert max(map(nbytes, found)) < 8_000


def test_elements_are_left_as_they_were(model: Callable[[str], str], run: Run) -> None:
    tables = copy.deepcopy(TABLES)
    found = run(tables, pipeline("table-question-answering", model("tapas-qa")))
    assert sorted(map(str, tables)) == sorted(str(result.example) for result in found)


def test_a_transform_is_what_pipeline_returns(model: Callable[[str], str]) -> None:
    assert isinstance(pipeline("ner", model("bert-ner")), TaskTransform)


CITY = {"City": ["Paris", "Rome"], "People": ["2", "3"]}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"City": ["Paris", "Rome"], "People": [2, 3]}, r"column 'People', row 0 is 2 \(int\)"),
        ({"City": ["Paris", None]}, r"column 'City', row 1 is None"),
        ({"City": ["Paris", float("nan")]}, r"column 'City', row 1 is nan \(float\)"),
        ({"City": [True]}, r"column 'City', row 0 is True \(bool\)"),
        ([{"City": "Paris"}, {"People": "2"}], r"column 'People', row 0 is nan"),
        ([["Paris", "2"]], r"the header of column 0 is 0 \(int\)"),
        (
            {"City": ["Paris", "Rome"], "People": ["2"]},
            "equally long, got {'City': 2, 'People': 1}",
        ),
        ({"City": "Paris"}, "the column 'City' must be a list of cells, got 'Paris'"),
        ({}, "table is empty"),
    ],
)
def test_a_table_that_cannot_be_read_says_which_cell_is_to_blame(
    model: Callable[[str], str], run: Run, table: Any, message: str
) -> None:
    transform = pipeline("table-question-answering", model("tapas-qa"), share="process")
    with pytest.raises(ElementError, match=f"preprocess failed.*{message}"):
        run([{"table": table, "query": "How many?"}], transform)


def test_a_table_may_be_a_data_frame(model: Callable[[str], str], run: Run) -> None:
    example = {"table": pd.DataFrame(CITY), "query": "How many?"}
    transform = pipeline("table-question-answering", model("tapas-qa"), share="process")
    stock = transformers.pipeline("table-question-answering", model("tapas-qa"))
    assert same(
        run([example], transform)[0].inference, stock({"table": CITY, "query": "How many?"})
    )
