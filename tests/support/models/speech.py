"""Tiny random models that hear or speak with a tokenizer: see audio.py."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version

from support.models import text as text_models
from support.models.audio import LETTERS, fill, make
from support.sounds import RATE

#: Whether transformers' own text-to-audio pipeline does: that of 5.17 raises a TypeError.
SPEAKS = Version(transformers.__version__) >= Version("5.18")
needs_speech = pytest.mark.skipif(not SPEAKS, reason="this transformers' own raises a TypeError")

#: What is said depends on what is heard, more than on the token before.
HEARS = {
    "encoder_attn.o_proj": 8.0,
    "encoder_attn.out_proj": 8.0,
    "encoder_attn.q_proj": 5.0,
    "encoder_attn.k_proj": 5.0,
    "fc": 0.3,
}
SECONDS = 2  # what the Whisper and the CLAP here hear at once
WHISPER_SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)


def whisper(directory: Path, name: str) -> None:
    tokenizer = transformers.WhisperTokenizer(**text_models.byte_pairs(WHISPER_SPECIAL[:1]))
    tokenizer.add_special_tokens({"additional_special_tokens": list(WHISPER_SPECIAL[1:])})
    tokenizer.add_tokens([f"<|{i * 0.02:.2f}|>" for i in range(SECONDS * 50 + 1)])
    token = tokenizer.convert_tokens_to_ids
    ids = {
        "bos_token_id": token("<|endoftext|>"),
        "eos_token_id": token("<|endoftext|>"),
        "pad_token_id": token("<|endoftext|>"),
        "decoder_start_token_id": token("<|startoftranscript|>"),
    }
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=32,
        max_source_positions=SECONDS * 50,
        max_target_positions=48,
        **ids,
    )
    model = make(
        transformers.WhisperForConditionalGeneration,
        config,
        name,
        {**HEARS, "self_attn.out_proj": 0.5, "embed_positions": 0.3},
    )
    model.get_output_embeddings().weight.data[ids["eos_token_id"]] *= 2.0
    model.generation_config = transformers.GenerationConfig(
        **ids,
        max_length=24,
        is_multilingual=True,
        lang_to_id={each: token(each) for each in ("<|en|>", "<|de|>")},
        task_to_id={each: token(f"<|{each}|>") for each in ("translate", "transcribe")},
        no_timestamps_token_id=token("<|notimestamps|>"),
        prev_sot_token_id=token("<|startofprev|>"),
        alignment_heads=[[0, 0], [1, 2]],
        suppress_tokens=[],
        begin_suppress_tokens=[ids["eos_token_id"]],
        median_filter_width=3,
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    transformers.WhisperFeatureExtractor(
        feature_size=32, chunk_length=SECONDS, sampling_rate=RATE
    ).save_pretrained(directory)


def moonshine(directory: Path, name: str) -> None:
    tokenizer = text_models.llama_tokenizer(directory)
    config = transformers.MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=4,
        decoder_num_attention_heads=4,
        max_position_embeddings=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
    )
    model = make(
        transformers.MoonshineForConditionalGeneration,
        config,
        name,
        {
            "encoder_attn.o_proj": 8.0,
            "encoder_attn.q_proj": 5.0,
            "encoder_attn.k_proj": 5.0,
            "fc": 0.3,
            "self_attn.o_proj": 0.5,
            "bias": 0.1,
        },
    )
    model.generation_config.max_length = 16
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    transformers.Wav2Vec2FeatureExtractor(
        do_normalize=False, return_attention_mask=True
    ).save_pretrained(directory)


def clap(directory: Path, name: str, fused: bool) -> None:
    tokenizer = text_models.roberta_tokenizer(directory)
    config = transformers.ClapConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "projection_dim": 16,
            **text_models.ROBERTA,
        },
        audio_config={
            "num_mel_bins": 16,
            "spec_size": 64,
            "window_size": 4,
            "patch_size": 2,
            "patch_stride": 2,
            "hidden_size": 32,
            "patch_embeds_hidden_size": 16,
            "depths": [1, 1],
            "num_hidden_layers": 2,
            "num_attention_heads": [2, 2],
            "projection_dim": 16,
            "enable_fusion": fused,
            "fusion_type": "aff_2d" if fused else None,
        },
        projection_dim=16,
    )
    model = make(transformers.ClapModel, config, name, {})
    model.logit_scale_a.data.fill_(3.0)
    model.save_pretrained(directory)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(directory)
    transformers.ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=RATE,
        hop_length=160,
        max_length_s=SECONDS,
        fft_window_size=400,
        frequency_max=8000,
        truncation="fusion" if fused else "rand_trunc",
    ).save_pretrained(directory)


def vits(directory: Path, name: str, stochastic: bool) -> None:
    characters = ["<pad>", " ", *LETTERS, "<unk>"]
    file = directory / "vocab.json"
    file.write_text(json.dumps({c: i for i, c in enumerate(characters)}))
    tokenizer = transformers.VitsTokenizer(str(file), phonemize=False, language="eng")
    config = transformers.VitsConfig(
        vocab_size=len(characters),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=32,
        flow_size=16,
        spectrogram_bins=17,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        duration_predictor_filter_channels=16,
        duration_predictor_num_flows=2,
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=2,
        posterior_encoder_num_wavenet_layers=2,
        use_stochastic_duration_prediction=stochastic,
        noise_scale=0.0,  # the noise of a real one is another at every call
        noise_scale_duration=0.0,
    )
    model = make(
        transformers.VitsModel,
        config,
        name,
        {"duration_predictor": 0.5, "conv_post": 0.1, "flow": 0.5},
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def speecht5(directory: Path, name: str) -> None:
    file = directory / "spm_char.model"
    file.write_bytes(text_models.sentencepiece_model())
    tokenizer = transformers.SpeechT5Tokenizer(str(file))
    config = transformers.SpeechT5Config(
        vocab_size=len(tokenizer),
        hidden_size=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_mel_bins=16,
        speaker_embedding_dim=8,
        speech_decoder_prenet_units=16,
        speech_decoder_prenet_dropout=0.0,  # a real one drops when it speaks, too
        speech_decoder_postnet_units=16,
        speech_decoder_postnet_layers=2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = make(transformers.SpeechT5ForTextToSpeech, config, name, {})
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def vocoder(directory: Path, name: str) -> None:
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=16,
        sampling_rate=RATE,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
    )
    with torch.random.fork_rng(devices=[]):
        model = transformers.SpeechT5HifiGan(config)
    fill(model, name, {})
    model.save_pretrained(directory)


def musicgen(directory: Path, name: str) -> None:
    tokenizer = text_models.t5_tokenizer(directory)
    books = 2
    config = transformers.MusicgenConfig(
        text_encoder=transformers.T5Config(
            vocab_size=len(tokenizer),
            **{k: v for k, v in text_models.T5.items() if "task" not in k},
        ).to_dict(),
        audio_encoder=transformers.EncodecConfig(
            hidden_size=16,
            num_filters=2,
            num_residual_layers=1,
            upsampling_ratios=[4, 2],
            codebook_size=32,
            codebook_dim=16,
            num_lstm_layers=1,
            sampling_rate=RATE,
        ).to_dict(),
        decoder=transformers.MusicgenDecoderConfig(
            vocab_size=32,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=64,
            num_codebooks=books,
            pad_token_id=32,
            bos_token_id=32,
        ).to_dict(),
    )
    model: Any = make(
        transformers.MusicgenForConditionalGeneration,
        config,
        name,
        {
            "encoder_attn.out_proj": 8.0,
            "audio_encoder": 0.3,
            "encoder_attn.q_proj": 5.0,
            "encoder_attn.k_proj": 5.0,
            "fc": 0.3,
            "embed_tokens": 0.5,
        },
    )
    for i, layer in enumerate(model.audio_encoder.quantizer.layers):
        values = np.random.RandomState(i).standard_normal(layer.codebook.embed.shape)
        layer.codebook.embed.copy_(torch.from_numpy(values))
    model.generation_config = transformers.GenerationConfig(
        max_length=12, do_sample=False, pad_token_id=32, bos_token_id=32, decoder_start_token_id=32
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


MODELS: dict[str, Callable[[Path], None]] = {
    "whisper": functools.partial(whisper, name="whisper"),
    "moonshine": functools.partial(moonshine, name="moonshine"),
    "clap": functools.partial(clap, name="clap", fused=False),
    "clap-fused": functools.partial(clap, name="clap-fused", fused=True),
    "vits": functools.partial(vits, name="vits", stochastic=False),
    "vits-stochastic": functools.partial(vits, name="vits-stochastic", stochastic=True),
    "speecht5": functools.partial(speecht5, name="speecht5"),
    "vocoder": functools.partial(vocoder, name="vocoder"),
    "musicgen": functools.partial(musicgen, name="musicgen"),
}
