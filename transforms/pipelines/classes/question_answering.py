"""Extractive question answering with the answers of transformers 4.57.

A context that is too long is read in overlapping windows, one chunk each. Everything that turns
token positions back into characters is computed beside the tokenizer and travels as two small
arrays; postprocess only compares numbers.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES
from transformers.pipelines.base import ChunkPipeline

from ...engine.errors import PanicError, contained
from ...options.shown import shown
from ...options.suggest import unknown

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Spans = NDArray[np.int32]

_FORMS = (
    "{'question': ..., 'context': ...}, a list of such mappings, or the keywords question= and "
    "context="
)
#: Whitespace as SQuAD's own scripts split words at it.
_WORD = re.compile("[^ \t\r\n\u202f]+")

#: Tokenizers that transformers 5 no longer lets return the `token_type_ids` of their models.
_SEGMENTED = re.compile(
    "(Albert|BertJapanese|Cpm|Flaubert|Funnel|Herbert|RemBert|RoCBert|RoFormer|Splinter|XLM|XLNet)"
    "Tokenizer|TokenizersBackend"
)

#: The model's inputs for one window, n numbers each; and, to read its answer:
#: "allowed" (n,) bool, which tokens an answer may begin or end with; "characters" (n, 2), the
#: span of each token in the context; "words" (n, 2), the span of its whole word, -1 for none.
Window = tuple[dict[str, list[int]], dict[str, NDArray[Any]]]


class QuestionAnsweringPipeline(ChunkPipeline):  # type: ignore[misc]
    """Finds the span of a context that answers a question.

    ```python
    answer = QuestionAnsweringPipeline(model=model, tokenizer=tokenizer)
    answer(question="Where do I live?", context="I live in Berlin.")
    # {"score": 0.97, "start": 10, "end": 16, "answer": "Berlin"}
    ```

    One answer is a mapping, several (`top_k`) are a list of them, and so are none. A list of one
    input is answered like that input.

    Args of a call (with their defaults):
      top_k: how many answers, best first (1). `topk` is its old name.
      max_answer_len: tokens of the longest answer (15).
      handle_impossible_answer: whether "" may be the answer (False).
      align_to_words: whether answers are widened to whole words (True).
      max_seq_len: tokens of a window, question included (384, or what the model takes if less).
      doc_stride: tokens that neighbouring windows share; with a tokenizer written in Python, by
        which they advance (128, or half a window if less).
      max_question_len: tokens of the question, with a tokenizer written in Python only (64).
      padding: the tokenizer's (none).

    Raises:
      TypeError: an unknown parameter, or an input that is no question with a context.
      ValueError: an empty question or context, or a number that cannot be right.

    """

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    default_input_names = "question,context"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.check_model_type(MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES)
        accepted = inspect.signature(self.model.forward).parameters
        self._features = _feature_names(self.tokenizer, accepted)
        self._options = {"use_cache": False} if "use_cache" in accepted else {}

    def _sanitize_parameters(
        self,
        *,
        top_k: int | None = None,
        topk: int | None = None,
        max_answer_len: int | None = None,
        handle_impossible_answer: bool | None = None,
        align_to_words: bool | None = None,
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        max_question_len: int | None = None,
        padding: bool | str | None = None,
        **others: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        valid = inspect.signature(QuestionAnsweringPipeline._sanitize_parameters).parameters
        for name in others:
            names = valid.keys() - {"self", "others"}
            raise TypeError(f"question-answering: {unknown('parameter', name, names)}")
        preprocess = {
            "padding": padding,
            "doc_stride": doc_stride,
            "max_question_len": max_question_len,
            "max_seq_len": max_seq_len,
        }
        postprocess = {
            "top_k": topk if top_k is None else top_k,
            "max_answer_len": max_answer_len,
            "handle_impossible_answer": handle_impossible_answer,
            "align_to_words": align_to_words,
        }
        for name in ("top_k", "max_answer_len"):
            value = postprocess[name]
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {shown(value)}")
        return _given(preprocess), {}, _given(postprocess)

    def __call__(self, *args: Any, question: Any = None, context: Any = None, **kwargs: Any) -> Any:
        """Answer questions: see the class for the forms of input and the parameters."""
        examples = _examples(args, question, context)
        if isinstance(examples, list):
            if not examples:
                return []
            if len(examples) == 1:
                return super().__call__(examples[0], **kwargs)
        return super().__call__(examples, **kwargs)

    def preprocess(
        self,
        example: Any,
        padding: bool | str = "do_not_pad",
        doc_stride: int | None = None,
        max_question_len: int = 64,
        max_seq_len: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """One mapping per window: the model's inputs as (1, n) tensors, and what reads the answer.

        Raises TypeError and ValueError as the class says.
        """
        pair = _example(example)
        question, context = pair["question"], pair["context"]
        size = min(self.tokenizer.model_max_length, 384) if max_seq_len is None else max_seq_len
        stride = min(size // 2, 128) if doc_stride is None else doc_stride
        if not 0 <= stride <= size:
            raise ValueError(
                f"doc_stride must be from 0 to max_seq_len={size}, got {shown(stride)}"
            )
        if self.tokenizer.is_fast:
            windows = self._windows(question, context, padding, size, stride)
        else:
            windows = self._python_windows(question, context, max_question_len, size, stride)
        for i, (features, reading) in enumerate(windows):
            yield {
                # One context is enough: postprocess has all windows of it together.
                "example": {"context": context if i == 0 else None, **reading},
                "is_last": i == len(windows) - 1,
                **{name: torch.tensor([ids]) for name, ids in features.items()},
            }

    def _windows(
        self, question: str, context: str, padding: bool | str, size: int, stride: int
    ) -> list[Window]:
        context_last = self.tokenizer.padding_side == "right"
        try:
            with contained:
                encoded = self.tokenizer(
                    *((question, context) if context_last else (context, question)),
                    padding=padding,
                    truncation="only_second" if context_last else "only_first",
                    max_length=size,
                    stride=stride,
                    return_token_type_ids="token_type_ids" in self._features,
                    return_overflowing_tokens=True,
                    return_offsets_mapping=True,
                )
        except Exception as error:
            if not isinstance(error, PanicError) and "Truncation" not in str(error):
                raise
            raise ValueError(
                f"the question {question[:80]!r} leaves no room for windows of the context: "
                f"max_seq_len={size} must exceed its tokens by more than doc_stride={stride}"
            ) from error
        windows = []
        for i, encoding in enumerate(encoded.encodings):
            features = {name: encoded[name][i] for name in self._features}
            sequences = np.array([-1 if s is None else s for s in encoding.sequence_ids])
            characters = np.array(encoding.offsets, dtype=np.int32)
            # Left-padding models were given every token to answer with: so they still are.
            allowed = sequences == 1 if context_last else np.ones(len(sequences), bool)
            # Models that know unanswerable questions answer them with this token.
            allowed |= np.array(features["input_ids"]) == self.tokenizer.cls_token_id
            allowed &= np.array(features.get("attention_mask", 1)) == 1
            words = word_spans(encoding.word_ids, sequences == int(context_last), characters)
            reading = {"allowed": allowed, "characters": characters, "words": words}
            windows.append((features, reading))
        return windows

    def _python_windows(
        self, question: str, context: str, max_question_len: int, size: int, stride: int
    ) -> list[Window]:
        """The windows of a tokenizer without offsets: its answers are whole words."""
        tokenizer = self.tokenizer
        if tokenizer.padding_side != "right":
            raise ValueError(f"{type(tokenizer).__name__} must pad on the right to be used here")
        query = tokenizer.encode(
            question, add_special_tokens=False, truncation=True, max_length=max_question_len
        )
        spans = [match.span() for match in _WORD.finditer(context)]
        pieces = [tokenizer.tokenize(context[start:end]) for start, end in spans]
        ids = tokenizer.convert_tokens_to_ids([piece for word in pieces for piece in word])
        room = size - len(query) - tokenizer.num_special_tokens_to_add(pair=True)
        if not ids:
            raise ValueError(f"context must hold a word, got {context[:80]!r}")
        if room < 1 or stride < 1:
            raise ValueError(
                f"the question {question[:80]!r} leaves no room for windows of the context: "
                f"max_seq_len={size}, doc_stride={stride}"
            )
        starts = [start for start, _ in spans]
        # Here a word goes on, and its span with it, to the character before the next word.
        ends = [start - 1 for start in [*starts[1:], len(context)]]
        words = np.array([starts, ends], dtype=np.int32).T
        words = words.repeat([len(word) for word in pieces], axis=0)
        last = min(max(len(ids) - room, 0) + stride, len(ids))
        return [
            self._python_window(query, ids[start : start + room], words[start : start + room])
            for start in range(0, last, stride)
        ]

    def _python_window(self, query: list[int], part: list[int], words: Spans) -> Window:
        tokenizer = self.tokenizer
        ids = tokenizer.build_inputs_with_special_tokens(query, part)
        # The special tokens between question and context are those that a first part gains.
        first = len(tokenizer.build_inputs_with_special_tokens(query, [])) - 1
        made = {
            "input_ids": ids,
            "attention_mask": [1] * len(ids),
            "token_type_ids": tokenizer.create_token_type_ids_from_sequences(query, part),
        }
        spans = np.full((len(ids), 2), -1, dtype=np.int32)
        spans[first : first + len(part)] = words
        special = tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
        allowed = (spans[:, 0] >= 0) & (np.array(special) == 0)
        allowed[ids.index(tokenizer.cls_token_id)] = True
        reading = {"allowed": allowed, "characters": spans, "words": spans}
        return {name: made[name] for name in self._features}, reading

    def _forward(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        features = {name: inputs[name] for name in self._features}
        output = self.model(**features, **self._options)
        named = isinstance(output, Mapping)
        start, end = (output["start_logits"], output["end_logits"]) if named else output[:2]
        others = {name: value for name, value in inputs.items() if name not in features}
        return {"start": start, "end": end, **others}

    def postprocess(
        self,
        model_outputs: list[dict[str, Any]],
        top_k: int = 1,
        handle_impossible_answer: bool = False,
        max_answer_len: int = 15,
        align_to_words: bool = True,
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """The best answer, or a list of several or of none, from all windows of one context.

        Raises ValueError for logits that are not finite.
        """
        context = model_outputs[0]["example"]["context"]
        # Several tokens are of one word, and their spans become the same answer.
        count = top_k * 2 + 10 if align_to_words else top_k
        answers = Answers(context, whole_words=not self.tokenizer.is_fast)
        impossible = 1_000_000.0
        for output in model_outputs:
            window = output["example"]
            start = self._probabilities(output["start"], window["allowed"])
            end = self._probabilities(output["end"], window["allowed"])
            impossible = min(impossible, float(start[0] * end[0]))
            start[0] = end[0] = 0.0
            best = best_spans(start, end, window["allowed"], count, max_answer_len)
            for first, last, score in zip(*best, strict=True):
                words = window["words"]
                aligned = align_to_words and words[first, 0] >= 0 and words[last, 0] >= 0
                spans = words if aligned else window["characters"]
                answers.add(int(spans[first, 0]), int(spans[last, 1]), float(score))
        found = answers.found
        if handle_impossible_answer:
            found.append({"score": impossible, "start": 0, "end": 0, "answer": ""})
        found = sorted(found, key=lambda answer: answer["score"], reverse=True)[:top_k]
        return found[0] if len(found) == 1 else found

    def _probabilities(self, logits: Any, allowed: Bools) -> Floats:
        """Softmax over a window's own tokens (n,) of logits (1, n or more if it was padded)."""
        numbers = torch.as_tensor(logits)[0]
        if numbers.dtype in (torch.float16, torch.bfloat16):
            numbers = numbers.float()  # bfloat16 is unknown to NumPy, float16 too coarse to add up
        right = self.tokenizer.padding_side == "right"
        numbers = numbers[: len(allowed)] if right else numbers[-len(allowed) :]
        masked = np.where(allowed, numbers.numpy(), -10000.0)
        if not np.isfinite(masked.max()):
            raise ValueError("the model gave logits that are no finite numbers")
        shares = np.exp(masked - masked.max())
        probabilities: Floats = shares / shares.sum()
        return probabilities


class Answers:
    """The answers of one context, equal texts added up.

    `whole_words`: spans end at the last character of a word (and of the space behind it) rather
    than after it, and equal texts stay apart: so it was with tokenizers written in Python.
    """

    def __init__(self, context: str, whole_words: bool) -> None:
        self.found: list[dict[str, Any]] = []
        self._context = context
        self._whole_words = whole_words
        self._by_text: dict[str, dict[str, Any]] = {}

    def add(self, start: int, end: int, score: float) -> None:
        """Count one span in."""
        if self._whole_words:
            if start >= 0:  # not the special token of unanswerable questions
                text = " ".join(_WORD.findall(self._context[start : end + 1]))
                self.found.append({"score": score, "start": start, "end": end, "answer": text})
            return
        text = self._context[start:end]
        known = self._by_text.setdefault(text.lower(), {"score": 0.0})
        known["score"] += score
        if len(known) == 1:
            known.update(start=start, end=end, answer=text)
            self.found.append(known)


def best_spans(
    start: Floats, end: Floats, allowed: Bools, count: int, max_answer_len: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The most probable of all spans of at most `max_answer_len` tokens, best first.

    start, end: (n,) probabilities that an answer begins, ends at a token. Returns the first
    tokens, the last tokens and the scores of at most `count` spans between allowed tokens.
    """
    size = len(start)
    width = min(max_answer_len, size)
    # Only the band of the (n, n) products that holds such spans: row i, column j is i to i + j.
    ends = sliding_window_view(np.pad(end, (0, width - 1)), width)
    scores = start[:, None] * ends
    if count > 1 and np.count_nonzero(scores) < count:
        # Spans without probability fill up the answers: which ones, the whole table decides.
        width = size
        scores = np.tril(np.triu(np.outer(start, end)), max_answer_len - 1)
        chosen = largest(scores.ravel(), count)
        firsts, lasts = chosen // size, chosen % size
    else:
        chosen = largest(scores.ravel(), count)
        firsts, lasts = chosen // width, chosen // width + chosen % width
    possible = allowed.copy()
    possible[0] = True
    kept = possible[firsts] & possible[lasts]
    return firsts[kept], lasts[kept], scores.ravel()[chosen][kept]


def largest(values: Floats, count: int) -> NDArray[np.intp]:
    """Positions of the `count` largest values (n,), descending; all of them if n is less."""
    if count == 1:
        return np.array([np.argmax(values)])
    if len(values) <= count:
        return np.argsort(-values)
    chosen: NDArray[np.intp] = np.argpartition(-values, count)[:count]
    return chosen[np.argsort(-values[chosen])]


def word_spans(word_ids: Iterable[int | None], inside: Bools, characters: Spans) -> Spans:
    """For each token the characters of its word: (n, 2), -1 where there is no word.

    word_ids: the number of each token's word; inside: (n,) which tokens are of the context;
    characters: (n, 2) the span of each token.
    """
    words = np.array([-1 if word is None else word for word in word_ids])
    # The last row is for tokens without a word, which the number -1 finds.
    spans = np.full((words.max() + 2, 2), -1, dtype=np.int32)
    tokens = np.flatnonzero(inside & (words >= 0))
    # Of several assignments to one row the last one stays: a word's first token, its last token.
    spans[words[tokens[::-1]], 0] = characters[tokens[::-1], 0]
    spans[words[tokens], 1] = characters[tokens, 1]
    found: Spans = spans[words]
    return found


def _feature_names(tokenizer: Any, accepted: Container[str]) -> list[str]:
    """The inputs that transformers 4.57 gave a model whose `forward` has these parameters."""
    name = "token_type_ids"
    names = [feature for feature in tokenizer.model_input_names if feature != name]
    # What the repository itself lists is meant.
    listed = "model_input_names" in tokenizer.init_kwargs
    segmented = not listed and _SEGMENTED.fullmatch(type(tokenizer).__name__)
    given = name in accepted and (segmented or name in tokenizer.model_input_names)
    return [*names, name] if given else names


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _examples(args: tuple[Any, ...], question: Any, context: Any) -> Any:
    """A list of examples; a generator or dataset as it is, for its elements are checked later."""
    if args and (question is not None or context is not None):
        raise TypeError(f"the input must be one of {_FORMS}, not two of them")
    if not args:
        return _pairs(question, context)
    if len(args) == 2 and isinstance(args[0], str) and isinstance(args[1], str):
        return _pairs(*args)
    inputs = args[0] if len(args) == 1 else args
    if isinstance(inputs, GeneratorType | Dataset):
        return inputs
    if isinstance(inputs, Mapping) and {"question", "context"} <= inputs.keys():
        return _pairs(inputs["question"], inputs["context"])
    return [_example(item) for item in (inputs if isinstance(inputs, list | tuple) else [inputs])]


def _pairs(question: Any, context: Any) -> list[dict[str, str]]:
    """Questions about one context, or each about its own."""
    questions = question if isinstance(question, list) else [question]
    contexts = context if isinstance(context, list) else [context] * len(questions)
    if len(questions) != len(contexts):
        raise ValueError(
            f"there must be as many questions as contexts, got {len(questions)} and {len(contexts)}"
        )
    return [
        _example({"question": one, "context": other})
        for one, other in zip(questions, contexts, strict=True)
    ]


def _example(item: Any) -> dict[str, str]:
    """A question and its context, checked; an object like transformers' SquadExample has both."""
    if not isinstance(item, Mapping) and hasattr(item, "question_text"):
        item = {"question": item.question_text, "context": item.context_text}
    if not isinstance(item, Mapping):
        raise TypeError(f"the input must be one of {_FORMS}, got {item!r:.80}")
    for name in ("question", "context"):
        value = item.get(name)
        if value is None:
            raise ValueError(f"the {name} is missing: the input must be one of {_FORMS}")
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, got {shown(value)}")
        if not value:
            raise ValueError(f"{name} must not be empty")
    return {"question": item["question"], "context": item["context"]}
