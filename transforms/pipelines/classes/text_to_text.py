"""The pipelines that transformers 5 dropped, with the answers of transformers 4.57."""

from __future__ import annotations

import functools
import inspect
import logging
import warnings
from collections.abc import Mapping
from typing import Any

from transformers import GenerationConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
from transformers.pipelines.base import Pipeline

from ...options.shown import shown
from ...options.suggest import unknown
from ...tasks.task import generation_keywords
from .question_answering import QuestionAnsweringPipeline

__all__ = [
    "QuestionAnsweringPipeline",
    "SummarizationPipeline",
    "Text2TextGenerationPipeline",
    "TranslationPipeline",
]

logger = logging.getLogger(__name__)

#: What was generated with unless something below says otherwise.
DEFAULTS = {"max_new_tokens": 256, "num_beams": 4}


class GeneratingPipeline(Pipeline):  # type: ignore[misc]
    """A pipeline of 4.57 that generates: which parameters were in force."""

    _pipeline_calls_generate = True
    _load_processor = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    def _set_generation(
        self, given: dict[str, Any], specific: dict[str, Any], defaults: Mapping[str, Any]
    ) -> None:
        """Find the parameters in force where a call gives none: see `_in_force`."""
        if self.model.can_generate() and "generation_config" not in given:
            given = _in_force(self.model.generation_config, given, specific, defaults)
            if given.get("pad_token_id") is None:
                given["pad_token_id"] = self.tokenizer.pad_token_id
        self._generate_kwargs = given

    def _prepare_generate_kwargs(
        self, generate_kwargs: Mapping[str, Any], **overrides: Any
    ) -> dict[str, Any]:
        """The keywords of `generate` for a call's: the pipeline's, then the call's."""
        own = {} if "generation_config" in generate_kwargs else self._generate_kwargs
        return {**own, **generate_kwargs, **overrides}

    def _get_set_generation_params(self, generate_kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """All generation parameters in force with these keywords of `generate`."""
        configs = (self.model.generation_config, generate_kwargs.get("generation_config"))
        found: dict[str, Any] = {}
        for config in configs:
            found |= {} if config is None else config.to_diff_dict()
        return {**found, **generate_kwargs}


class Text2TextGenerationPipeline(GeneratingPipeline):
    """Generates a text from a text with an encoder-decoder model.

    ```python
    generate = Text2TextGenerationPipeline(model=model, tokenizer=tokenizer)
    generate("question: What is 42? context: 42 is the answer.", num_beams=2)
    # [{"generated_text": "the answer"}]
    ```

    A string is answered with a list of `num_return_sequences` mappings; a list of strings with
    a list of such lists, or of the mappings alone where each list has only one.

    Args of a call (with their defaults):
      truncation: the tokenizer's (False).
      return_tensors: token ids, (length,) int64, in place of the text (False).
      return_text: accepted; only `return_tensors` decides.
      clean_up_tokenization_spaces: remove spaces before punctuation (False).
      stop_sequence: text whose first token ends an answer (none).
      Any parameter of `model.generate`. They outrank, in this order: `task_specific_params` of
      the model's configuration; parameters given to the constructor; 256 new tokens (unless one
      of the former or the model sets `max_length`) and 4 beams; the model's own parameters. A
      call's `generation_config` replaces all of these but the model's. `max_length` in a call
      yields to those 256 new tokens: give `max_new_tokens`.

    Raises:
      TypeError: an unknown parameter, or an input that is no string.
      ValueError: a stop_sequence without tokens.

    """

    _load_tokenizer = True

    #: The name of the task where the constructor is told none.
    default_task = "text2text-generation"
    #: An answer's key is this and "_text" or "_token_ids".
    return_name = "generated"

    def __init__(self, model: Any, *args: Any, task: str = "", **kwargs: Any) -> None:
        if not model.can_generate():
            raise ValueError(f"model must generate text, got {type(model).__name__}")
        if kwargs.get("assistant_model") is not None:
            raise TypeError("assistant_model must be given to a call, not to the constructor")
        given = {name: kwargs.pop(name) for name in generation_keywords() & kwargs.keys()}
        # Without a task: with one, some versions take the prefix out of the model's configuration.
        super().__init__(model, *args, task="", **kwargs)
        self.check_model_type(MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)
        specific = getattr(model.config, "task_specific_params", None) or {}
        # transformers' factory refuses the dropped names: it may have been told another.
        known = task if task.startswith(self.default_task) else self.default_task
        self.task = self._chosen_task(known, specific)
        parameters = dict(specific.get(self.task) or {})
        prefix = getattr(model.config, "prefix", None)
        self.prefix = parameters.pop("prefix", prefix) or ""
        self._set_generation(given, parameters, DEFAULTS)

    def _chosen_task(self, task: str, specific: Mapping[str, Any]) -> str:
        """The task whose `task_specific_params` are meant."""
        return task

    def _sanitize_parameters(
        self,
        *,
        return_tensors: bool | None = None,
        return_text: bool | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        truncation: bool | str | None = None,
        stop_sequence: str | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        self._check_names(generate_kwargs)
        preprocess = {} if truncation is None else {"truncation": truncation}
        postprocess = {}
        if return_tensors is not None:
            postprocess["return_tensors"] = return_tensors
        if clean_up_tokenization_spaces is not None:
            postprocess["clean_up_tokenization_spaces"] = clean_up_tokenization_spaces
        if stop_sequence is not None:
            generate_kwargs["eos_token_id"] = self._first_token(stop_sequence)
        return preprocess, generate_kwargs, postprocess

    def _check_names(self, generate_kwargs: Mapping[str, Any]) -> None:
        valid = generation_keywords() | inspect.signature(self.model.generate).parameters.keys()
        valid |= inspect.signature(self.model.forward).parameters.keys()
        valid |= vars(self.model.generation_config).keys()
        own = inspect.signature(self._sanitize_parameters).parameters.keys()
        for name in generate_kwargs:
            if name not in valid:
                names = generation_keywords() | own - {"generate_kwargs"}
                raise TypeError(f"{self.task}: {unknown('parameter', name, names)}")

    def _first_token(self, stop_sequence: str) -> int:
        tokens = self.tokenizer.encode(stop_sequence, add_special_tokens=False)
        if not tokens:
            raise ValueError(f"stop_sequence must have a token, got {shown(stop_sequence)}")
        if len(tokens) > 1:
            warnings.warn(
                f"generation stops at the first token of stop_sequence={shown(stop_sequence)}, "
                f"{self.tokenizer.decode(tokens[:1])!r}, for it has {len(tokens)}",
                stacklevel=2,
            )
        first: int = tokens[0]
        return first

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Generate from one text or several: see the class for the parameters."""
        if isinstance(inputs, list) and not inputs:
            return []
        results = super().__call__(inputs, **kwargs)
        if isinstance(inputs, list) and all(len(result) == 1 for result in results):
            return [result[0] for result in results]
        return results

    def preprocess(self, inputs: str, truncation: bool | str = False) -> Any:
        """The tokenizer's encoding of prefix and text, (1, length) tensors."""
        _check_text(inputs)
        encoded = self.tokenizer(self.prefix + inputs, truncation=truncation, return_tensors="pt")
        encoded.pop("token_type_ids", None)  # generate() refuses them
        return encoded

    def _forward(self, model_inputs: Mapping[str, Any], **generate_kwargs: Any) -> dict[str, Any]:
        """Generate for the rows of (batch, length) inputs; ids are (batch, sequences, length)."""
        inputs = dict(model_inputs)
        # A number of the call, the same in every row: of a joined batch it comes as a list.
        if isinstance(first := inputs.get("forced_bos_token_id"), list):
            inputs["forced_bos_token_id"] = first[0]
        output = self.model.generate(**{**inputs, **self._prepare_generate_kwargs(generate_kwargs)})
        ids = getattr(output, "sequences", output)
        rows = len(inputs["input_ids"])
        return {"output_ids": ids.reshape(rows, len(ids) // rows, -1)}

    def postprocess(
        self,
        model_outputs: Mapping[str, Any],
        return_tensors: bool = False,
        clean_up_tokenization_spaces: bool = False,
    ) -> list[dict[str, Any]]:
        """One mapping for each of the sequences (1, sequences, length) of an input."""
        sequences = model_outputs["output_ids"][0]
        if return_tensors:
            return [{f"{self.return_name}_token_ids": ids} for ids in sequences]
        texts = [
            self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for ids in sequences
        ]
        if clean_up_tokenization_spaces:
            # Not by decode(), which in transformers 5 leaves the text of BPE tokenizers as it is.
            texts = [self.tokenizer.clean_up_tokenization(text) for text in texts]
        return [{f"{self.return_name}_text": text} for text in texts]


class SummarizationPipeline(Text2TextGenerationPipeline):
    """Summarizes a text. Answers have `summary_text`; else as Text2TextGenerationPipeline."""

    default_task = "summarization"
    return_name = "summary"


class TranslationPipeline(Text2TextGenerationPipeline):
    """Translates a text. Answers have `translation_text`; else as Text2TextGenerationPipeline.

    The task may name the languages (`translation_en_to_fr`). Where it is only "translation", the
    first of the model's `task_specific_params` that translates is taken.

    More args of a call:
      src_lang, tgt_lang: codes of the languages as the model's tokenizer has them; for models of
        many languages (the task's).

    Raises:
      ValueError: a language that the tokenizer does not know, or none where it needs one.

    """

    default_task = "translation"
    return_name = "translation"

    def _chosen_task(self, task: str, specific: Mapping[str, Any]) -> str:
        if task != "translation":
            return task
        found: str = next((name for name in specific if name.startswith("translation")), task)
        if found != task:
            logger.warning("translation: the model's task %r is taken", found)
        return found

    def _sanitize_parameters(
        self, *, src_lang: str | None = None, tgt_lang: str | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess, forward, postprocess = super()._sanitize_parameters(**kwargs)
        languages = {"src_lang": src_lang, "tgt_lang": tgt_lang}
        preprocess |= {name: code for name, code in languages.items() if code is not None}
        if src_lang is not None and tgt_lang is not None:
            self.preprocess("a", src_lang=src_lang, tgt_lang=tgt_lang)  # raises for an unknown one
        return preprocess, forward, postprocess

    def preprocess(
        self,
        inputs: str,
        truncation: bool | str = False,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
    ) -> Any:
        """The tokenizer's encoding, (1, length) tensors; `forced_bos_token_id` is a number."""
        tokenizer = self.tokenizer
        if not hasattr(tokenizer, "_build_translation_inputs"):
            return super().preprocess(inputs, truncation)
        _check_text(inputs)
        words = self.task.split("_")
        if src_lang is None and tgt_lang is None and len(words) == 4:
            src_lang, tgt_lang = words[1], words[3]
        encoded = tokenizer._build_translation_inputs(
            inputs, return_tensors="pt", truncation=truncation, src_lang=src_lang, tgt_lang=tgt_lang
        )
        target = encoded.get("forced_bos_token_id")
        self._check_language("src_lang", src_lang, getattr(tokenizer, "cur_lang_code", None))
        self._check_language("tgt_lang", tgt_lang, target)
        return encoded

    def _check_language(self, name: str, code: str | None, token: int | None) -> None:
        """Refuse a code that the tokenizer took for a piece of text, or for nothing it knows."""
        # Tokenizers written in Python refuse it themselves.
        if token is not None and self.tokenizer.is_fast and token not in self._added:
            raise ValueError(f"{name} must be a language of the tokenizer, got {code!r}")

    @functools.cached_property
    def _added(self) -> frozenset[int]:
        # The unknown token is one, too: it is what an unknown language becomes.
        return frozenset(self.tokenizer.added_tokens_decoder) - {self.tokenizer.unk_token_id}


def _check_text(inputs: Any) -> None:
    if not isinstance(inputs, str):
        raise TypeError(f"the input must be a string, got {inputs!r:.80}")


def _in_force(
    config: GenerationConfig,
    given: dict[str, Any],
    specific: dict[str, Any],
    standard: Mapping[str, Any],
) -> dict[str, Any]:
    """The generation parameters of a pipeline, as transformers 4.57 found them.

    config: the model's; given: the constructor's; specific: those of `task_specific_params`;
    standard: the pipeline class's.
    """
    defaults = GenerationConfig._get_default_generation_params()

    def plain(name: str, value: Any) -> bool:
        return value is None or value == defaults.get(name)

    own = {name: value for name, value in vars(config).items() if not name.startswith("_")}
    version = own.pop("transformers_version", None)
    found = {name: value for name, value in own.items() if not plain(name, value)}
    found |= {**standard, **given}
    chosen = not plain("max_length", found.get("max_length"))
    if chosen and found["max_new_tokens"] == standard["max_new_tokens"]:
        found["max_new_tokens"] = None  # a chosen length goes before the default
    found |= {name: value for name, value in specific.items() if name in vars(config)}
    # Of a model saved by 4.50 or later, parameters came back where the pipeline's were plain.
    recent = version is None or tuple(map(int, version.split(".")[:2])) >= (4, 50)
    if recent or config._from_model_config:
        found = {name: value for name, value in found.items() if not plain(name, value)}
    return found
