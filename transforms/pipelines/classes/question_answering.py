"""Extractive question answering with the answers of transformers 4.57.

A context that is too long is read in overlapping windows, one chunk each. Everything that turns
token positions back into characters is computed beside the tokenizer and travels as two small
arrays; postprocess only compares numbers.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES
from transformers.pipelines.base import ChunkPipeline

from ...engine.errors import PanicError, contained
from ...options.shown import shown
from ...options.suggest import unknown
from .answer_spans import WORD, Answers, Bools, Floats, Spans, best_spans, word_spans
from .question_inputs import example_of, examples_of

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
        examples = examples_of(args, question, context)
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
        pair = example_of(example)
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
        spans = [match.span() for match in WORD.finditer(context)]
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
