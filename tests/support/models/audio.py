"""Tiny random models for the audio tasks; what they listen to is in ../sounds.py."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from support.models import weights

LETTERS = "abcdefghijklmnopqrstuvwxyz'"
KEYWORDS = ["yes", "no", "stop", "go", "left", "right"]


def _scales_norm(key: str, parameter: torch.Tensor) -> bool:
    named = parameter.ndim < 2 and key.endswith(("weight", "gamma"))
    return named or key.endswith("original0")


fill = functools.partial(weights.fill, is_scale=_scales_norm)


def make(cls: Any, config: Any, name: str, gains: Mapping[str, float] | None = None) -> Any:
    with torch.random.fork_rng(devices=[]):
        model = cls(config)
    fill(model, name, gains or {})
    return model.eval()


def labelled(labels: list[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }


WAV2VEC2 = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (32, 32, 32),
    "conv_kernel": (16, 8, 5),
    "conv_stride": (8, 8, 5),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 32,
}
GROUP = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
ADAPTER = {**LAYER, "add_adapter": True, "num_adapter_layers": 1, "output_hidden_size": 32}


def wav2vec2(
    directory: Path, name: str, head: str, norm: Mapping[str, Any], kind: str = "wav2vec2"
) -> None:
    vocabulary = ["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS]
    options = {**WAV2VEC2, **norm}
    if head == "ForCTC":
        options |= {"vocab_size": len(vocabulary), "pad_token_id": 0}
        (directory / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(vocabulary)}))
        tokenizer = transformers.Wav2Vec2CTCTokenizer(str(directory / "vocab.json"))
        tokenizer.save_pretrained(directory)
    else:
        options |= labelled(KEYWORDS)
    config = transformers.AutoConfig.for_model(kind, **options)
    auto = {
        "ForCTC": "AutoModelForCTC",
        "ForSequenceClassification": "AutoModelForAudioClassification",
    }
    with torch.random.fork_rng(devices=[]):
        model = getattr(transformers, auto[head]).from_config(config)
    fill(model, name, {"lm_head": 2.0, "classifier": 2.0})
    model.save_pretrained(directory)
    transformers.Wav2Vec2FeatureExtractor(
        return_attention_mask=norm["feat_extract_norm"] == "layer", do_normalize=True
    ).save_pretrained(directory)


def ast(directory: Path, name: str) -> None:
    config = transformers.ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_length=128,
        num_mel_bins=32,
        **labelled(KEYWORDS),
    )
    model = make(transformers.ASTForAudioClassification, config, name, {"classifier": 2.0})
    model.save_pretrained(directory)
    transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=128).save_pretrained(directory)


MODELS: dict[str, Callable[[Path], None]] = {
    "wav2vec2-group-keywords": functools.partial(
        wav2vec2, name="wav2vec2-group-keywords", head="ForSequenceClassification", norm=GROUP
    ),
    "wav2vec2-layer-keywords": functools.partial(
        wav2vec2, name="wav2vec2-layer-keywords", head="ForSequenceClassification", norm=LAYER
    ),
    "hubert-layer-keywords": functools.partial(
        wav2vec2,
        name="hubert-layer-keywords",
        head="ForSequenceClassification",
        norm=LAYER,
        kind="hubert",
    ),
    "ast-keywords": functools.partial(ast, name="ast-keywords"),
    "wav2vec2-group-ctc": functools.partial(
        wav2vec2, name="wav2vec2-group-ctc", head="ForCTC", norm=GROUP
    ),
    "wav2vec2-layer-ctc": functools.partial(
        wav2vec2, name="wav2vec2-layer-ctc", head="ForCTC", norm=LAYER
    ),
    "wav2vec2-adapter-ctc": functools.partial(
        wav2vec2, name="wav2vec2-adapter-ctc", head="ForCTC", norm=ADAPTER
    ),
    "hubert-layer-ctc": functools.partial(
        wav2vec2, name="hubert-layer-ctc", head="ForCTC", norm=LAYER, kind="hubert"
    ),
}
