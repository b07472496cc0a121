"""Tiny random diffusers pipelines: see __init__.py."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from support.models import text as text_models
from support.models.image import clip_tokenizer

#: Tokens of a prompt, and pixels of a latent's side and of an image's.
LONGEST, LATENTS, SIDE = 32, 16, 32
#: Images of many levels, few of them black or white.
_GAINS = {"decoder.conv_out": 0.08}
#: How like a concept the safety checker lets an image be.
_STRICT = 0.63
_TEXT = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4}


def _tokenizer() -> Any:
    return clip_tokenizer(model_max_length=LONGEST)


def _clip(cls: str = "CLIPTextModel", **options: Any) -> Any:
    tokenizer = _tokenizer()
    config = transformers.CLIPTextConfig(
        **_TEXT,
        num_hidden_layers=2,
        max_position_embeddings=LONGEST,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{"projection_dim": 32, **options},
    )
    return getattr(transformers, cls)(config)


def _t5(width: int = 32) -> dict[str, Any]:
    tokenizer = text_models.t5_tokenizer(Path())
    tokenizer.model_max_length = LONGEST
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=width, d_ff=37, d_kv=8, num_layers=2, num_heads=4
    )
    return {"tokenizer": tokenizer, "text_encoder": transformers.T5EncoderModel(config)}


def _vae(channels: int = 4, **options: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=SIDE,
        **options,
    )


def _unet(**options: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=LATENTS,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        **{"cross_attention_dim": 32, "attention_head_dim": 4, **options},
    )


def _checker() -> dict[str, Any]:
    """A safety checker, which flags what it looks at or does not, as its weights happen to be."""
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

    vision = {**_TEXT, "num_hidden_layers": 2, "image_size": SIDE, "patch_size": 8}
    config = transformers.CLIPConfig(vision_config=vision, projection_dim=16)
    size = {"height": SIDE, "width": SIDE}
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    return {
        "safety_checker": StableDiffusionSafetyChecker(config),
        "feature_extractor": processor,
    }


def _stable_diffusion(scheduler: Any, checked: bool = False) -> Any:
    checker = _checker() if checked else {"safety_checker": None, "feature_extractor": None}
    return diffusers.StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_clip(),
        tokenizer=_tokenizer(),
        unet=_unet(),
        scheduler=scheduler,
        requires_safety_checker=checked,
        **checker,
    )


def _stable_diffusion_xl() -> Any:
    return diffusers.StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_clip(),
        tokenizer=_tokenizer(),
        text_encoder_2=_clip("CLIPTextModelWithProjection"),
        tokenizer_2=_tokenizer(),
        unet=_unet(
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=80,
            transformer_layers_per_block=1,
            use_linear_projection=True,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear"),
    )


def _stable_diffusion_3() -> Any:
    t5 = _t5(64)
    return diffusers.StableDiffusion3Pipeline(
        vae=_vae(16, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip("CLIPTextModelWithProjection"),
        tokenizer=_tokenizer(),
        text_encoder_2=_clip("CLIPTextModelWithProjection"),
        tokenizer_2=_tokenizer(),
        text_encoder_3=t5["text_encoder"],
        tokenizer_3=t5["tokenizer"],
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=LATENTS,
            patch_size=2,
            in_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=64,
            caption_projection_dim=32,
            pooled_projection_dim=64,
            out_channels=16,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def _pixart(cls: str) -> Any:
    return getattr(diffusers, cls)(
        **_t5(),
        vae=_vae(),
        transformer=diffusers.PixArtTransformer2DModel(
            sample_size=LATENTS,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_channels=32,
            cross_attention_dim=32,
            in_channels=4,
            out_channels=8,
        ),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def _flux() -> Any:
    t5 = _t5()
    return diffusers.FluxPipeline(
        vae=_vae(4, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(),
        tokenizer=_tokenizer(),
        text_encoder_2=t5["text_encoder"],
        tokenizer_2=t5["tokenizer"],
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def _checked() -> Any:
    return _stable_diffusion(_scheduler("DDIMScheduler", clip_sample=False), checked=True)


def _scheduler(name: str, **options: Any) -> Any:
    return getattr(diffusers, name)(steps_offset=1, **options)


PIPELINES: dict[str, Callable[[], Any]] = {
    "sd-ddim": lambda: _stable_diffusion(_scheduler("DDIMScheduler", clip_sample=False)),
    "sd-pndm": lambda: _stable_diffusion(_scheduler("PNDMScheduler", skip_prk_steps=True)),
    # Draws noise in every step.
    "sd-ancestral": lambda: _stable_diffusion(_scheduler("EulerAncestralDiscreteScheduler")),
    "sd-checked": _checked,
    "sdxl": _stable_diffusion_xl,
    "sd3": _stable_diffusion_3,
    "pixart-alpha": functools.partial(_pixart, "PixArtAlphaPipeline"),
    "pixart-sigma": functools.partial(_pixart, "PixArtSigmaPipeline"),
    "flux": _flux,
}


def save(name: str, directory: Path) -> None:
    with torch.random.fork_rng(devices=[]):  # a test's own seed must not notice
        torch.manual_seed(7)
        pipe = PIPELINES[name]()
        for each in pipe.components.values():
            if isinstance(each, torch.nn.Module):
                text_models.fill(each.eval(), name, _GAINS)
        if checker := pipe.components.get("safety_checker"):
            checker.special_care_embeds_weights.data.fill_(1.0)  # nothing of the kind
            checker.concept_embeds_weights.data.fill_(_STRICT)
    pipe.save_pretrained(directory)


MODELS: dict[str, Callable[[Path], None]] = {
    name: functools.partial(save, name) for name in PIPELINES
}
