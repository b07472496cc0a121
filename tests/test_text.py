"""Promise 1 for the text tasks: the answer is transformers' own, in any batch and any order."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cases
import pandas as pd
import pytest
import torch
import transformers
from apache_beam.ml.inference.base import PredictionResult
from cases import BATCHES, COMPOSED, arranged
from cases.text import CHATS, TABLES
from support.comparing import same
from support.texts import CORPUS

from pipelines_beam import ElementError, TaskTransform, pipeline
from transforms.batching.replica import Replica
from transforms.options.sizes import nbytes
from transforms.options.spec import ModelSpec
from transforms.pipelines.factory import weightless
from transforms.pipelines.split_call import SplitPipeline
from transforms.tasks.text import TASKS as TEXT_TASKS

Run = Callable[..., list[Any]]
TEXTS = [*CORPUS[::3], "", CORPUS[0]]
LONG = " ".join(CORPUS)


SCORED = {"return_dict_in_generate": True, "output_scores": True}
GREEDY = {"do_sample": False, "max_new_tokens": 8}


@dataclass(frozen=True)
class Case(cases.Case):
    """Asked about all texts, where nothing else is said."""

    inputs: Sequence[Any] = tuple(TEXTS)


def _masked(mask: str) -> tuple[str, ...]:
    return (*tuple(f"{text} {mask}." for text in CORPUS[::4]), f"{mask} and {mask}")


CASES = [
    Case("text-classification", "bert-classification"),
    Case("text-classification", "bert-classification", {"top_k": None}),
    Case("sentiment-analysis", "distilbert-classification", {"top_k": 1}),
    Case("text-classification", "bert-classification", {"truncation": True}, (*TEXTS, LONG)),
    Case("text-classification", "bert-classification", {"padding": "max_length"}),
    Case(
        "text-classification",
        "bert-classification",
        inputs=tuple(
            {"text": a, "text_pair": b} for a, b in zip(CORPUS[:6], CORPUS[6:12], strict=True)
        ),
    ),
    Case("text-classification", "roberta-classification", {"top_k": None}),
    Case("text-classification", "roberta-classification", {"function_to_apply": "none"}),
    Case("text-classification", "bert-regression"),
    Case("text-classification", "gpt2-classification", inputs=tuple(TEXTS[:-2])),
    Case("ner", "bert-ner"),
    Case("token-classification", "bert-ner", {"aggregation_strategy": "simple"}),
    Case("token-classification", "roberta-ner", {"aggregation_strategy": "average"}),
    Case(
        "token-classification",
        "bert-ner",
        {"aggregation_strategy": "first", "stride": 8},
        (*TEXTS, LONG),
    ),
    Case(
        "token-classification",
        "roberta-ner",
        {"is_split_into_words": True, "ignore_labels": []},
        tuple(text.split() for text in CORPUS[:9]),
    ),
    Case("fill-mask", "bert-mlm", inputs=_masked("[MASK]")),
    Case("fill-mask", "roberta-mlm", {"top_k": 2}, _masked("<mask>")),
    Case(
        "fill-mask",
        "bert-mlm",
        {"targets": ["the", "paris", "city"]},
        (*_masked("[MASK]"), "[MASK] [MASK] met [MASK]"),
    ),
    Case("text-generation", "gpt2-lm", GREEDY, tuple(TEXTS[:-2])),
    Case("text-generation", "llama-lm", GREEDY, tuple(TEXTS[:-2])),
    Case("text-generation", "llama-lm", {**GREEDY, "return_full_text": False}, tuple(TEXTS[:-2])),
    Case("text-generation", "llama-lm", {**GREEDY, "return_tensors": True}, tuple(TEXTS[:-2])),
    Case("text-generation", "gpt2-lm", {**GREEDY, "repetition_penalty": 1.5}, tuple(TEXTS[:-2])),
    Case("text-generation", "llama-lm", {"do_sample": False, "max_length": 60}, tuple(CORPUS[:8])),
    Case(
        "text-generation",
        "llama-lm",
        {**GREEDY, "num_beams": 2, "num_return_sequences": 2},
        tuple(CORPUS[:6]),
    ),
    Case("text-generation", "llama-lm", {**GREEDY, "stop_sequence": "e"}, tuple(CORPUS[:8])),
    Case(
        "text-generation",
        "llama-lm",
        {**GREEDY, **SCORED, "stop_sequence": "e"},
        tuple(CORPUS[:8]),
    ),
    Case("text-generation", "llama-lm", GREEDY, tuple(CHATS)),
    Case("feature-extraction", "bert-encoder"),
    Case("feature-extraction", "distilbert-encoder", {"truncation": True}),
    Case("feature-extraction", "gpt2-encoder", inputs=tuple(TEXTS[:-2])),
    Case("feature-extraction", "bart-encoder"),
    Case(
        "zero-shot-classification",
        "bert-nli",
        {"candidate_labels": ["sport", "home"]},
        tuple(CORPUS[::4]),
    ),
    Case(
        "zero-shot-classification",
        "bart-nli",
        {
            "candidate_labels": "one, two words, a rather longer label",
            "hypothesis_template": "It is about {}.",
            "multi_label": True,
        },
        tuple(CORPUS[::4]),
    ),
    Case("table-question-answering", "tapas-qa", inputs=tuple(TABLES)),
    Case("table-question-answering", "tapas-qa-plain", inputs=tuple(TABLES)),
    Case("table-question-answering", "tapex-qa", inputs=tuple(TABLES)),
]


def _copied(example: Any) -> Any:
    return dict(example) if isinstance(example, dict) else example


@pytest.fixture(scope="module")
def oracle(model: Callable[[str], str]) -> Callable[[Case], list[Any]]:
    """transformers' own answers, one input at a time."""
    known: dict[str, list[Any]] = {}

    def answers(case: Case) -> list[Any]:
        key = f"{case}{case.parameters}{case.inputs}"
        if key not in known:
            pipe = transformers.pipeline(case.task, model(case.model), device="cpu")
            known[key] = [pipe(_copied(x), **case.parameters) for x in case.inputs]
        return known[key]

    return answers


# transformers says so of byte-level tokenizers, to us as to the oracle.
@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
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
        assert found[i].example == case.inputs[i]
        assert same(answer, found[i].inference, case.tolerance), (answer, found[i].inference)


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


def test_every_text_task_of_transformers_has_a_case() -> None:
    """Or is left to another table, for a reason."""
    revived = {"question-answering", "summarization", "translation", "text2text-generation"}
    aliases = {"sentiment-analysis": "text-classification", "ner": "token-classification"}
    tested = {aliases.get(case.task, case.task) for case in CASES}
    assert tested | revived == {task.name for task in TEXT_TASKS}


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
