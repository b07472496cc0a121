"""Tiny random models for the image tasks; what they look at is in ../pictures.py."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE

from support.models import text as text_models
from support.models.weights import fill

ANIMALS = ["cat", "dog", "frog", "bird", "fish", "horse", "ant"]


def labelled(labels: list[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def save(
    auto: str,
    config: Any,
    processor: Any,
    name: str,
    directory: Path,
    gains: Mapping[str, float],
    tokenizer: Any = None,
) -> None:
    with torch.random.fork_rng(devices=[]):
        model = getattr(transformers, auto).from_config(config)
    fill(model, name, gains)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)


TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
RESNET: dict[str, Any] = {
    "embedding_size": 16,
    "hidden_sizes": [16, 24, 32, 40],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
NO_RESIZE = {"do_resize": False}


def vit_processor(size: int = 32, **options: Any) -> Any:
    return transformers.ViTImageProcessor(size={"height": size, "width": size}, **options)


def _vit(auto: str, name: str, directory: Path) -> None:
    config = transformers.ViTConfig(image_size=32, patch_size=8, **TINY, **labelled(ANIMALS))
    gains = {"query": 2.0, "key": 2.0, "pooler": 2.0, "attention.output": 2.0}
    save(auto, config, vit_processor(), name, directory, gains)


def _resnet(auto: str, name: str, directory: Path) -> None:
    """Of images of any size, as they are."""
    config = transformers.ResNetConfig(
        **RESNET, problem_type="multi_label_classification", **labelled(ANIMALS)
    )
    save(auto, config, vit_processor(**NO_RESIZE), name, directory, {})


def _dpt(name: str, directory: Path) -> None:
    """Images of one size."""
    config = transformers.DPTConfig(
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        reassemble_factors=[4, 2, 1, 0.5],
        **{**TINY, "num_hidden_layers": 4},
    )
    processor = transformers.DPTImageProcessor(size={"height": 32, "width": 32})
    save("AutoModelForDepthEstimation", config, processor, name, directory, {"query": 2.0})


def _depth_anything(name: str, directory: Path) -> None:
    """Images of their own shape, in multiples of a patch."""
    backbone = transformers.Dinov2Config(
        image_size=28,
        patch_size=7,
        mlp_ratio=2,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
        **{**TINY, "num_hidden_layers": 4},
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=7,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    processor = transformers.DPTImageProcessor(
        size={"height": 42, "width": 42}, keep_aspect_ratio=True, ensure_multiple_of=7
    )
    save("AutoModelForDepthEstimation", config, processor, name, directory, {"query": 2.0})


def _glpn(name: str, directory: Path) -> None:
    """Images as they are, cut to multiples of 32."""
    config = transformers.GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 16, 32],
        num_attention_heads=[1, 2, 2, 4],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=16,
    )
    processor = transformers.GLPNImageProcessor(size_divisor=32)
    save("AutoModelForDepthEstimation", config, processor, name, directory, {})


def _resnet_backbone(stages: list[str]) -> Any:
    return transformers.ResNetConfig(**RESNET, out_features=stages)


DETR: dict[str, Any] = {
    "d_model": 32,
    "num_queries": 6,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
# Queries that look at different places; boxes that differ.
LOOKS = {"query": 3.0, "q_proj": 3.0, "k_proj": 3.0, "class": 3.0, "bbox_predictor": 0.6}


def _detr(auto: str, stages: list[str], name: str, directory: Path) -> None:
    """Images of their own shape, with a mask of the padding."""
    config = transformers.DetrConfig(
        backbone_config=_resnet_backbone(stages), **DETR, **labelled(ANIMALS)
    )
    processor = transformers.DetrImageProcessor(size={"shortest_edge": 48, "longest_edge": 80})
    save(auto, config, processor, name, directory, LOOKS)


def _yolos(name: str, directory: Path) -> None:
    """Images of their own shape, without a mask."""
    config = transformers.YolosConfig(
        image_size=[48, 64], patch_size=8, num_detection_tokens=6, **TINY, **labelled(ANIMALS)
    )
    processor = transformers.YolosImageProcessor(size={"shortest_edge": 48, "longest_edge": 80})
    gains = {"query": 3.0, "key": 3.0, "bbox_predictor": 2.0, "class": 3.0}
    save("AutoModelForObjectDetection", config, processor, name, directory, gains)


def _segformer(name: str, directory: Path) -> None:
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 16, 32],
        num_attention_heads=[1, 2, 2, 4],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=16,
        **labelled(ANIMALS),
    )
    processor = transformers.SegformerImageProcessor(size={"height": 64, "width": 64})
    save("AutoModelForSemanticSegmentation", config, processor, name, directory, {})


def _mask2former(name: str, directory: Path) -> None:
    """Panoptic: of images of their own shape, padded, with a mask."""
    backbone = transformers.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=8,
        **labelled(ANIMALS),
    )
    processor = transformers.Mask2FormerImageProcessor(
        size={"shortest_edge": 48, "longest_edge": 80}, size_divisor=32
    )
    gains = {"query": 2.0, "class_predictor": 6.0, "mask_embedder": 2.0}
    save("AutoModelForUniversalSegmentation", config, processor, name, directory, gains)


TOWER: dict[str, Any] = {**TINY, "projection_dim": 16, "vocab_size": 1000}
EYE: dict[str, Any] = {**TINY, "image_size": 32, "patch_size": 8, "projection_dim": 16}


def _clip(name: str, directory: Path) -> None:
    tokenizer = clip_tokenizer()
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    config = transformers.CLIPConfig(
        text_config={**TOWER, **ends, "vocab_size": len(tokenizer)},
        vision_config=EYE,
        projection_dim=16,
    )
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    auto = "AutoModelForZeroShotImageClassification"
    save(auto, config, processor, name, directory, {"logit_scale": 20.0, **KEEN}, tokenizer)


KEEN = {"q_proj": 2.0, "k_proj": 2.0, "token_embedding": 3.0}


def _siglip(name: str, directory: Path) -> None:
    tokenizer = clip_tokenizer(model_input_names=["input_ids"])
    config = transformers.SiglipConfig(
        text_config={**TINY, "vocab_size": len(tokenizer), "projection_size": 32},
        vision_config={**TINY, "image_size": 32, "patch_size": 8},
    )
    processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    auto = "AutoModelForZeroShotImageClassification"
    save(auto, config, processor, name, directory, {"logit_scale": 20.0, **KEEN}, tokenizer)


def clip_tokenizer(**options: Any) -> Any:
    """Words in bytes between a start and an end, whose id is the highest: where OWL-ViT looks."""
    special = ("<|pad|>", "<|startoftext|>", "<|endoftext|>")
    tokenizer = Tokenizer(BPE(**text_models.byte_pairs(())))
    tokenizer.add_special_tokens(list(special))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    ids = [(token, tokenizer.token_to_id(token)) for token in special[1:]]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=ids
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        **options,
    )


def _owl(kind: str, name: str, directory: Path) -> None:
    tokenizer = clip_tokenizer()
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    text = {**TINY, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    options = {"text_config": text, "vision_config": {**EYE, "image_size": 48}}
    if kind == "owlvit":
        config = transformers.OwlViTConfig(**options, projection_dim=32)
        processor = transformers.OwlViTImageProcessor(size={"height": 48, "width": 48})
    else:
        config = transformers.Owlv2Config(**options, projection_dim=32)
        processor = transformers.Owlv2ImageProcessor(size={"height": 48, "width": 48})
    auto = "AutoModelForZeroShotObjectDetection"
    save(auto, config, processor, name, directory, {**KEEN, "class_head": 0.5}, tokenizer)


def _sam(kind: str, name: str, directory: Path) -> None:
    """HQ: the layers of its encoder are outputs, too."""
    decoder = {
        "hidden_size": 16,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
    }
    config = getattr(transformers, f"{kind}Config")(
        vision_config={
            **TINY,
            "image_size": 64,
            "patch_size": 8,
            "output_channels": 16,
            "mlp_dim": 64,
            "num_pos_feats": 8,
            "global_attn_indexes": [1],
            "window_size": 4,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "patch_size": 8,
            "image_embedding_size": 8,
        },
        mask_decoder_config={**decoder, "vit_dim": 32} if kind == "SamHQ" else decoder,
    )
    processor = transformers.SamImageProcessor(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}
    )
    save("AutoModelForMaskGeneration", config, processor, name, directory, {"point_embed": 3.0})


def _superpoint() -> Any:
    return transformers.SuperPointConfig(
        encoder_hidden_sizes=[8, 8, 16, 16],
        decoder_hidden_size=16,
        keypoint_decoder_dim=65,
        descriptor_decoder_dim=16,
        keypoint_threshold=0.005,
        max_keypoints=24,
        border_removal_distance=4,
    )


def _superglue(name: str, directory: Path) -> None:
    config = transformers.SuperGlueConfig(
        keypoint_detector_config=_superpoint(),
        hidden_size=16,
        keypoint_encoder_sizes=[8, 16],
        gnn_layers_types=["self", "cross"],
        num_attention_heads=2,
        sinkhorn_iterations=10,
        matching_threshold=0.0,
    )
    processor = transformers.SuperGlueImageProcessor(size={"height": 48, "width": 64})
    save("AutoModelForKeypointMatching", config, processor, name, directory, {})


def _lightglue(name: str, directory: Path) -> None:
    config = transformers.LightGlueConfig(
        keypoint_detector_config=_superpoint(),
        descriptor_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        filter_threshold=0.0,
    )
    processor = transformers.LightGlueImageProcessor(size={"height": 48, "width": 64})
    save("AutoModelForKeypointMatching", config, processor, name, directory, {})


def _swin2sr(name: str, directory: Path) -> None:
    config = transformers.Swin2SRConfig(
        image_size=16,
        patch_size=1,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
        upscale=2,
        upsampler="pixelshuffle",
    )
    processor = transformers.Swin2SRImageProcessor(size_divisor=8)
    save("AutoModelForImageToImage", config, processor, name, directory, {})


def _videomae(name: str, directory: Path) -> None:
    config = transformers.VideoMAEConfig(
        image_size=32, patch_size=8, num_frames=4, **TINY, **labelled(ANIMALS)
    )
    processor = transformers.VideoMAEVideoProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    save("AutoModelForVideoClassification", config, processor, name, directory, {"query": 2.0})


def _timesformer(name: str, directory: Path) -> None:
    """Another attention, and a processor that was saved for images."""
    config = transformers.TimesformerConfig(
        image_size=32, patch_size=8, num_frames=4, **TINY, **labelled(ANIMALS)
    )
    processor = transformers.VideoMAEImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    save("AutoModelForVideoClassification", config, processor, name, directory, {"qkv": 2.0})


DETECTS = "AutoModelForObjectDetection"
MODELS: dict[str, Callable[[Path], None]] = {
    "vit-classification": functools.partial(_vit, "AutoModelForImageClassification", "vit"),
    "resnet-classification": functools.partial(
        _resnet, "AutoModelForImageClassification", "resnet"
    ),
    "vit-encoder": functools.partial(_vit, "AutoModel", "vit"),
    "resnet-encoder": functools.partial(_resnet, "AutoModel", "resnet"),
    "dpt-depth": functools.partial(_dpt, "dpt"),
    "depth-anything": functools.partial(_depth_anything, "depth-anything"),
    "glpn-depth": functools.partial(_glpn, "glpn"),
    "detr-detection": functools.partial(_detr, DETECTS, ["stage4"], "detr"),
    "yolos-detection": functools.partial(_yolos, "yolos"),
    "segformer": functools.partial(_segformer, "segformer"),
    "detr-panoptic": functools.partial(
        _detr,
        "AutoModelForImageSegmentation",
        ["stage1", "stage2", "stage3", "stage4"],
        "detr-panoptic",
    ),
    "mask2former": functools.partial(_mask2former, "mask2former"),
    "clip": functools.partial(_clip, "clip"),
    "siglip": functools.partial(_siglip, "siglip"),
    "owlvit": functools.partial(_owl, "owlvit", "owlvit"),
    "owlv2": functools.partial(_owl, "owlv2", "owlv2"),
    "sam": functools.partial(_sam, "Sam", "sam"),
    "sam-hq": functools.partial(_sam, "SamHQ", "sam-hq"),
    "superglue": functools.partial(_superglue, "superglue"),
    "lightglue": functools.partial(_lightglue, "lightglue"),
    "videomae": functools.partial(_videomae, "videomae"),
    "timesformer": functools.partial(_timesformer, "timesformer"),
    "swin2sr": functools.partial(_swin2sr, "swin2sr"),
}
