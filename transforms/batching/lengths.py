"""How long inputs may be, and what is said of those that a model refuses for their length.

Models that look the position of a token, or the row of a cell, up in a table fail beyond its end;
others take any length. Those that read waveforms fail where there is less than one frame. The model
itself decides: what it answers is never refused here.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..engine.errors import breaks_engine, is_fatal, is_out_of_memory
from ..pipelines.generation import generates, generation_parameters
from ..pipelines.requests import KEY, Request
from ..pipelines.waveforms import samples_of_a_frame
from ..tasks.task import Task

#: What transformers' models call their tables of positions.
_TABLE = re.compile(
    r"(^|\.)(text_)?(position_embeddings?|positions_embed|position_embeds_layer|"
    r"pos_emb(eddings?|ed)?|wpe|embed_positions|encode_positions)$"
)
#: Those of something else than text.
_OTHER = re.compile(r"vision|visual|image|patch|video|audio|speech_|qformer")
#: Operations that pick rows of their first argument, which an accelerator checks only by an
#: assertion that ends its process.
_PICKS = (torch.gather, torch.Tensor.gather, torch.index_select, torch.Tensor.index_select)


#: The limit of a model without one.
_ANY = sys.maxsize


class TooLongError(ValueError):
    """A text or table is longer than the model takes. The model's own error is the cause."""


class TooShortError(ValueError):
    """A sound has fewer samples than the model takes. The model's own error is the cause."""


class Lengths:
    """The lengths that a loaded pipeline's model takes, with the keywords of its forward stage."""

    def __init__(
        self, pipe: Any, task: Task, forward: Mapping[str, Any], accelerated: bool
    ) -> None:
        self._task = task
        self._tokenizer = pipe.tokenizer
        self._accelerated = accelerated
        found = _limits(pipe.model)
        self._two_sided = bool(getattr(pipe.model.config, "is_encoder_decoder", False))
        #: Tokens of a text; of an answer, with the prompt where there is one.
        self._text = min((n for name, n in found.items() if not self._answers(name)), default=_ANY)
        self._whole = min((n for name, n in found.items() if self._answers(name)), default=_ANY)
        if not self._two_sided:
            self._whole = self._text
        self._new, self._in_all = _generated(pipe, forward) if found else (0, 0)
        config = getattr(pipe.model, "config", None)
        #: Numbers that the kinds of a token have, of which the second is its column, the third its
        #: row; none where tokens have one kind only.
        self._kinds: Sequence[int] = getattr(config, "type_vocab_sizes", None) or ()
        self._samples = _least_samples(config)
        self._rate = getattr(getattr(pipe, "feature_extractor", None), "sampling_rate", None)

    def _answers(self, name: str) -> bool:
        """Whether a table is for what an encoder-decoder model writes."""
        return self._two_sided and "decoder" in name

    @property
    def any_answer(self) -> bool:
        """Whether an answer may have any length, as far as the model's tables go."""
        return self._whole == _ANY

    def explained(self, error: Exception, features: Any) -> Exception:
        """The error of one chunk; if its length is why, one that says so."""
        if is_fatal(error) or is_out_of_memory(error) or breaks_engine(error):
            return error
        if not isinstance(error, IndexError | RuntimeError | ValueError | AssertionError):
            return error
        found = self._too_short(features) or self._too_large(features)
        return found or self._too_long(features, error) or error

    def guard(
        self, features: Any, requests: Sequence[Request] = ()
    ) -> contextlib.AbstractContextManager[Any]:
        """What to run the model in, so that a text that is too long fails as it does on a CPU.

        An accelerator would end the process, and with it the batches of everybody. `requests` are
        those of the rows that ask something for themselves.
        """
        if not self._accelerated:
            return contextlib.nullcontext()
        if error := self._too_large(features):  # one of the model's tables has no row for it
            raise IndexError(str(error))
        count = _count(features)
        too_long = count > self._text or self._longest(count, requests) > self._whole
        return CheckedIndices() if too_long else contextlib.nullcontext()

    def _too_short(self, features: Any) -> Exception | None:
        samples = _sample_count(features)
        if not 0 < samples < self._samples:
            return None
        what = "a chunk of the sound" if "stride" in features else "the sound"
        seconds = ""
        if isinstance(self._rate, int):
            seconds = f" ({self._samples / self._rate:.3g} seconds at {self._rate:,} Hz)"
        return TooShortError(
            f"{what} has {samples:,} samples, and the model takes {self._samples:,} at least"
            f"{seconds}: lengthen it, or leave it out"
        )

    def _too_large(self, features: Any) -> Exception | None:
        """What is wrong with a table of more rows or columns than the model has numbers for."""
        if not self._kinds or not isinstance(features, Mapping):
            return None
        kinds = features.get("token_type_ids")
        if not isinstance(kinds, torch.Tensor) or kinds.ndim != 3:
            return None
        for what, kind in (("rows", 2), ("columns", 1)):
            count, most = int(kinds[..., kind].max()), self._kinds[kind] - 1
            if count > most:
                return TooLongError(
                    f"the table has {count:,} {what}, and the model takes {most:,} at most: leave "
                    "some out"
                )
        return None

    def _too_long(self, features: Any, error: Exception) -> Exception | None:
        count = _count(features)
        if not count:
            return None
        if count > self._text:
            return TooLongError(
                f"the input has {count} tokens, and the model takes {self._text} at most: "
                f"{self._advice(self._text)}"
            )
        size = isinstance(error, IndexError) or "size" in str(error)
        request = features.get(KEY)
        longest = self._longest(count, [] if request is None else [request])
        if size and longest > self._whole:
            whose = "the answer" if self._two_sided else f"the input of {count} and its answer"
            return TooLongError(
                f"{whose} may have {longest} tokens, and the model takes "
                f"{self._whole} at most: max_new_tokens says how many are generated"
            )
        return None

    def _longest(self, count: int, requests: Sequence[Request]) -> int:
        """The tokens that an answer may have, with the prompt where there is one."""
        own = [each.parameters.get("max_new_tokens") or self._new for each in requests]
        new = max(own, default=self._new)
        if not new:
            return self._in_all
        return 1 + new if self._two_sided else count + new

    def _advice(self, limit: int) -> str:
        """How the task's parameters, or its tokenizer, cut a text."""
        knows = getattr(self._tokenizer, "model_max_length", limit + 1) <= limit
        names = self._task.parameters
        own = '{"truncation": True' + ("}" if knows else f', "max_length": {limit}}}')
        saved = "" if knows else f", with a tokenizer saved with model_max_length={limit},"
        if self._task.tokenizer_keywords:
            how = f"truncation=True{'' if knows else f', max_length={limit}'}"
        elif "tokenize_kwargs" in names and not knows:
            how = f"tokenize_kwargs={own}"
        elif "tokenizer_kwargs" in names and "candidate_labels" not in names:
            how = f"tokenizer_kwargs={own}"
        elif "max_seq_len" in names:
            how = f"max_seq_len={limit}"
        elif "sequential" in names:
            how = f'truncation="drop_rows_to_fit"{saved}'
        elif "truncation" in names:
            how = f"truncation=True{saved}"
        else:
            return f"shorten it, or save its tokenizer with model_max_length={limit}"
        return f"{how} cuts it"


class CheckedIndices(TorchFunctionMode):
    """Raises IndexError for an index beyond a table, as on a CPU, on any device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Check the indices, then do what is asked."""
        if func is torch.nn.functional.embedding and len(args) > 1:
            _check_indices(args[0], args[1].shape[0])
        elif func in _PICKS:
            _check_indices(*_picked(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def _picked(input: torch.Tensor, dim: int, index: torch.Tensor, **others: Any) -> Any:
    """The indices of a pick, and how many there are to pick from."""
    return index, input.shape[dim]


def _check_indices(indices: torch.Tensor, rows: int) -> None:
    if indices.numel() and int(indices.max()) >= rows:
        raise IndexError(f"index {int(indices.max())} is out of range: there are {rows}")


def _limits(model: Any) -> dict[str, int]:
    """The positions that each of a model's tables for text has, by the module's name."""
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "config"):
        return {}
    config: Any = model.config
    try:
        most = getattr(config.get_text_config(), "max_position_embeddings", None)
    except ValueError:  # it has several, of which the tables themselves know better
        most = None
    found: dict[str, int] = {}
    for name, module in model.named_modules():
        if not _TABLE.search(name) or _OTHER.search(name):
            continue
        rows = getattr(module, "num_embeddings", None) or getattr(module, "max_len", None)
        if not isinstance(rows, int):
            continue
        padding = getattr(module, "padding_idx", None)
        offset = getattr(module, "offset", 0 if padding is None else padding + 1)
        # Some tables have rows at the beginning that no position uses.
        found[name] = min(rows - offset, most) if isinstance(most, int) else rows - offset
    return found


def _count(features: Any) -> int:
    """The tokens of a chunk."""
    if not isinstance(features, Mapping):
        return 0
    ids = features.get("input_ids")
    if isinstance(ids, torch.Tensor) and ids.ndim:
        return ids.shape[-1]
    nested = features.get("model_inputs", features.get("text_inputs"))
    if isinstance(nested, list | tuple):  # zero-shot tasks have the labels' texts so
        return max(map(_count, nested), default=0)
    return _count(nested) if nested is not None else 0


def _sample_count(features: Any) -> int:
    """The samples of a waveform's chunk; 0 for anything else."""
    values = features.get("input_values") if isinstance(features, Mapping) else None
    return values.shape[-1] if isinstance(values, torch.Tensor) and values.ndim == 2 else 0


def _least_samples(config: Any) -> int:
    """The fewest samples that the model, or the part of it that hears, can read."""
    parts = (config, getattr(config, "encoder", None), getattr(config, "audio_config", None))
    return max(map(samples_of_a_frame, parts))


def _generated(pipe: Any, forward: Mapping[str, Any]) -> tuple[int, int]:
    """The most tokens that are generated for an input, or else with it; 0 where nothing says."""
    if not generates(pipe):
        return 0, 0
    asked = generation_parameters(pipe, forward)
    most = (asked.get("max_new_tokens"), asked.get("max_length"))
    new, in_all = (int(each) if isinstance(each, int | float) else 0 for each in most)
    return new, in_all
