"""Tiny random models that take or give text, images, audio and video: see __init__.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from support.models import text as text_models
from support.models.audio import fill
from support.models.multimodal import SEES, VISION, end
from support.models.text import LLAMA

CHAT_TEMPLATE = """\
{{% for message in messages %}}<|{{{{ message['role'] }}}}|>
{{% if message['content'] is string %}}{{{{ message['content'] }}}}{{% else %}}\
{{% for part in message['content'] %}}\
{{% if part['type'] == 'image' %}}{image}{{% elif part['type'] == 'video' %}}{video}\
{{% elif part['type'] == 'audio' %}}{audio}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}\
{{% endfor %}}{{% endif %}}<|end|>
{{% endfor %}}{{% if add_generation_prompt %}}<|assistant|>
{{% endif %}}"""


def tokenizer_with(directory: Path, named: Mapping[str, str]) -> Any:
    """A tokenizer that knows tokens by the names that processors look for."""
    plain = text_models.llama_tokenizer(directory)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain._tokenizer,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        padding_side="left",
        extra_special_tokens=dict(named),
    )


def text_config(tokenizer: Any, **options: Any) -> dict[str, Any]:
    return {
        **LLAMA,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": 512,
        **options,
    }


def made(cls: Any, config: Any, name: str, gains: Mapping[str, float]) -> Any:
    with torch.random.fork_rng(devices=[]):
        model = cls(config)
    fill(model, name, gains)
    return model.eval()


def qwen2_audio(directory: Path) -> None:
    tokens = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
    names = ("audio_token", "audio_bos_token", "audio_eos_token")
    tokenizer = tokenizer_with(directory, dict(zip(names, tokens, strict=True)))
    config = transformers.Qwen2AudioConfig(
        audio_config={
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "num_mel_bins": 16,
            "max_source_positions": 50,
        },
        text_config={"model_type": "qwen2", **text_config(tokenizer)},
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    gains = {**SEES, "projector": 2.0}
    model = made(transformers.Qwen2AudioForConditionalGeneration, config, "qwen2-audio", gains)
    end(model, tokenizer.eos_token_id, 1.5)
    model.generation_config = transformers.GenerationConfig(
        max_new_tokens=10,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(directory)
    transformers.Qwen2AudioProcessor(
        feature_extractor=transformers.WhisperFeatureExtractor(
            feature_size=16, chunk_length=1, n_fft=400, hop_length=160
        ),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE.format(
            image="", video="", audio="<|audio_bos|><|AUDIO|><|audio_eos|>"
        ),
    ).save_pretrained(directory)


def janus(directory: Path) -> None:
    names = {"image_token": "<image_placeholder>", "boi_token": "<begin_of_image>"}
    tokenizer = tokenizer_with(directory, {**names, "eoi_token": "<end_of_image>"})
    config = transformers.JanusConfig(
        text_config={"model_type": "llama", **text_config(tokenizer)},
        vision_config={
            **{key: VISION[key] for key in ("hidden_size", "num_hidden_layers", "image_size")},
            "num_attention_heads": 4,
            "patch_size": 8,
            "mlp_ratio": 2.0,
            "projection_dim": 32,
            "num_image_tokens": 16,
        },
        vq_config={
            "embed_dim": 8,
            "num_embeddings": 64,
            "latent_channels": 8,
            "base_channels": 32,
            "channel_multiplier": [1, 1],
            "num_res_blocks": 0,
            "num_patches": 4,
            "projection_dim": 32,
            "image_token_embed_dim": 32,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image_placeholder>"),
    )
    gains = {**SEES, "aligner": 2.0, "generation_head": 3.0}
    model = made(transformers.JanusForConditionalGeneration, config, "janus", gains)
    end(model, tokenizer.eos_token_id, 1.5)
    model.generation_config = transformers.GenerationConfig(
        max_new_tokens=10,
        do_sample=False,
        guidance_scale=2.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        generation_kwargs={"boi_token_id": tokenizer.convert_tokens_to_ids("<begin_of_image>")},
    )
    model.save_pretrained(directory)
    transformers.JanusProcessor(
        image_processor=transformers.JanusImageProcessor(size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        num_image_tokens=16,
        chat_template=CHAT_TEMPLATE.format(image="<image_placeholder>", video="", audio=""),
    ).save_pretrained(directory)


OMNI = {
    "image_token": "<|IMAGE|>",
    "audio_token": "<|AUDIO|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 2]}


def omni(directory: Path) -> None:
    """Sees, hears, and says its answer aloud if it is asked to."""
    tokenizer = tokenizer_with(directory, OMNI)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in OMNI.items()}
    indices = {
        "audio_token_index": ids["audio_token"],
        "image_token_index": ids["image_token"],
        "video_token_index": ids["video_token"],
        "audio_start_token_id": ids["audio_bos_token"],
        "audio_end_token_id": ids["audio_eos_token"],
    }
    thinker = {
        "audio_config": {
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "num_mel_bins": 16,
            "max_source_positions": 50,
            "n_window": 8,
            "output_dim": 32,
        },
        "vision_config": {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "patch_size": 8,
            "window_size": 32,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        "text_config": text_config(tokenizer, rope_parameters=ROPE, tie_word_embeddings=False),
        "user_token_id": tokenizer.convert_tokens_to_ids("<|user|>"),
        "vision_start_token_id": ids["vision_bos_token"],
        "vision_end_token_id": ids["vision_eos_token"],
        **indices,
    }
    codes = 24
    talker = {
        "vocab_size": codes + 8,
        "tts_text_start_token_id": 5,
        "tts_text_end_token_id": 6,
        "tts_text_pad_token_id": 7,
        "tts_codec_pad_token_id": codes,
        "tts_codec_start_token_id": codes + 1,
        "tts_codec_end_token_id": codes + 2,
        "tts_codec_mask_token_id": codes + 4,
        "vision_start_token_id": ids["vision_bos_token"],
        "vision_end_token_id": ids["vision_eos_token"],
        "embedding_size": 32,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "rope_parameters": ROPE,
        **indices,
    }
    speech = {
        "dit_config": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "head_dim": 8,
            "emb_dim": 8,
            "num_embeds": codes + 8,
            "mel_dim": 8,
            "enc_emb_dim": 8,
            "enc_dim": 8,
            "enc_channels": [16, 16, 16, 16, 48],
            "enc_attention_channels": 8,
            "enc_res2net_scale": 2,
            "enc_se_channels": 8,
            "look_ahead_layers": [1],
            "look_backward_layers": [0],
        },
        "bigvgan_config": {
            "mel_dim": 8,
            "upsample_initial_channel": 16,
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3, 5]],
            "upsample_rates": [4, 2],
            "upsample_kernel_sizes": [8, 4],
        },
    }
    config = transformers.Qwen2_5OmniConfig(
        thinker_config=thinker, talker_config=talker, token2wav_config=speech
    )
    gains = {**SEES, "codec_head": 3.0, "bigvgan": 0.5}
    model = made(transformers.Qwen2_5OmniForConditionalGeneration, config, "omni", gains)
    model.thinker.get_output_embeddings().weight.data[tokenizer.eos_token_id] *= 1.5
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(directory)
    numbers = torch.Generator().manual_seed(11)
    voice = {
        "cond": torch.randn(1, 8, generator=numbers),
        "ref_mel": torch.randn(1, 30, 8, generator=numbers),
        "bos_token": 5,
    }
    torch.save({"Chelsie": voice}, directory / "spk_dict.pt")
    size = {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
    patches = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2, "size": size}
    transformers.Qwen2_5OmniProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(**patches),
        video_processor=transformers.Qwen2VLVideoProcessor(
            **patches, min_frames=2, max_frames=6, do_sample_frames=False
        ),
        feature_extractor=transformers.WhisperFeatureExtractor(
            feature_size=16, chunk_length=1, n_fft=400, hop_length=160
        ),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE.format(
            image="<|vision_bos|><|IMAGE|><|vision_eos|>",
            video="<|vision_bos|><|VIDEO|><|vision_eos|>",
            audio="<|audio_bos|><|AUDIO|><|audio_eos|>",
        ),
    ).save_pretrained(directory)


MODELS: dict[str, Callable[[Path], None]] = {
    "qwen2-audio": qwen2_audio,
    "janus": janus,
    "omni": omni,
}
