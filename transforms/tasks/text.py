"""The text tasks, including those that transformers 5 dropped.

Columns carry the names of Hugging Face's inference types. A prediction that is a list is one column
of that list. Beam reads the annotations of NamedTuples and does not know `| None`, so annotations
are not postponed here and use Optional.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from .input_structures import itself
from .own_parameters import PROMPT, own_columns, own_names
from .parameter_checks import whole_or_float
from .task import REQUIRED, Columns, Parameters, Task
from .text_checks import labels, list_of_texts, template, text, texts

_TEXT = {"text": (str,)}
#: The types of the candidate labels of one element.
LABELS = (list, tuple, np.ndarray, str)
_TEXT_TO_TEXT = "transforms.pipelines.classes.text_to_text:"


class Label(NamedTuple):
    """One label and its probability."""

    label: str
    score: float


class Token(NamedTuple):
    """One classified token (`entity`) or, with an aggregation strategy, group (`entity_group`)."""

    entity: Optional[str]
    entity_group: Optional[str]
    score: float
    index: Optional[int]  # type: ignore[assignment]
    word: str
    start: Optional[int]
    end: Optional[int]


class Filling(NamedTuple):
    """One way to fill one mask; `mask` counts the masks of the text from 0."""

    mask: int
    score: float
    token: int
    token_str: str
    sequence: str


class Answer(NamedTuple):
    """A span of the context that answers the question."""

    score: float
    start: int
    end: int
    answer: str


def _fixed(**columns: Any) -> Callable[[Parameters], Columns]:
    return lambda parameters: columns


def _itself(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    columns: Mapping[str, Any] = inference
    return columns


# text-classification: one label as two columns; a list of labels if `top_k` is given.


def _asks_for_labels(parameters: Parameters) -> bool:
    """Whether transformers gives a list: it ignores a top_k that is another kind of number."""
    return "top_k" in parameters and isinstance(parameters["top_k"], int | None)


def _classification_columns(parameters: Parameters) -> Columns:
    if _asks_for_labels(parameters):
        return {"predictions": Sequence[Label]}
    return {"label": str, "score": float}


def _classification_values(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    if _asks_for_labels(parameters):
        return {"predictions": inference}
    # transformers wraps the answer to a string in a list, but not the answer to a text pair.
    return _itself(inference[0] if isinstance(inference, list) else inference, parameters)


def _entities(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    # transformers treats the words of one text as a list of one text.
    return {"entities": inference[0] if parameters.get("is_split_into_words") else inference}


def _fillings(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    masks = inference if inference and isinstance(inference[0], list) else [inference]
    flat = [{"mask": i, **filling} for i, mask in enumerate(masks) for filling in mask]
    return {"predictions": flat}


# generated text: one string, or a list if several sequences are generated.


def asks_for_several(parameters: Parameters) -> bool:
    """Whether more than one sequence is generated for each input."""
    given = {**parameters, **(parameters.get("generate_kwargs") or {})}
    config = given.get("generation_config")
    asked = given.get("num_return_sequences", getattr(config, "num_return_sequences", None))
    return (asked or 1) > 1


def generated_text(name: str) -> dict[str, Any]:
    """What a task declares whose inferences are [{name: text}, …]: columns, values and choices."""

    def columns(parameters: Parameters) -> Columns:
        column, kind = _generated_column(name, parameters)
        found = {column: kind, **own_columns(parameters)}
        if not asks_for_several(parameters):
            return found
        return {each: kind if each == PROMPT else _list_of(kind) for each, kind in found.items()}

    def values(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
        column, _ = _generated_column(name, parameters)
        # transformers nests the answers once more if the inputs were a list.
        answers = inference[0] if isinstance(inference[0], list) else inference
        found = {column: [_last_message(answer.get(column)) for answer in answers]}
        for own in own_names(parameters):
            found[own] = [answer[own] for answer in answers]
        if asks_for_several(parameters):
            return {each: cells[0] if each == PROMPT else cells for each, cells in found.items()}
        return {each: only(cells) for each, cells in found.items()}

    choices = {"return_tensors": True, "num_return_sequences": 2}
    own = {"generates": True, "answers_in_text": True}
    return {"columns": columns, "values": values, "choices": choices, **own}


def _list_of(kind: Any) -> Any:
    return Sequence[kind]


def only(answers: Sequence[Any]) -> Any:
    """The only answer. Raises ValueError for several, so that none is lost."""
    if len(answers) > 1:
        raise ValueError(
            f"the model gave {len(answers)} answers, and a row has one: its own generation config "
            f"asks for them. num_return_sequences={len(answers)} makes a list of the column, "
            "num_return_sequences=1 gives one"
        )
    return answers[0]


def _one_answer(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    return _itself(only(inference) if isinstance(inference, list) else inference, parameters)


def _generated_column(name: str, parameters: Parameters) -> tuple[str, Any]:
    if parameters.get("return_tensors"):
        return name.replace("_text", "_token_ids"), Sequence[int]
    return name, str


def _last_message(answer: Any) -> Any:
    """The text of an answer. A chat's answer is the whole conversation: its last message."""
    if isinstance(answer, list) and answer and isinstance(answer[-1], Mapping):
        return answer[-1]["content"]
    return answer.tolist() if hasattr(answer, "tolist") else answer


def _embedding_columns(parameters: Parameters) -> Columns:
    if parameters.get("pooling"):
        return {"embedding": Sequence[np.float32]}
    return {"features": Sequence[Sequence[np.float32]]}


def _embedding_values(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    if parameters.get("pooling"):
        return {"embedding": inference}
    return {"features": inference[0]}


def _answer_columns(parameters: Parameters) -> Columns:
    if parameters.get("top_k", parameters.get("topk", 1)) == 1:
        return dict(Answer.__annotations__)
    return {"answers": Sequence[Answer]}


def _answer_values(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    if parameters.get("top_k", parameters.get("topk", 1)) == 1:
        return _itself(inference, parameters)
    return {"answers": inference if isinstance(inference, list) else [inference]}


_SEQ2SEQ = {
    "return_tensors": False,
    "return_text": None,
    "clean_up_tokenization_spaces": False,
    "truncation": None,
    "stop_sequence": None,
}

TASKS = (
    Task(
        name="text-classification",
        transform="TextClassification",
        aliases=("sentiment-analysis",),
        inputs={"text": (str,), "text_pair": (str,)},
        optional_inputs=frozenset({"text_pair"}),
        parameters={"top_k": 1, "function_to_apply": None},
        checks={"top_k": whole_or_float(1)},
        tokenizer_keywords=True,
        choices={"top_k": 2},
        columns=_classification_columns,
        values=_classification_values,
        outputs=frozenset({"logits"}),
        answers_together=True,
    ),
    Task(
        name="token-classification",
        transform="TokenClassification",
        aliases=("ner",),
        inputs={"text": (str, list)},
        lists="words",
        parameters={
            "aggregation_strategy": "none",
            "ignore_labels": ["O"],
            "is_split_into_words": False,
            "delimiter": None,
            "stride": None,
        },
        texts={"ignore_labels": list_of_texts, "delimiter": text},
        columns=_fixed(entities=Sequence[Token]),
        values=_entities,
        token_outputs=frozenset({"logits"}),
    ),
    Task(
        name="fill-mask",
        transform="FillMask",
        inputs=_TEXT,
        parameters={"top_k": 5, "targets": None, "tokenizer_kwargs": None},
        texts={"targets": texts},
        columns=_fixed(predictions=Sequence[Filling]),
        values=_fillings,
        pipeline="transforms.pipelines.classes.fill_mask:FillMaskPipeline",
    ),
    Task(
        name="text-generation",
        transform="TextGeneration",
        inputs={"text": (str, list)},
        lists="chat",
        parameters={
            "return_full_text": True,
            "return_tensors": False,
            "return_text": True,
            "clean_up_tokenization_spaces": None,
            "prefix": None,
            "handle_long_generation": None,
            "stop_sequence": None,
            "add_special_tokens": None,
            "truncation": None,
            "padding": None,
            "max_length": None,
            "continue_final_message": None,
            "skip_special_tokens": True,
            "tokenizer_encode_kwargs": None,
            "tools": None,
            "documents": None,
        },
        texts={"prefix": text, "handle_long_generation": text, "stop_sequence": texts},
        **generated_text("generated_text"),
    ),
    Task(
        name="feature-extraction",
        transform="FeatureExtraction",
        inputs=_TEXT,
        parameters={
            "truncation": None,
            "tokenize_kwargs": None,
            "return_tensors": False,
            "pooling": None,
            "normalize": False,
        },
        choices={"pooling": "mean"},
        columns=_embedding_columns,
        values=_embedding_values,
        token_outputs=frozenset({"last_hidden_state", "encoder_last_hidden_state"}),
        pipeline="transforms.pipelines.classes.embedding:FeatureExtractionPipeline",
        model_classes=("AutoModel",),
    ),
    Task(
        name="zero-shot-classification",
        transform="ZeroShotClassification",
        inputs=_TEXT,
        parameters={
            "candidate_labels": REQUIRED,
            "hypothesis_template": "This example is {}.",
            "multi_label": False,
        },
        texts={"candidate_labels": labels, "hypothesis_template": template},
        columns=_fixed(labels=Sequence[str], scores=Sequence[float]),
        values=lambda inference, parameters: {k: inference[k] for k in ("labels", "scores")},
        outputs=frozenset({"logits"}),
    ),
    Task(
        name="table-question-answering",
        transform="TableQuestionAnswering",
        inputs={"table": (dict, list), "query": (str,)},
        structures={"table": itself},
        parameters={"sequential": False, "padding": True, "truncation": None},
        generates=True,
        columns=_fixed(
            answer=str,
            coordinates=Optional[Sequence[Sequence[int]]],
            cells=Optional[Sequence[str]],
            aggregator=Optional[str],
        ),
        values=_one_answer,
        token_outputs=frozenset({"logits"}),
        pipeline="transforms.pipelines.classes.table:TableQuestionAnsweringPipeline",
    ),
    Task(
        name="question-answering",
        transform="QuestionAnswering",
        inputs={"question": (str,), "context": (str,)},
        parameters={
            "top_k": 1,
            "topk": None,
            "doc_stride": 128,
            "max_answer_len": 15,
            "max_seq_len": 384,
            "max_question_len": 64,
            "handle_impossible_answer": False,
            "align_to_words": True,
            "padding": None,
        },
        choices={"top_k": 2},
        columns=_answer_columns,
        values=_answer_values,
        token_outputs=frozenset({"start", "end", "start_logits", "end_logits"}),
        pipeline=_TEXT_TO_TEXT + "QuestionAnsweringPipeline",
        model_classes=("AutoModelForQuestionAnswering",),
        default_model=("distilbert/distilbert-base-cased-distilled-squad", "564e9b5"),
    ),
    Task(
        name="summarization",
        transform="Summarization",
        inputs=_TEXT,
        parameters=_SEQ2SEQ,
        texts={"stop_sequence": text},
        pipeline=_TEXT_TO_TEXT + "SummarizationPipeline",
        model_classes=("AutoModelForSeq2SeqLM",),
        default_model=("sshleifer/distilbart-cnn-12-6", "a4f8f3e"),
        **generated_text("summary_text"),
    ),
    Task(
        name="translation",
        transform="Translation",
        inputs=_TEXT,
        parameters={**_SEQ2SEQ, "src_lang": None, "tgt_lang": None},
        texts={"stop_sequence": text, "src_lang": text, "tgt_lang": text},
        pipeline=_TEXT_TO_TEXT + "TranslationPipeline",
        model_classes=("AutoModelForSeq2SeqLM",),
        default_model=("google-t5/t5-base", "a9723ea"),
        **generated_text("translation_text"),
    ),
    Task(
        name="text2text-generation",
        transform="Text2TextGeneration",
        inputs=_TEXT,
        parameters=_SEQ2SEQ,
        texts={"stop_sequence": text},
        pipeline=_TEXT_TO_TEXT + "Text2TextGenerationPipeline",
        model_classes=("AutoModelForSeq2SeqLM",),
        default_model=("google-t5/t5-base", "a9723ea"),
        **generated_text("generated_text"),
    ),
)
