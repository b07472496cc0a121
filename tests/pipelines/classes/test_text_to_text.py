"""The revived pipelines answer as transformers 4.57 did, and say what they cannot take."""

from __future__ import annotations

import copy
import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from support import models, recorded_cases
from support.recorded_cases import (
    ENOUGH,
    LEFT,
    PAGE,
    SENTENCE,
    SHORT,
    TEXTS,
    RecordedCase,
    answers_to,
    name_of,
)
from support.recorded_cases import TEXT_CASES as CASES

from transforms.pipelines.classes import answer_spans, text_to_text

Pipe = Callable[..., Any]

CLASSES = {
    "question-answering": text_to_text.QuestionAnsweringPipeline,
    "summarization": text_to_text.SummarizationPipeline,
    "text2text-generation": text_to_text.Text2TextGenerationPipeline,
    "translation": text_to_text.TranslationPipeline,
}


def build(directory: Path, task: str, **constructor: Any) -> Any:
    auto = "QuestionAnswering" if task == "question-answering" else "Seq2SeqLM"
    return CLASSES[task.partition("_")[0]](
        model=getattr(transformers, f"AutoModelFor{auto}").from_pretrained(directory),
        tokenizer=transformers.AutoTokenizer.from_pretrained(directory),
        task=task,
        device=-1,
        **constructor,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def pipe_of(root: Path) -> Callable[[RecordedCase], Any]:
    @functools.cache
    def cached(directory: Path, task: str, constructor: str) -> Any:
        return build(directory, task, **json.loads(constructor))

    def found(case: RecordedCase) -> Any:
        if case.model.startswith("marian") and not importlib.util.find_spec("sentencepiece"):
            pytest.skip("Marian's tokenizer needs sentencepiece")
        directory = recorded_cases.directory(case, root, models.build)
        return cached(directory, case.task, json.dumps(case.constructor))

    return found


@pytest.fixture
def answer(root: Path) -> Any:
    return build(models.build("bert-qa", root), "question-answering")


@pytest.fixture
def summarize(root: Path) -> Any:
    return build(models.build("t5-seq2seq", root), "summarization")


@pytest.fixture(scope="module")
def recorded() -> Any:
    return json.loads(recorded_cases.ANSWERS.read_text(encoding="utf-8"))


# The recorded answers


def test_every_case_is_recorded(recorded: list[Any]) -> None:
    asked = [question for _, question in recorded_cases.questions_to_ask()]
    assert json.loads(json.dumps(asked)) == [
        {name: value for name, value in one.items() if name != "expected"} for one in recorded
    ]


@pytest.mark.filterwarnings("ignore:generation stops at the first token")
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_answers_are_those_of_4_57(
    case: RecordedCase, pipe_of: Callable[[RecordedCase], Any], recorded: list[Any]
) -> None:
    pipe, parameters = pipe_of(case), copy.deepcopy(dict(case.parameters))
    for value, expected in zip(case.inputs, answers_to(case, recorded), strict=True):
        found = recorded_cases.plain(pipe(copy.deepcopy(value), **parameters))
        assert recorded_cases.difference(found, expected) is None
        assert parameters == case.parameters


# Where absolute positions are padded on the left, a batch of other lengths is another question.
BATCHED = [case for case in CASES if case.files != LEFT and not case.parameters.get("padding")]


@pytest.mark.filterwarnings("ignore:generation stops at the first token")
@pytest.mark.parametrize("case", BATCHED, ids=name_of)
def test_batches_give_the_same_answers(
    case: RecordedCase, pipe_of: Callable[[RecordedCase], Any], recorded: list[Any]
) -> None:
    pipe, expected = pipe_of(case), answers_to(case, recorded)
    if case.task != "question-answering" and all(len(one) == 1 for one in expected):
        expected = [one[0] for one in expected]  # as transformers flattens them
    found = recorded_cases.plain(pipe([*case.inputs] * 2, batch_size=3, **case.parameters))
    expected = expected * 2
    if case.parameters.get("return_tensors"):
        found = [_without_filler(one) for one in found]
        expected = [_without_filler(one) for one in expected]
    assert recorded_cases.difference(found, expected) is None


def _without_filler(answer: Any) -> Any:
    """Token ids without the padding (1) to the longest sequence of a batch."""
    if isinstance(answer, list):
        return [_without_filler(one) for one in answer]
    if isinstance(answer, dict):
        return {name: [i for i in ids if i != 1] for name, ids in answer.items()}
    return answer


# Question answering


def test_forms_of_input(answer: Any) -> None:
    question, context = SENTENCE["question"], SENTENCE["context"]
    expected = answer(SENTENCE)
    example = SimpleNamespace(question_text=question, context_text=context)
    assert isinstance(expected, dict)
    assert answer(question=question, context=context) == expected
    assert answer(question, context) == expected
    assert answer([SENTENCE]) == answer(example) == answer([example]) == expected
    assert answer(question=[question] * 2, context=context) == [expected] * 2
    assert answer(question=[question] * 2, context=[context] * 2) == [expected] * 2
    assert answer({"question": [question] * 2, "context": context}) == [expected] * 2
    assert answer(SENTENCE, SENTENCE) == answer((SENTENCE, SENTENCE)) == [expected] * 2
    assert list(answer(item for item in [SENTENCE, SENTENCE])) == [expected] * 2
    assert answer([]) == []


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (({"question": "Who?"},), ValueError, "the context is missing"),
        (({"question": "Who?", "context": ""},), ValueError, "context must not be empty"),
        (({"question": None, "context": "I."},), ValueError, "the question is missing"),
        (({"question": 3, "context": "I."},), TypeError, "question must be a string, got 3"),
        (("Who?",), TypeError, "must be one of .* got 'Who\\?'"),
        ((), ValueError, "the question is missing"),
    ],
)
def test_bad_questions(answer: Any, inputs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        answer(*inputs)


def test_bad_pairs(answer: Any) -> None:
    with pytest.raises(ValueError, match="as many questions as contexts, got 2 and 1"):
        answer(question=["a", "b"], context=["c"])
    with pytest.raises(TypeError, match="not two of them"):
        answer(SENTENCE, question="Who?", context="I.")


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"top_k": 0}, ValueError, "top_k must be at least 1, got 0"),
        ({"max_answer_len": 0}, ValueError, "max_answer_len must be at least 1, got 0"),
        ({"doc_stride": 9, "max_seq_len": 8}, ValueError, "from 0 to max_seq_len=8, got 9"),
        ({"topp_k": 2}, TypeError, "unknown parameter 'topp_k'. Did you mean 'top_k'"),
    ],
)
def test_bad_parameters(answer: Any, parameters: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        answer(SENTENCE, **parameters)


@pytest.mark.parametrize("words", [8, 40])
def test_a_question_that_fills_the_window_is_an_error_of_its_own(answer: Any, words: int) -> None:
    with pytest.raises(ValueError, match="leaves no room for windows"):
        answer(question="where is it " * words, context=PAGE["context"], max_seq_len=64)
    assert answer(SENTENCE)["answer"]


def test_what_a_python_tokenizer_cannot_do(root: Path) -> None:
    answer = build(models.build("bert-slow-qa", root), "question-answering")
    with pytest.raises(ValueError, match="leaves no room"):
        answer(SENTENCE, max_seq_len=6)
    with pytest.raises(ValueError, match="context must hold a word, got ' '"):
        answer(question="Who?", context=" ")
    assert answer(question="Who?", context="I.", top_k=30)  # an error in 4.57
    answer.tokenizer.padding_side = "left"
    with pytest.raises(ValueError, match="BertJapaneseTokenizer must pad on the right"):
        answer(SENTENCE)


def test_distilbert_with_a_bert_tokenizer(
    root: Path, pipe_of: Callable[[RecordedCase], Any], recorded: list[Any]
) -> None:
    """Old repositories name no tokenizer class: transformers 5 takes BERT's, with segments."""
    case = next(case for case in CASES if case.model == "distilbert-qa")
    files = {"tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}}
    other = RecordedCase(task=case.task, model=case.model, inputs=[], files=files)
    for value, expected in zip(case.inputs, answers_to(case, recorded), strict=True):
        assert recorded_cases.difference(pipe_of(other)(value), expected) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_logits_of_other_types(answer: Any, dtype: torch.dtype) -> None:
    [features] = answer.preprocess(SENTENCE)
    output = answer.forward(features)
    expected = answer.postprocess([output])
    output |= {name: output[name].to(dtype) for name in ("start", "end")}
    found = answer.postprocess([output])
    assert found["answer"] == expected["answer"]
    assert found["score"] == pytest.approx(expected["score"], rel=0.05)


def test_logits_that_are_no_numbers(answer: Any) -> None:
    [features] = answer.preprocess(SENTENCE)
    output = answer.forward(features)
    output["start"][0, -2] = float("nan")
    with pytest.raises(ValueError, match="no finite numbers"):
        answer.postprocess([output])


@pytest.mark.parametrize("order", [1, -1])
def test_an_answer_in_one_window_is_enough(answer: Any, order: int) -> None:
    """Of the windows' scores for "" the lowest counts."""
    outputs = [answer.forward(features) for features in answer.preprocess(PAGE)][:2]
    for output, certainty in zip(outputs, [30.0, -30.0][::order], strict=True):
        output["start"][0, 0] = output["end"][0, 0] = certainty
    assert answer.postprocess(outputs, handle_impossible_answer=True)["answer"] != ""


def test_the_context_travels_once(answer: Any) -> None:
    chunks = list(answer.preprocess(PAGE, max_seq_len=48))
    assert len(chunks) > 3
    assert [chunk["is_last"] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    contexts = [chunk["example"]["context"] for chunk in chunks]
    assert contexts == [PAGE["context"]] + [None] * (len(chunks) - 1)


@pytest.mark.parametrize("seed", range(20))
def test_best_spans_are_those_of_the_whole_table(seed: int) -> None:
    random = np.random.RandomState(seed)
    size, longest, count = random.randint(3, 60), random.randint(1, 70), random.randint(1, 40)
    start, end = random.rand(2, size).astype(np.float32)
    allowed = random.rand(size) < random.choice([0.1, 0.9])
    start[~allowed] = end[~allowed] = start[0] = end[0] = 0.0
    table = np.tril(np.triu(np.outer(start, end)), longest - 1)
    best = answer_spans.largest(table.ravel(), count)
    allowed[0] = True
    expected = [
        (i // size, i % size, table.ravel()[i])
        for i in best
        if allowed[i // size] and allowed[i % size]
    ]
    found = answer_spans.best_spans(start, end, allowed, count, longest)
    assert list(zip(*found, strict=True)) == expected


@pytest.mark.parametrize("model", ["bert-qa", "roberta-qa"])
def test_word_spans_are_those_of_the_tokenizer(root: Path, model: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(models.build(model, root))
    for item in ENOUGH:
        encoding = tokenizer(item["question"], item["context"]).encodings[0]
        inside = np.array([sequence == 1 for sequence in encoding.sequence_ids])
        spans = answer_spans.word_spans(encoding.word_ids, inside, np.array(encoding.offsets))
        for token in np.flatnonzero(inside):
            word = encoding.token_to_word(int(token))
            assert tuple(spans[token]) == encoding.word_to_chars(word, sequence_index=1)
        assert (spans[0] == -1).all()


# Sequence to sequence


def test_one_model_serves_several_pipelines(summarize: Any) -> None:
    before = copy.deepcopy(summarize.model.config.task_specific_params)
    again = text_to_text.SummarizationPipeline(model=summarize.model, tokenizer=summarize.tokenizer)
    assert again.task == "summarization"
    assert again.prefix == summarize.prefix == before["summarization"]["prefix"]
    assert summarize.model.config.task_specific_params == before


def test_lists_are_flattened_where_each_text_has_one_answer(summarize: Any) -> None:
    one, other = TEXTS[:2]
    single = summarize(one, **SHORT)
    assert isinstance(single, list)
    assert summarize([one, other], **SHORT) == [single[0], summarize(other, **SHORT)[0]]
    several = summarize([one, other], num_return_sequences=2, **SHORT)
    assert [len(answers) for answers in several] == [2, 2]
    assert summarize([]) == []


def test_the_call_replaces_what_the_constructor_was_given(root: Path) -> None:
    directory = models.build("t5-seq2seq", root)
    greedy = transformers.GenerationConfig(max_new_tokens=4, num_beams=1)
    generate = build(directory, "text2text-generation", generation_config=greedy)
    ids = generate(TEXTS[1], return_tensors=True)[0]["generated_token_ids"]
    assert len(ids) <= 5
    longer = generate(TEXTS[1], return_tensors=True, max_new_tokens=9)[0]["generated_token_ids"]
    assert longer[: len(ids)].tolist() == ids.tolist()
    other = transformers.GenerationConfig(max_new_tokens=2, num_beams=1)
    found = generate(TEXTS[1], return_tensors=True, generation_config=other)
    assert len(found[0]["generated_token_ids"]) <= 3
    assert (greedy.max_new_tokens, other.max_new_tokens) == (4, 2)


@pytest.mark.parametrize(
    ("inputs", "parameters", "error", "message"),
    [
        (3, {}, TypeError, "the input must be a string, got 3"),
        ([["nested"]], {}, TypeError, "the input must be a string, got \\['nested'\\]"),
        ("Hi", {"num_beans": 2}, TypeError, "unknown parameter 'num_beans'. Did you mean 'num_b"),
        ("Hi", {"src_lang": "en"}, TypeError, "summarization: unknown parameter 'src_lang'"),
        ("Hi", {"stop_sequence": ""}, ValueError, "stop_sequence must have a token, got ''"),
    ],
)
def test_bad_texts_and_parameters(
    summarize: Any, inputs: Any, parameters: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        summarize(inputs, **parameters)


def test_a_stop_sequence_of_several_tokens_is_warned_of(summarize: Any) -> None:
    with pytest.warns(UserWarning, match="the first token of stop_sequence='Paris is'"):
        summarize("Hi", stop_sequence="Paris is", max_new_tokens=2)


def test_bad_constructors(root: Path, summarize: Any) -> None:
    encoder = transformers.AutoModel.from_pretrained(models.build("bert-qa", root))
    with pytest.raises(ValueError, match="model must generate text, got BertModel"):
        text_to_text.SummarizationPipeline(model=encoder, tokenizer=summarize.tokenizer)
    with pytest.raises(TypeError, match="assistant_model must be given to a call"):
        text_to_text.SummarizationPipeline(
            model=summarize.model, tokenizer=summarize.tokenizer, assistant_model=summarize.model
        )


def test_unknown_languages(root: Path) -> None:
    translate = build(models.build("mbart-seq2seq", root), "translation")
    with pytest.raises(ValueError, match="requires a `src_lang` and a `tgt_lang`"):
        translate("Hi", **SHORT)
    with pytest.raises(ValueError, match=r"tgt_lang must be .* got 'xx_XX'"):
        translate("Hi", src_lang="en_XX", tgt_lang="xx_XX", **SHORT)
    with pytest.raises(ValueError, match=r"src_lang must be .* got 'en'"):
        translate("Hi", src_lang="en", tgt_lang="de_DE", **SHORT)


def test_through_the_factory_of_transformers(summarize: Any) -> None:
    """It refuses the dropped names; the class knows its own."""
    pipe = transformers.pipeline(
        "text-classification",
        model=summarize.model,
        tokenizer=summarize.tokenizer,
        device=-1,
        pipeline_class=text_to_text.SummarizationPipeline,
    )
    assert pipe.task == "summarization"
    assert pipe("Hi", **SHORT) == summarize("Hi", **SHORT)
