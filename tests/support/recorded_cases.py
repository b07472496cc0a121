"""What the revived tasks are asked, and where their recorded answers are.

`record_revived.py` asks transformers 4.57, `test_text_to_text.py` the pipelines of this package.
Imports nothing of transformers: both versions read this table.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.paths import EXPECTED

ANSWERS = EXPECTED / "revived.json"


@dataclass(frozen=True, kw_only=True)
class RecordedCase:
    """Inputs asked one by one, with the same parameters."""

    task: str
    model: str
    """A name in support/models."""
    inputs: Sequence[Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    constructor: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of `pipeline()`."""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the model's JSON files say in place of what they say."""


PROSE = (
    "The United Nations has its headquarters in New York City. Angela Merkel was born in Hamburg "
    "and studied physics in Leipzig. In 1969, Neil Armstrong became the first person to walk on "
    "the Moon; Scientists discovered a new species of frog in the mountains of Peru, and the "
    "bank raised its interest rates by 0.25 percent on Wednesday."
)
WORD = {"question": "Which city?", "context": "Paris"}
SENTENCE = {"question": "Where do I live?", "context": "My name is Sarah and I live in London."}
REPEATED = {
    "question": "What is it?",
    "context": "It is what it is, and IT IS what it was: is it not what it is?",
}
SPACED = {
    "question": "Who walked  on the Moon?",
    "context": "  two   spaces\tand a tab,\nNeil Armstrong 😀 (in brackets)\n\nStraßenbahn 東京 ",
}
PARAGRAPH = {"question": "Who was the first person to walk on the Moon?", "context": PROSE}
PAGE = {"question": "What did the bank raise?", "context": " ".join([PROSE] * 3)}

QUESTIONS = [WORD, SENTENCE, REPEATED, SPACED, PARAGRAPH, PAGE]
# A word alone has fewer spans than `top_k` asks for. What 4.57 fills up with has no probability
# and no order, and with a tokenizer written in Python is an error.
ENOUGH = QUESTIONS[1:]

TEXTS = [
    "Yes",
    "Paris is beautiful",
    "I'd like a table for four people , please . Do n't be late !",
    "She opened the window because the room was hot, closed it because the street was loud, and "
    "opened it again at night.",
    PROSE,
]
# What a model of 128 positions takes.
FITTING = TEXTS[:4]
SHORT = {"max_new_tokens": 12}


def questions(model: str, inputs: Sequence[Any] = ENOUGH, **others: Any) -> RecordedCase:
    return RecordedCase(task="question-answering", model=model, inputs=inputs, **others)


LEFT = {"tokenizer_config.json": {"padding_side": "left"}}
GENERIC = {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}
LISTED = {
    "tokenizer_config.json": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
    }
}

QUESTION_ANSWERING = [
    questions("bert-qa", QUESTIONS),
    questions("bert-qa", parameters={"top_k": 3}),
    questions("bert-qa", parameters={"topk": 2, "max_answer_len": 3}),
    questions("bert-qa", QUESTIONS, parameters={"handle_impossible_answer": True}),
    questions("bert-qa", parameters={"handle_impossible_answer": True, "top_k": 4}),
    # "It" and "IT" are one answer.
    questions("bert-qa", [REPEATED], parameters={"top_k": 8, "max_answer_len": 2}),
    questions("bert-qa", parameters={"max_seq_len": 32, "doc_stride": 8, "top_k": 5}),
    questions("bert-qa", QUESTIONS, parameters={"align_to_words": False}),
    questions("bert-qa", parameters={"align_to_words": False, "top_k": 3, "max_answer_len": 40}),
    questions("bert-qa", QUESTIONS, parameters={"padding": "max_length", "max_question_len": 2}),
    questions("bert-qa", QUESTIONS, constructor={"top_k": 2}, parameters={"top_k": 1}),
    questions("bert-qa", files=LEFT, parameters={"top_k": 2}),
    questions("bert-qa", files=LEFT, parameters={"align_to_words": False, "doc_stride": 4}),
    # transformers 5 leaves token_type_ids out here, and the model needs them.
    questions("bert-qa", files=GENERIC, parameters={"top_k": 2}),
    questions("bert-qa", files=LISTED),
    questions("roberta-qa", QUESTIONS),
    questions("roberta-qa", parameters={"top_k": 4, "handle_impossible_answer": True}),
    questions("roberta-qa", parameters={"max_seq_len": 40, "doc_stride": 12, "top_k": 3}),
    questions("roberta-qa", QUESTIONS, parameters={"align_to_words": False}),
    questions("distilbert-qa", QUESTIONS),
    questions("distilbert-qa", parameters={"top_k": 3, "doc_stride": 3}),
    questions("bert-slow-qa"),
    questions("bert-slow-qa", parameters={"top_k": 3, "doc_stride": 16, "max_question_len": 4}),
    questions("bert-slow-qa", parameters={"max_seq_len": 30, "handle_impossible_answer": True}),
    questions("bert-slow-qa", parameters={"top_k": 2, "align_to_words": False}),
]

# What a model was saved by decides which parameters yield to which.
OLD = {"transformers_version": "4.20.1"}
LENGTH = {"generation_config.json": {"max_length": 14, "num_beams": 2}}
OLD_LENGTH = {"generation_config.json": {"max_length": 14, "num_beams": 2, "min_length": 6, **OLD}}
PREFIX = {"config.json": {"prefix": "translate English to German: "}}
SPECIFIC = {
    "config.json": {
        "task_specific_params": {
            "summarization": {"max_length": 9, "min_length": 0, "num_beams": 1, "prefix": "tl;dr: "}
        }
    }
}


def texts(task: str, model: str, inputs: Sequence[Any] = TEXTS, **others: Any) -> RecordedCase:
    return RecordedCase(task=task, model=model, inputs=inputs, **others)


SEQ2SEQ = [
    # 256 new tokens and 4 beams, whatever the model's own generation parameters say.
    texts("text2text-generation", "t5-seq2seq", TEXTS[:2]),
    texts("text2text-generation", "t5-seq2seq", parameters=SHORT),
    texts("text2text-generation", "t5-seq2seq", parameters={**SHORT, "num_beams": 1}),
    texts("text2text-generation", "t5-seq2seq", parameters=SHORT, files=PREFIX),
    texts("text2text-generation", "t5-seq2seq", parameters={"max_new_tokens": None}),
    texts("text2text-generation", "t5-seq2seq", TEXTS[:2], parameters={"max_length": 8}),
    texts("text2text-generation", "t5-seq2seq", constructor={"max_length": 8, "num_beams": 1}),
    texts("text2text-generation", "t5-seq2seq", files=LENGTH),
    texts("text2text-generation", "t5-seq2seq", files=LENGTH, constructor={"num_beams": 1}),
    texts("text2text-generation", "t5-seq2seq", files=OLD_LENGTH),
    texts("text2text-generation", "t5-seq2seq", files=OLD_LENGTH, constructor={"num_beams": 1}),
    texts("text2text-generation", "t5-seq2seq", parameters={**SHORT, "stop_sequence": "e"}),
    texts("summarization", "t5-seq2seq", parameters=SHORT),
    texts("summarization", "t5-seq2seq", constructor=SHORT, parameters={"min_length": 0}),
    texts("summarization", "t5-seq2seq", files=SPECIFIC, parameters=SHORT),
    texts("summarization", "t5-seq2seq", files=SPECIFIC, constructor={**SHORT, "num_beams": 3}),
    texts("summarization", "t5-seq2seq", files={**SPECIFIC, **LENGTH}),
    texts("summarization", "t5-seq2seq", files={**SPECIFIC, **OLD_LENGTH}),
    texts("summarization", "bart-seq2seq", FITTING, parameters=SHORT),
    texts("summarization", "bart-seq2seq", FITTING, files=LENGTH),
    texts(
        "summarization",
        "bart-seq2seq",
        FITTING,
        parameters={**SHORT, "num_return_sequences": 3, "num_beams": 3, "length_penalty": 2.0},
    ),
    texts(
        "summarization",
        "bart-seq2seq",
        FITTING,
        parameters={**SHORT, "clean_up_tokenization_spaces": True, "return_tensors": False},
    ),
    texts("summarization", "bart-seq2seq", FITTING, parameters={**SHORT, "return_tensors": True}),
    texts(
        "text2text-generation",
        "bart-seq2seq",
        FITTING,
        parameters={**SHORT, "return_tensors": True, "num_return_sequences": 2},
    ),
    texts("text2text-generation", "bart-seq2seq", FITTING, parameters={"max_length": 10, **SHORT}),
    texts(
        "text2text-generation",
        "bart-seq2seq",
        [*TEXTS, " ".join([PROSE] * 3)],
        parameters={"truncation": True, **SHORT, "return_text": False},
    ),
    texts("translation", "t5-seq2seq", parameters=SHORT),
    texts("translation_en_to_fr", "t5-seq2seq", parameters=SHORT),
    texts("translation_en_to_fr", "t5-seq2seq", TEXTS[:2]),
    texts("translation_en_to_ro", "t5-seq2seq", parameters=SHORT),
    texts("translation_en_to_fr", "bart-seq2seq", FITTING, parameters={**SHORT, "min_length": 8}),
    texts(
        "translation",
        "mbart-seq2seq",
        FITTING,
        parameters={"src_lang": "en_XX", "tgt_lang": "de_DE", **SHORT},
    ),
    texts(
        "translation",
        "mbart-seq2seq",
        FITTING,
        parameters={"src_lang": "fr_XX", "tgt_lang": "ro_RO", "truncation": True, **SHORT},
    ),
    texts("translation", "marian-seq2seq", FITTING, parameters=SHORT),
    texts("translation_en_to_de", "marian-seq2seq", FITTING, parameters={**SHORT, "num_beams": 1}),
]

TEXT_CASES = QUESTION_ANSWERING + SEQ2SEQ


# A picture is written down as its name and size: see `ready`.
PICTURES: list[Any] = [
    {"picture": [f"picture {i}", *size]}
    for i, size in enumerate([(64, 48), (48, 64), (64, 48), (80, 60), (48, 64), (33, 57)])
]
QUESTIONS_SEEN = [
    {"image": PICTURES[i], "question": question}
    for i, question in (
        (0, "Is it red?"),
        (1, "How many people are there in the picture?"),
        (2, "Is it red?"),
        (3, "What"),
        (4, "Who is in front of the house?"),
        (5, "Is it a dog?"),
    )
]


def seen(
    task: str, model: str, inputs: Sequence[Any] = tuple(PICTURES), **others: Any
) -> RecordedCase:
    return RecordedCase(task=task, model=model, inputs=inputs, **others)


# As the tokenizers of real ones say: what a BLIP takes.
NAMED = {"tokenizer_config.json": {"model_input_names": ["input_ids", "attention_mask"]}}

IMAGE_CASES = [
    seen("image-to-text", "vit-gpt2"),
    seen("image-to-text", "vit-gpt2", parameters={"max_new_tokens": 5}),
    seen("image-to-text", "vit-gpt2", parameters={"generate_kwargs": {"num_beams": 1, **SHORT}}),
    seen("image-to-text", "vit-gpt2", constructor={"num_beams": 3}),
    seen("image-to-text", "blip-caption"),
    seen("image-to-text", "blip-caption", parameters={"prompt": "a picture of"}, files=NAMED),
    seen("image-to-text", "git", parameters=SHORT),
    seen("image-to-text", "git", parameters={"prompt": "a picture", "max_new_tokens": 6}),
    seen("visual-question-answering", "vilt-vqa", QUESTIONS_SEEN),
    seen("visual-question-answering", "vilt-vqa", QUESTIONS_SEEN, parameters={"top_k": 2}),
    seen("vqa", "vilt-vqa", QUESTIONS_SEEN, parameters={"top_k": 99, "truncation": True}),
    seen("visual-question-answering", "blip-vqa", QUESTIONS_SEEN, files=NAMED),
]

CASES = TEXT_CASES + IMAGE_CASES


def ready(value: Any) -> Any:
    """An input with its pictures drawn."""
    if isinstance(value, dict) and "picture" in value:
        from support.pictures import picture

        return picture(*value["picture"])
    return {k: ready(v) for k, v in value.items()} if isinstance(value, dict) else value


def questions_to_ask(
    cases: Sequence[RecordedCase] = tuple(CASES),
) -> Iterator[tuple[RecordedCase, dict[str, Any]]]:
    """Each input with its case, and with what is recorded beside its answer."""
    for case in cases:
        for value in case.inputs:
            said = {
                "task": case.task,
                "model": case.model,
                "files": case.files,
                "constructor": case.constructor,
                "parameters": case.parameters,
            }
            yield case, {**{name: part for name, part in said.items() if part}, "input": value}


def name_of(case: RecordedCase) -> str:
    said = {**case.constructor, **case.parameters, **case.files}
    return f"{case.task}-{case.model}-{'-'.join(said)}"


def answers_to(case: RecordedCase, recorded: list[Any]) -> list[Any]:
    """What is recorded for each input of a case."""
    first = sum(len(other.inputs) for other in CASES[: CASES.index(case)])
    return [one["expected"] for one in recorded[first : first + len(case.inputs)]]


def directory(case: RecordedCase, root: Path, build: Callable[[str, Path], Path]) -> Path:
    """The directory of the case's model, built below `root` if it is not there."""
    return changed(build(case.model, root), case.files)


def changed(model: Path, files: Mapping[str, Mapping[str, Any]]) -> Path:
    """The model's directory, or a copy beside it in which the JSON files say something else."""
    if not files:
        return model
    changes = json.dumps(files, sort_keys=True).encode()
    copy = model.parent / f"{model.name}-{hashlib.sha256(changes).hexdigest()[:12]}"
    if not copy.exists():
        shutil.copytree(model, copy)
        for name, change in files.items():
            said = json.loads((copy / name).read_text(encoding="utf-8"))
            (copy / name).write_text(json.dumps({**said, **change}), encoding="utf-8")
    return copy


def plain(result: Any) -> Any:
    """A result as JSON has it: tensors as lists."""
    if isinstance(result, Mapping):
        return {name: plain(value) for name, value in result.items()}
    if isinstance(result, list):
        return [plain(value) for value in result]
    return result.tolist() if hasattr(result, "tolist") else result


def difference(found: Any, expected: Any, at: str = "") -> str | None:
    """Where two results differ, floats by more than 1e-5; None where they do not."""
    if isinstance(expected, float) and isinstance(found, float):
        return None if abs(found - expected) <= 1e-5 else f"{at}: {found!r}, not {expected!r}"
    if isinstance(expected, dict) and isinstance(found, dict) and found.keys() == expected.keys():
        parts = [(f"{at}.{name}", found[name], expected[name]) for name in expected]
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        parts = [(f"{at}[{i}]", found[i], expected[i]) for i in range(len(expected))]
    else:
        same = type(found) is type(expected) and found == expected
        return None if same else f"{at}: {found!r}, not {expected!r}"
    return next(filter(None, (difference(one, other, name) for name, one, other in parts)), None)
