"""Where texts are padded, a batch does not move what the model says of them: entry by entry.

Every type in the table, with every head that transformers has for it, answers random texts of
very different lengths alone and in one batch, as the project calls it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import transformers
from support import padding_models
from support.padding_models import (
    HEADS,
    chunks_of,
    config_of,
    difference,
    model_of,
    moved,
    program_of,
    seeing,
)

from transforms.batching.padding import PADS_EXACTLY, Padding

#: Of the largest number that the model says. What is wrong differs by more than a tenth.
TOLERANCE = 1e-4

#: Bare encoder-decoders to which a text alone is not enough: nothing to compare with.
UNANSWERED = {"mt5", "t5"}

#: Options with which a type computes in another way.
VARIANTS: Mapping[str, list[dict[str, Any]]] = {
    "deberta": [{"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}],
    "deberta-v2": [
        {
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "position_buckets": 8,
            "conv_kernel_size": 3,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
        }
    ],
    "esm": [{"position_embedding_type": "rotary"}, {"emb_layer_norm_before": True}],
    "falcon": [{"alibi": True}, {"new_decoder_architecture": True}],
    "gemma3_text": [
        {"layer_types": ["sliding_attention", "full_attention"]},
        {"use_bidirectional_attention": True},
    ],
    "gpt_bigcode": [{"multi_query": False}],
    "llama": [
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        }
    ],
    "modernbert": [
        {"classifier_pooling": "mean"},
        {"layer_types": ["sliding_attention", "full_attention"]},
    ],
    "nllb-moe": [{"encoder_sparse_step": 1, "decoder_sparse_step": 1}],
    "opt": [{"do_layer_norm_before": False, "word_embed_proj_dim": 16}],
    "qwen2": [{"use_sliding_window": True, "max_window_layers": 1}],
    "stablelm": [{"use_parallel_residual": True, "qk_layernorm": True}],
    "t5": [{"feed_forward_proj": "gated-gelu"}],
    "xlm": [{"sinusoidal_embeddings": True}],
    **{
        name: [{"is_decoder": True}]
        for name in ("bert", "bert-generation", "camembert", "electra", "roberta", "xlm-roberta")
    },
}


#: What padding does move, and would be caught at: position embeddings that count the padding
#: before a prompt, and layers that convolve, transform or pool over tokens.
MOVED = [
    ("bart", "CausalLM"),
    ("roformer", "CausalLM"),
    ("marian", "CausalLM"),
    ("convbert", "Model"),
    ("fnet", "Model"),
    ("nystromformer", "TokenClassification"),
    ("xlnet", "SequenceClassification"),
]

TRAINED = "original_max_position_embeddings"

QUICK = {"Model", "CausalLM", "Seq2SeqLM"}


def _answered(model_type: str, head: str) -> bool:
    return not (head == "Model" and model_type in UNANSWERED)


def _proofs() -> Iterator[Any]:
    """Every type in the table with every head; the heads that share a way and a body are slow."""
    for name, head in HEADS.items():
        for model_type in sorted(PADS_EXACTLY[head.way] & head.types):
            if not _answered(model_type, name):
                continue
            quick = name in QUICK or model_type in UNANSWERED
            yield pytest.param(model_type, name, marks=() if quick else pytest.mark.slow)


def _variants() -> Iterator[Any]:
    for model_type, variants in VARIANTS.items():
        for name, head in HEADS.items():
            if model_type in PADS_EXACTLY[head.way] & head.types and _answered(model_type, name):
                for options in variants:
                    marks = () if name == "CausalLM" else pytest.mark.slow
                    label = f"{model_type}-{name}-{next(iter(options))}"
                    yield pytest.param(model_type, name, options, marks=marks, id=label)


@pytest.mark.parametrize(("model_type", "head"), [*_proofs()])
def test_padding_moves_no_answer(model_type: str, head: str) -> None:
    model = model_of(HEADS[head].auto, config_of(model_type))
    assert difference(HEADS[head], model) < TOLERANCE


@pytest.mark.parametrize(("model_type", "head", "options"), [*_variants()])
def test_nor_with_the_options_of_a_type(
    model_type: str, head: str, options: dict[str, Any]
) -> None:
    model = model_of(HEADS[head].auto, config_of(model_type, **options))
    assert difference(HEADS[head], model) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "head"), [p for p in _proofs() if p.values[1] in QUICK])
def test_nor_with_attention_written_out(model_type: str, head: str) -> None:
    config = config_of(model_type)
    # In double precision the mask of this attention is no finite number.
    model = model_of(HEADS[head].auto, config, attn_implementation="eager").float()
    assert difference(HEADS[head], model) < 10 * TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "head"), [p for p in _proofs() if p.values[1] in {"CausalLM", "Seq2SeqLM"}]
)
def test_nor_with_beams(model_type: str, head: str) -> None:
    model = model_of(HEADS[head].auto, config_of(model_type))
    assert difference(HEADS[head], model, num_beams=2) < TOLERANCE


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("model_type", "head"),
    [
        ("llama", "TokenClassification"),
        ("bert", "TokenClassification"),
        ("llama", "SequenceClassification"),
        ("llama", "QuestionAnswering"),
        ("bert", "QuestionAnswering"),
    ],
)
def test_nor_does_the_side_of_the_tokenizer(model_type: str, head: str, side: str) -> None:
    model = model_of(HEADS[head].auto, config_of(model_type))
    assert difference(HEADS[head], model, side) < TOLERANCE


@pytest.mark.parametrize(("model_type", "head"), MOVED)
def test_a_wrong_entry_would_be_found(
    model_type: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = HEADS[head].way
    assert model_type not in PADS_EXACTLY[way]
    monkeypatch.setitem(PADS_EXACTLY, way, {model_type})
    model = model_of(HEADS[head].auto, config_of(model_type))
    assert difference(HEADS[head], model) > 0.1


@pytest.mark.parametrize("text_type", ["gemma", "llama", "mistral", "qwen2"])
def test_nor_with_pictures_in_the_prompts(text_type: str) -> None:
    program, chunks, model = seeing(text_type)
    assert moved(program, chunks, "left", model) < TOLERANCE


def test_every_entry_is_proved() -> None:
    """Or unknown to this transformers, which then has nothing to pad."""
    for way, types in PADS_EXACTLY.items():
        heads = {name: head for name, head in HEADS.items() if head.way == way}
        proved = {t for name, head in heads.items() for t in head.types if _answered(t, name)}
        known = {t for t in types if t in transformers.CONFIG_MAPPING}
        assert sorted(known - proved - {"llava"}) == []


@pytest.mark.skipif(
    transformers.__version__ < padding_models.NEWEST,
    reason="an older transformers lacks some of the types",
)
def test_every_entry_is_a_type_of_transformers() -> None:
    types = set().union(*PADS_EXACTLY.values())
    assert sorted(types - {*transformers.CONFIG_MAPPING}) == []


@pytest.mark.parametrize("model_type", sorted(UNANSWERED))
def test_nothing_is_answered_without_a_decoders_input(model_type: str) -> None:
    model = model_of("", config_of(model_type))
    with pytest.raises(ValueError, match="You must specify exactly one of input_ids"):
        difference(HEADS["Model"], model)


class OwnBert(transformers.BertModel):  # type: ignore[misc]
    """What a repository's code may call "bert"."""


def rule(model: Any, task: str, **parameters: Any) -> Padding:
    """How the project joins the chunks of a model for a task."""
    padding: Padding = program_of(model, task, parameters)[0]._padding
    return padding


def test_a_repositorys_own_code_is_not_the_type_that_it_names() -> None:
    config = config_of("bert")
    assert rule(transformers.BertModel(config), "feature-extraction").side == "right"
    assert rule(OwnBert(config), "feature-extraction").side is None


@pytest.mark.parametrize("pad", [None, -1])
def test_a_decoder_that_cannot_find_last_tokens_classifies_one_at_a_time(pad: int | None) -> None:
    model = model_of("SequenceClassification", config_of("llama", pad_token_id=pad))
    assert not rule(model, "text-classification").can_batch


@pytest.mark.parametrize("pad", [None, -1])
def test_padding_is_a_token_of_the_model(pad: int | None) -> None:
    model = model_of("", config_of("llama", pad_token_id=pad))
    assert rule(model, "feature-extraction").pad_token == 0
    model = model_of("CausalLM", config_of("llama", pad_token_id=pad))
    model.generation_config.pad_token_id = pad
    assert rule(model, "text-generation", max_new_tokens=2).pad_token in range(60)


ROPES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "dynamic": ("llama", {"factor": 4.0}),
    "longrope": ("phi3", {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}),
}


@pytest.mark.parametrize("head", ["Model", "CausalLM"])
@pytest.mark.parametrize("rope_type", ROPES)
def test_rows_beyond_the_trained_length_are_not_padded(rope_type: str, head: str) -> None:
    """Their angles are those of the longest in a batch."""
    model_type, options = ROPES[rope_type]
    rope = {"rope_type": rope_type, "rope_theta": 1e4, **options}
    # Phi-3 has the trained length beside them, and takes it from there.
    length = {"max_position_embeddings" if model_type == "llama" else TRAINED: 16}
    config = config_of(model_type, rope_parameters={**rope, TRAINED: 16}, **length)
    model = model_of(HEADS[head].auto, config)
    program, pipe = program_of(model, HEADS[head].task, HEADS[head].parameters)
    chunks = chunks_of(pipe, HEADS[head].parameters)
    keys = [program.batch_slot(chunk).key for chunk in chunks]
    new = HEADS[head].parameters.get("max_new_tokens", 0)
    short = [i for i, chunk in enumerate(chunks) if chunk["input_ids"].shape[1] <= 16 - new]
    assert len(short) > 1
    assert len({keys[i] for i in short}) == 1
    assert len(set(keys)) == 1 + len(chunks) - len(short)


def test_experts_that_drop_tokens_run_one_row_at_a_time() -> None:
    options = {"encoder_sparse_step": 1, "moe_eval_capacity_token_fraction": 0.1}
    model = model_of("Seq2SeqLM", config_of("nllb-moe", **options))
    assert not rule(model, "text2text-generation", max_new_tokens=2).can_batch


def test_a_filler_that_the_model_generates_itself_is_its_answer() -> None:
    head = HEADS["CausalLM"]
    model = model_of("CausalLM", config_of("llama", tie_word_embeddings=False))
    model.get_output_embeddings().weight.data.zero_()  # all are as likely: the first is taken
    program, pipe = program_of(model, head.task, head.parameters)
    chunks = chunks_of(pipe, head.parameters)
    for answer, chunk in zip(program.run(chunks), chunks, strict=True):
        prompt = chunk["input_ids"].shape[1]
        assert answer["generated_sequence"][0, 0, prompt:].tolist() == [0, 0, 0, 0]
