"""Texts, tables and sounds of lengths that a model refuses: a row that says so.

What transformers answers is answered.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from types import SimpleNamespace as Some
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from support.comparing import same
from support.runs import answers_and_failures

from pipelines_beam import pipeline
from transforms.batching import lengths
from transforms.batching.lengths import CheckedIndices
from transforms.batching.replica import Replica
from transforms.options.spec import ModelSpec
from transforms.pipelines.requests import KEY, Request

Model = Callable[[str], str]

SLOW = pytest.mark.slow
#: Task, model, tokens that it takes, parameters, and what is said of a text with more.
CASES: list[Any] = [
    ("text-classification", "bert-classification", 64, {}, "truncation=True cuts it"),
    ("text-classification", "roberta-classification", 128, {}, "truncation=True cuts it"),
    pytest.param(
        "text-classification", "distilbert-classification", 64, {}, "truncation=True", marks=SLOW
    ),
    ("fill-mask", "bert-mlm", 64, {}, 'tokenizer_kwargs={"truncation": True} cuts it'),
    pytest.param(
        "feature-extraction",
        "gpt2-encoder",
        128,
        {"pooling": "mean"},
        "truncation=True",
        marks=SLOW,
    ),
    ("text2text-generation", "bart-seq2seq", 128, {"max_new_tokens": 4}, "truncation=True"),
    pytest.param(
        "translation", "marian-seq2seq", 128, {"max_new_tokens": 4}, "truncation=True", marks=SLOW
    ),
    ("text-generation", "gpt2-lm", 128, {"max_new_tokens": 1, "do_sample": False}, "truncation"),
]


def text_of(tokenizer: Any, count: int, end: str = "") -> str:
    """A text of so many tokens, special ones included."""
    text, words = end, 0
    while len(tokenizer(text)["input_ids"]) < count:
        words += 1
        text = " ".join(["a"] * words) + end
    assert len(tokenizer(text)["input_ids"]) == count
    return text


@pytest.mark.parametrize(("task", "name", "most", "parameters", "advice"), CASES)
def test_a_text_that_is_too_long_says_so(
    model: Model, task: str, name: str, most: int, parameters: dict[str, Any], advice: str
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model(name))
    end = " [MASK]" if task == "fill-mask" else ""
    fits, short = text_of(tokenizer, most, end), text_of(tokenizer, 9, end)
    long = text_of(tokenizer, most + 1, end)
    transform = pipeline(task, model(name), share="process", **parameters)
    found, failed = answers_and_failures([short, long, fits], transform)
    assert [(row.element, row.stage, row.error) for row in failed] == [
        (long, "forward", "TooLongError")
    ]
    assert f"has {most + 1} tokens, and the model takes {most} at most: " in failed[0].message
    assert advice in failed[0].message
    assert "IndexError" in failed[0].traceback or "RuntimeError" in failed[0].traceback
    assert {each.example for each in found} == {short, fits}


@pytest.mark.parametrize(
    ("task", "name", "parameters"),
    [
        ("text-generation", "llama-lm", {"max_new_tokens": 3, "do_sample": False}),
        pytest.param(
            "text2text-generation",
            "t5-seq2seq",
            {"max_new_tokens": 3, "num_beams": 1},
            marks=SLOW,
        ),
    ],
)
def test_a_model_without_a_table_answers_any_length(
    model: Model, task: str, name: str, parameters: dict[str, Any]
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model(name))
    long = " ".join(["a"] * 700)
    assert len(tokenizer(long)["input_ids"]) > 600
    found, failed = answers_and_failures(
        [long, "a b"], pipeline(task, model(name), share="process", **parameters)
    )
    assert not failed
    if task == "text-generation":
        stock = transformers.pipeline(task, model(name))
        assert all(same(each.inference, stock(each.example, **parameters)) for each in found)


def test_an_answer_that_grows_too_long_says_so(model: Model) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(model("gpt2-lm"))
    prompt = text_of(tokenizer, 120)
    parameters: dict[str, Any] = {"do_sample": False, "max_new_tokens": 20, "min_new_tokens": 20}
    found, failed = answers_and_failures(
        [prompt, "a"], pipeline("text-generation", model("gpt2-lm"), share="process", **parameters)
    )
    assert [each.example for each in found] == ["a"]
    assert failed[0].message == (
        "the input of 120 and its answer may have 140 tokens, and the model takes 128 at most: "
        "max_new_tokens says how many are generated"
    )


def test_so_does_one_with_a_limit_of_its_own(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an accelerator, too: there the process would end."""
    spec = ModelSpec(task="text-generation", source=model("gpt2-lm"), device="cpu")
    for is_accelerated in (False, True):
        monkeypatch.setattr(
            "transforms.batching.program.is_accelerated", lambda pipe, found=is_accelerated: found
        )
        program = Replica(spec).program(
            {"do_sample": False, "max_new_tokens": 2, "eos_token_id": None}
        )
        chunk = program._pipe.preprocess(text_of(program._pipe.tokenizer, 120))
        assert type(program._lengths.guard(chunk)) is contextlib.nullcontext
        own = Request(parameters={"max_new_tokens": 20})
        guard = program._lengths.guard(chunk, [own])
        assert isinstance(guard, lengths.CheckedIndices) is is_accelerated
        chunk[KEY] = own
        with pytest.raises(lengths.TooLongError, match="its answer may have 140 tokens"):
            program.run([chunk])


def test_advice_that_is_followed_cuts_the_text(model: Model) -> None:
    transform = pipeline("text-classification", model("bert-classification"), truncation=True)
    found, failed = answers_and_failures(["a " * 100], transform)
    assert not failed
    stock = transformers.pipeline("text-classification", model("bert-classification"))
    assert same(found[0].inference, stock("a " * 100, truncation=True))


@pytest.mark.parametrize(
    ("task", "name", "most"),
    [
        ("text-classification", "roberta-classification", 128),
        ("text2text-generation", "bart-seq2seq", 128),
        ("text-generation", "gpt2-lm", 128),
    ],
)
def test_on_an_accelerator_indices_are_checked_first(
    model: Model, monkeypatch: pytest.MonkeyPatch, task: str, name: str, most: int
) -> None:
    """Where an index beyond a table would end the process: told before the table is read."""
    monkeypatch.setattr("transforms.batching.program.is_accelerated", lambda pipe: True)
    beyond: list[bool] = []
    check = lengths._check_indices

    def noted(indices: torch.Tensor, rows: int) -> None:
        beyond.append(int(indices.max()) >= rows)
        check(indices, rows)

    monkeypatch.setattr(lengths, "_check_indices", noted)
    parameters = {} if task == "text-classification" else {"max_new_tokens": 1}
    program = Replica(ModelSpec(task=task, source=model(name))).program(parameters)
    pipe = program._pipe
    with pytest.raises(lengths.TooLongError, match=f"has {most + 1} tokens"):
        program.run([pipe.preprocess(text_of(pipe.tokenizer, most + 1))])
    assert beyond[-1]
    program.run([pipe.preprocess(text_of(pipe.tokenizer, most))])


@pytest.mark.parametrize(
    ("parameters", "keywords", "advice"),
    [
        ({}, True, "truncation=True, max_length=8 cuts it"),
        ({"tokenizer_kwargs"}, False, 'tokenizer_kwargs={"truncation": True, "max_length": 8} c'),
        (
            {"truncation", "tokenize_kwargs"},
            False,
            'tokenize_kwargs={"truncation": True, "max_length": 8} cuts it',
        ),
        ({"max_seq_len"}, False, "max_seq_len=8 cuts it"),
        ({"sequential", "truncation"}, False, 'truncation="drop_rows_to_fit", with a tokenizer'),
        ({"truncation"}, False, "truncation=True, with a tokenizer saved with model_max_length=8,"),
        ((), False, "save its tokenizer with model_max_length=8"),
    ],
)
def test_advice_for_a_tokenizer_that_does_not_know(
    parameters: Any, keywords: bool, advice: str
) -> None:
    pipe = table_of_eight()
    task: Any = Some(tokenizer_keywords=keywords, parameters=parameters)
    found = lengths.Lengths(pipe, task, {}, False)
    assert advice in str(found.explained(IndexError("x"), {"input_ids": torch.zeros(1, 9)}))


def table_of_eight() -> Any:
    pipe: Any = Some(model=torch.nn.Module(), tokenizer=Some(model_max_length=10**30))
    pipe.model.config = Some(get_text_config=lambda: Some(max_position_embeddings=8))
    pipe.model.wpe = torch.nn.Embedding(8, 2)
    return pipe


def test_checked_indices_change_no_answer() -> None:
    torch.manual_seed(1)
    table = torch.nn.Embedding(5, 3)
    ids = torch.tensor([[0, 4, 2]])
    with CheckedIndices():
        assert torch.equal(table(ids), torch.nn.functional.embedding(ids, table.weight))
        assert torch.equal(torch.gather(ids, 1, ids[:, :1]), ids[:, :1])
        with pytest.raises(IndexError, match="index 5 is out of range: there are 5"):
            table(torch.tensor([5]))
        with pytest.raises(IndexError, match="index 3 is out of range: there are 3"):
            ids.gather(1, torch.tensor([[3]]))


def test_another_error_of_a_long_text_stays_itself() -> None:
    pipe = table_of_eight()
    task: Any = Some(tokenizer_keywords=True, parameters={})
    found = lengths.Lengths(pipe, task, {}, False)
    features = {"input_ids": torch.zeros(1, 9)}
    for error in (KeyError("x"), torch.OutOfMemoryError("no"), RuntimeError("CUDA error: no")):
        assert found.explained(error, features) is error
    assert found.explained(IndexError("x"), {"input_ids": torch.zeros(1, 8)}).args == ("x",)
    assert "has 9 tokens" in str(found.explained(IndexError("x"), features))


def test_a_table_that_is_too_large_says_so(model: Model) -> None:
    def asked(rows: int, columns: int = 1) -> dict[str, Any]:
        return {"table": {f"c{i}": ["a"] * rows for i in range(columns)}, "query": "what"}

    name = model("tapas-qa")  # its tables have 64 rows, the first of them for no row
    stock = transformers.pipeline("table-question-answering", name, device="cpu")
    good = [asked(63), asked(30, 2)]
    bad = {"rows": asked(64), "columns": asked(1, 64)}
    for table in bad.values():
        with pytest.raises((IndexError, RuntimeError), match="out of"):
            stock(table)
    transform = pipeline("table-question-answering", name, share="process")
    found, failed = answers_and_failures([*bad.values(), *good], transform)
    said = {row.message: row for row in failed}
    for what in bad:
        row = said[f"the table has 64 {what}, and the model takes 63 at most: leave some out"]
        assert (row.stage, row.error) == ("forward", "TooLongError")
        assert "out of" in row.traceback
    assert all(same(stock(each.example), each.inference) for each in found)
    assert len(found) == 2


def test_on_an_accelerator_a_table_is_measured_first(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.batching.program.is_accelerated", lambda pipe: True)
    spec = ModelSpec(task="table-question-answering", source=model("tapas-qa"))
    program = Replica(spec).program({})
    monkeypatch.setattr(program._pipe, "forward", None)
    features = {"token_type_ids": torch.full((1, 5, 7), 64)}
    with pytest.raises(lengths.TooLongError, match="the table has 64 rows"):
        program.run([features])


@pytest.mark.parametrize("task", ["audio-classification", "automatic-speech-recognition"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_a_sound_that_is_too_short_says_so(model: Model, task: str, norm: str) -> None:
    head = "keywords" if task == "audio-classification" else "ctc"
    name = model(f"wav2vec2-{norm}-{head}")
    stock = transformers.pipeline(task, name, device="cpu")
    short, enough = np.full(327, 0.1, np.float32), np.full(328, 0.1, np.float32)
    with pytest.raises(RuntimeError, match="Kernel size"):
        stock(short)
    stock(enough)
    found, failed = answers_and_failures([short, enough], pipeline(task, name, share="process"))
    assert len(found) == 1
    assert [(row.stage, row.error) for row in failed] == [("forward", "TooShortError")]
    assert failed[0].message == (
        "the sound has 327 samples, and the model takes 328 at least (0.0205 seconds at 16,000 "
        "Hz): lengthen it, or leave it out"
    )
    assert "Kernel size" in failed[0].traceback


def test_a_chunk_of_a_sound_that_is_too_short_says_so(model: Model) -> None:
    transform = pipeline(
        "automatic-speech-recognition",
        model("wav2vec2-layer-ctc"),
        chunk_length_s=0.5,
        stride_length_s=(0, 0),
        share="process",
    )
    _, failed = answers_and_failures([np.full(16_100, 0.1, np.float32)], transform)
    assert "a chunk of the sound has 100 samples, and the model takes 328" in failed[0].message


@pytest.mark.parametrize(
    ("config", "samples"),
    [
        (Some(conv_kernel=(10, 3, 3, 3, 3, 2, 2), conv_stride=(5, 2, 2, 2, 2, 2, 2)), 400),
        (Some(encoder=Some(conv_kernel=[10, 3], conv_stride=[5, 2])), 20),
        (Some(conv_kernel=4), 1),  # Mamba's, which reads no waveform
        (None, 1),
    ],
)
def test_the_samples_that_a_model_needs(config: Any, samples: int) -> None:
    assert lengths._least_samples(config) == samples


@pytest.mark.parametrize(
    ("task", "name", "example", "most"),
    [
        ("zero-shot-image-classification", "clip", np.zeros((32, 32, 3), np.uint8), 77),
        ("zero-shot-audio-classification", "clap", np.zeros(4_800, np.float32), 128),
    ],
)
def test_a_label_that_is_too_long_says_so(
    task: str, name: str, example: Any, most: int, model: Model
) -> None:
    transform = pipeline(task, model(name), candidate_labels=["a " * 400, "b"])
    _, (row,) = answers_and_failures([example], transform)
    said = rf"the input has \d+ tokens, and the model takes {most} at most: shorten it, or save"
    assert re.match(said, row.message)
