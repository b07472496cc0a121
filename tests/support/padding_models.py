"""Tiny models of any text type, and how far a batch moves their answers from those alone."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers.models.auto import modeling_auto

from support.models.text import fill
from transforms.batching.padding import Way
from transforms.batching.program import Program
from transforms.batching.replica import _drop_unread_outputs
from transforms.options.spec import ModelSpec
from transforms.pipelines.custom import class_of, task_of
from transforms.pipelines.split_call import Features, sanitized

SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
VOCABULARY = [*SPECIAL.values(), "<mask>", *(f"w{i}" for i in range(60))]
#: The newest transformers that these types were looked up in.
NEWEST = "5.24.0"
#: The words of the texts in a batch: one beside many, and no multiples of windows and buckets.
LENGTHS = (1, 29, 3, 14)

#: Options of configurations under all the names that they have.
_SIZES: Mapping[int, str] = {
    len(VOCABULARY): "vocab_size",
    0: "pad_token_id",
    1: "bos_token_id n_group topk_group n_shared_experts first_k_dense_replace",
    2: "eos_token_id decoder_start_token_id type_vocab_size num_hidden_layers num_layers n_layer "
    "n_layers encoder_layers decoder_layers num_decoder_layers num_key_value_heads num_kv_heads "
    "num_experts_per_tok",
    4: "num_attention_heads num_heads n_head n_heads encoder_attention_heads "
    "decoder_attention_heads rotary_dim num_experts num_local_experts n_routed_experts",
    8: "head_dim d_kv sliding_window window_size local_attention relative_attention_num_buckets "
    "qk_rope_head_dim qk_nope_head_dim v_head_dim",
    16: "q_lora_rank kv_lora_rank",
    32: "hidden_size d_model n_embd dim emb_dim embedding_size word_embed_proj_dim",
    64: "intermediate_size d_ff ffn_dim ffn_hidden_size n_inner hidden_dim encoder_ffn_dim "
    "decoder_ffn_dim moe_intermediate_size shared_expert_intermediate_size "
    "max_position_embeddings n_positions n_ctx max_seq_len",
}
_TINY = {name: size for size, names in _SIZES.items() for name in names.split()}

#: What a type needs beside them.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "luke": {"entity_vocab_size": 9, "entity_emb_size": 8},
    # Its classes know no other padding and no fewer buckets, whatever the configuration says.
    "mpnet": {"pad_token_id": 1, "relative_attention_num_buckets": 32},
    "splinter": {"question_token_id": VOCABULARY.index("w0")},
    **{name: {"decoder_start_token_id": 0} for name in ("t5", "mt5", "umt5")},
}
#: Types that compute in single precision, or overflow in double.
# fmt: off
SINGLE = frozenset(
    {
        "bloom", "ernie4_5_moe", "gemma2", "glm4_moe", "gpt_oss", "granitemoe",
        "granitemoeshared", "mixtral", "olmoe", "phimoe", "qwen2_moe", "qwen3_moe",
        "splinter",
    }
)
# fmt: on
#: The token that stands for a part of a picture.
_IMAGE = VOCABULARY.index("<mask>")
#: Generation settings of a type's own that look at the tokens of prompts, or end texts early.
_UNSET = (
    "forced_bos_token_id forced_eos_token_id suppress_tokens begin_suppress_tokens num_beams "
    "no_repeat_ngram_size encoder_no_repeat_ngram_size min_length max_length"
)
_GREEDY = {"do_sample": False, "max_new_tokens": 4}


@dataclass(frozen=True)
class Head:
    """A model with a head, as a task calls it."""

    auto: str
    task: str
    names: Mapping[str, Any]
    way: Way = "forward"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def types(self) -> set[str]:
        """The model types that have it in the installed transformers."""
        return {name for name in self.names if name in transformers.CONFIG_MAPPING}


def _heads() -> Iterator[Head]:
    def names(kind: str) -> Any:
        return getattr(modeling_auto, f"MODEL{kind and '_FOR_'}{kind}_MAPPING_NAMES")

    sequences, tokens = names("SEQUENCE_CLASSIFICATION"), names("TOKEN_CLASSIFICATION")
    yield Head("", "feature-extraction", names(""))
    yield Head("CausalLM", "text-generation", names("CAUSAL_LM"), "prompts", _GREEDY)
    yield Head(
        "Seq2SeqLM", "text2text-generation", names("SEQ_TO_SEQ_CAUSAL_LM"), "sources", _GREEDY
    )
    yield Head("SequenceClassification", "text-classification", sequences)
    yield Head("TokenClassification", "token-classification", tokens)
    yield Head("MaskedLM", "fill-mask", names("MASKED_LM"))
    yield Head("QuestionAnswering", "question-answering", names("QUESTION_ANSWERING"))


HEADS = {head.auto or "Model": head for head in _heads()}


def config_of(model_type: str, **options: Any) -> Any:
    """The configuration of a tiny model of that type."""
    known = transformers.AutoConfig.for_model(model_type)
    tiny = {name: value for name, value in _TINY.items() if _settable(known, name)}
    tiny |= _OPTIONS.get(model_type, {})
    return transformers.AutoConfig.for_model(model_type, **{**tiny, **options})


def _settable(config: Any, name: str) -> bool:
    name = type(config).attribute_map.get(name, name)
    return hasattr(config, name) and not isinstance(getattr(type(config), name, None), property)


def model_of(auto: str, config: Any, **keywords: Any) -> Any:
    """A model with spread weights. In double precision differences are no noise."""
    cls = getattr(transformers, f"AutoModel{auto and 'For'}{auto}")
    with torch.random.fork_rng(devices=[]):
        model = cls.from_config(config, **keywords)
    fill(model, f"{config.model_type}-{auto}", {})
    settings = model.generation_config if model.can_generate() else None
    if settings is not None:
        settings.update(**dict.fromkeys(_UNSET.split()))
        for name in ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"):
            setattr(settings, name, _OPTIONS.get(config.model_type, {}).get(name, _TINY[name]))
    return (model if config.model_type in SINGLE else model.double()).eval()


def tokenizer_of(model: Any, side: str = "right") -> Any:
    """Every word is a token; the end of a text is another, of another type."""
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(VOCABULARY)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>:1", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 2)]
    )
    accepted = inspect.signature(model.forward).parameters
    names = ["input_ids", "attention_mask", "token_type_ids"]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side=side,
        model_max_length=64,
        model_input_names=[name for name in names if name in accepted],
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
        **SPECIAL,
    )


def program_of(model: Any, task: str, parameters: Mapping[str, Any], side: str = "right") -> Any:
    """The project's call of a model, and the pipeline in it."""
    spec = ModelSpec(task=task, source="tiny", device="cpu")
    tokenizer = tokenizer_of(model, side)
    pipe = class_of(spec)(model=model, tokenizer=tokenizer, task=task, device="cpu")
    _drop_unread_outputs(pipe, task_of(spec).outputs)
    return Program(pipe, spec, parameters), pipe


@functools.cache
def texts(seed: int = 3) -> list[str]:
    """Random words, LENGTHS of them."""
    choice = random.Random(seed).choice
    return [" ".join(choice(VOCABULARY[5:]) for _ in range(n)) for n in LENGTHS]


def chunks_of(pipe: Any, parameters: Mapping[str, Any]) -> list[Features]:
    """The features of all texts as the pipeline makes them."""
    keywords = {**pipe._preprocess_params, **sanitized(pipe, parameters)[0]}
    chunks: list[Features] = []
    for text in texts():
        asked: Any = f"{text} <mask>" if pipe.task == "fill-mask" else text
        if pipe.task == "question-answering":
            asked = {"question": "w1 w0", "context": text}
        found = pipe.preprocess(asked, **copy.deepcopy(keywords))
        chunks += [found] if isinstance(found, Mapping) else list(found)
    return chunks


def difference(head: Head, model: Any, side: str = "right", **parameters: Any) -> float:
    """How far a batch moves what the model says of texts, of the largest number it says."""
    parameters = {**head.parameters, **parameters}
    program, pipe = program_of(model, head.task, parameters, side)
    chunks = [_with_more(model, chunk) for chunk in chunks_of(pipe, parameters)]
    scored = model if head.way == "prompts" and "num_beams" not in parameters else None
    return moved(program, chunks, "left" if head.way == "prompts" else "right", scored)


def moved(program: Program, chunks: list[Features], padded: str, scored: Any = None) -> float:
    """How far a batch, padded on that side, moves the outputs of a program.

    scored: the model that generates, where the scores of its steps are to be compared, too.
    """
    assert program._padding.side == padded, program._padding
    scores: list[Any] = []
    if scored is not None:
        scored.register_forward_hook(lambda *args: scores.append(args[-1].logits[:, -1]))
    alone, steps = [], []
    for chunk in chunks:
        alone += program.run([copy.deepcopy(chunk)])
        steps.append(scores[:])
        scores.clear()
    together = program.run(copy.deepcopy(chunks))
    assert program._padding.side == padded, "its outputs could not be told apart"
    # Texts may end alone while others go on, or go on alike by chance: all scores are compared.
    steps_moved = [
        _moved(one[0], all_rows[row])
        for row, own in enumerate(steps)
        for one, all_rows in zip(own, scores, strict=False)
    ]
    return max(_moved(alone, together), *steps_moved, 0.0)


def seeing(text_type: str) -> tuple[Program, list[Features], Any]:
    """A LLaVA around that type of text model, and its features: one picture in every prompt."""
    text = config_of(text_type)
    vision = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=16,
    )
    config = transformers.LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=_IMAGE,
        vision_feature_layer=-1,
        pad_token_id=0,
    )
    model = model_of("ImageTextToText", config)
    tokenizer = tokenizer_of(model)
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        image_token="<mask>",
    )
    spec = ModelSpec(task="image-text-to-text", source="tiny", device="cpu")
    pipe = class_of(spec)(model=model, processor=processor, task=spec.task, device="cpu")
    pixels = torch.Generator().manual_seed(5)
    chunks = []
    for each in texts():
        encoded = tokenizer(f"{'<mask> ' * 4}{each}", return_tensors="pt")
        encoded["pixel_values"] = torch.randn(1, 3, 32, 32, generator=pixels).double()
        chunks.append({**encoded, "text": each})
    return Program(pipe, spec, {"generate_kwargs": _GREEDY}), chunks, model


def _with_more(model: Any, chunk: Features) -> Features:
    """The features, with those that the type's own tokenizer or processor adds."""
    ids = chunk["input_ids"]
    random_numbers = torch.Generator().manual_seed(ids.shape[1])
    if model.config.model_type == "layoutlm":
        chunk["bbox"] = torch.randint(0, 500, (*ids.shape, 4), generator=random_numbers)
        chunk["bbox"][..., 2:] += chunk["bbox"][..., :2]
    if model.config.model_type == "tapas":
        chunk["token_type_ids"] = torch.randint(0, 2, (*ids.shape, 7), generator=random_numbers)
    return chunk


def _moved(alone: Any, together: Any) -> float:
    if isinstance(alone, torch.Tensor):
        if alone.shape != together.shape:
            return math.inf
        if not alone.is_floating_point():
            return 0.0 if torch.equal(alone, together) else math.inf
        far = float((alone - together).abs().max() / alone.abs().max().clamp(min=1e-9))
        return math.inf if math.isnan(far) else far
    if isinstance(alone, Mapping):
        return max((_moved(value, together[name]) for name, value in alone.items()), default=0.0)
    if isinstance(alone, list | tuple):
        return max(map(_moved, alone, together), default=0.0)
    return 0.0
