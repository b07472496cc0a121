"""Tiny random models for images with texts: see image.py."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from support.models import text as text_models
from support.models.audio import fill, labelled
from support.models.text import BERT, GPT2, LLAMA

ANSWERS = ["yes", "no", "two", "red", "a dog", "nothing"]
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
#: What is said depends on what is seen, more than on the token before.
SEES = {"query": 2.0, "key": 2.0, "q_proj": 3.0, "k_proj": 3.0, "crossattention.output": 6.0}
CHAT_TEMPLATE = """\
{% for message in messages %}<|{{ message['role'] }}|>
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for part in message['content'] %}\
{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}\
{% endfor %}{% endif %}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""


def made(auto: str, config: Any, name: str, gains: Mapping[str, float]) -> Any:
    with torch.random.fork_rng(devices=[]):
        model = getattr(transformers, auto).from_config(config)
    fill(model, name, gains)
    return model.eval()


def image_processor(cls: str = "ViTImageProcessor", size: int = 32, **options: Any) -> Any:
    return getattr(transformers, cls)(size={"height": size, "width": size}, **options)


def end(model: Any, token: int, times: float) -> None:
    """Make the end of text likelier than one token of hundreds."""
    model.get_output_embeddings().weight.data[token] *= times


def llava(directory: Path, name: str) -> None:
    tokenizer = text_models.llama_tokenizer(directory)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION),
        text_config=transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **{**LLAMA, "max_position_embeddings": 256},
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
    )
    model = made("AutoModelForImageTextToText", config, name, {**SEES, "projector": 2.0})
    end(model, tokenizer.eos_token_id, 1.5)
    model.generation_config = transformers.GenerationConfig(
        max_new_tokens=10,
        do_sample=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(directory)
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    processor.save_pretrained(directory)


def layoutlm(directory: Path, name: str) -> None:
    tokenizer = text_models.bert_tokenizer(directory)
    config = transformers.LayoutLMConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        max_2d_position_embeddings=1001,
        **{**BERT, "max_position_embeddings": 64},
    )
    model = made(
        "AutoModelForDocumentQuestionAnswering",
        config,
        name,
        {**text_models.GAINS, "qa_outputs": 3.0},
    )
    model.save_pretrained(directory)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(directory)


def donut(directory: Path, name: str) -> None:
    tokenizer = text_models.roberta_tokenizer(directory)
    tokenizer.add_special_tokens(
        {
            "additional_special_tokens": [
                "<s_docvqa>",
                "<s_question>",
                "</s_question>",
                "<s_answer>",
                "</s_answer>",
            ]
        }
    )
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.DonutSwinConfig(
            image_size=[32, 32],
            patch_size=2,
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=4,
        ),
        transformers.MBartConfig(
            vocab_size=len(tokenizer),
            d_model=32,
            decoder_layers=2,
            decoder_attention_heads=4,
            decoder_ffn_dim=64,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=64,
            max_position_embeddings=64,
            is_decoder=True,
            add_cross_attention=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
    )
    model = made("AutoModelForImageTextToText", config, name, HEARD)
    end(model, tokenizer.eos_token_id, 1.5)
    end(model, tokenizer.convert_tokens_to_ids("</s_answer>"), 3.0)
    model.generation_config = transformers.GenerationConfig(
        max_length=32,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    transformers.DonutImageProcessor(size={"height": 32, "width": 32}).save_pretrained(directory)


HEARD = {
    "encoder_attn.out_proj": 8.0,
    "encoder_attn.q_proj": 5.0,
    "encoder_attn.k_proj": 5.0,
    "fc": 0.3,
    "self_attn.out_proj": 0.5,
}


def vilt(directory: Path, name: str) -> None:
    tokenizer = text_models.bert_tokenizer(directory)
    config = transformers.ViltConfig(
        vocab_size=len(tokenizer),
        **{**BERT, "max_position_embeddings": 40},
        **{key: VISION[key] for key in ("image_size", "patch_size")},
        **labelled(ANSWERS),
    )
    model = made("AutoModelForVisualQuestionAnswering", config, name, {**SEES, "classifier": 2.0})
    model.save_pretrained(directory)
    tokenizer.model_max_length = 40
    tokenizer.save_pretrained(directory)
    text_models.make_readable_by_transformers_4(directory)
    transformers.ViltImageProcessor(size={"shortest_edge": 24}, size_divisor=8).save_pretrained(
        directory
    )


def blip(directory: Path, name: str, auto: str) -> None:
    tokenizer = text_models.bert_tokenizer(directory)
    special = {
        "bos_token_id": tokenizer.convert_tokens_to_ids("[EMPTY]"),
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = transformers.BlipConfig(
        text_config={"vocab_size": len(tokenizer), "encoder_hidden_size": 32, **BERT, **special},
        vision_config=VISION,
        projection_dim=16,
    )
    model = made(auto, config, name, SEES)
    decoder = model.text_decoder
    end(decoder, tokenizer.sep_token_id, 2.0)
    model.generation_config = decoder.generation_config = transformers.GenerationConfig(
        max_length=12, num_beams=1, **{k: v for k, v in special.items() if k != "sep_token_id"}
    )
    model.save_pretrained(directory)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(directory)
    text_models.make_readable_by_transformers_4(directory)
    image_processor("BlipImageProcessor").save_pretrained(directory)


def blip_prompt(directory: Path, name: str) -> None:
    """An encoder of images and a decoder of texts that goes on with the text given."""
    blip(directory, name, "AutoModelForImageTextToText")
    transformers.BlipProcessor(
        image_processor=image_processor("BlipImageProcessor"),
        tokenizer=transformers.AutoTokenizer.from_pretrained(directory),
    ).save_pretrained(directory)


def qwen2_vl(directory: Path, name: str) -> None:
    """Images of any shape, as patches: their number is another for each shape."""
    tokenizer = text_models.llama_tokenizer(directory)
    tokens = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    image, video, start, stop = tokenizer.convert_tokens_to_ids(tokens)
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = transformers.Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            **LLAMA,
            **ids,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 4,
            "mlp_ratio": 2,
            "patch_size": 8,
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=stop,
        tie_word_embeddings=False,
    )
    model = made("AutoModelForImageTextToText", config, name, {**SEES, "merger": 2.0})
    end(model, tokenizer.eos_token_id, 1.5)
    model.generation_config = transformers.GenerationConfig(
        max_new_tokens=10, do_sample=False, **ids
    )
    model.save_pretrained(directory)
    pixels = {"patch_size": 8, "size": {"shortest_edge": 256, "longest_edge": 4096}}
    transformers.Qwen2VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(**pixels),
        video_processor=transformers.Qwen2VLVideoProcessor(**pixels),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE.replace("<image>", f"{tokens[2]}{tokens[0]}{tokens[3]}"),
    ).save_pretrained(directory)


def vit_gpt2(directory: Path, name: str) -> None:
    tokenizer = text_models.gpt2_tokenizer(directory)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**VISION),
        transformers.GPT2Config(
            vocab_size=len(tokenizer), is_decoder=True, add_cross_attention=True, **GPT2
        ),
        pad_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
    )
    gains = {"crossattention.c_proj": 8.0, "crossattention.q_attn": 4.0, "mlp": 0.3, **SEES}
    model = made("AutoModelForImageTextToText", config, name, gains)
    end(model, tokenizer.eos_token_id, 1.5)
    model.generation_config = transformers.GenerationConfig(
        max_length=14,
        num_beams=2,
        pad_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    text_models.make_readable_by_transformers_4(directory)
    image_processor().save_pretrained(directory)


def git(directory: Path, name: str) -> None:
    tokenizer = text_models.bert_tokenizer(directory)
    config = transformers.GitConfig(
        vision_config=VISION,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{**BERT, "max_position_embeddings": 128},
    )
    model = made("AutoModelForImageTextToText", config, name, {**SEES, "visual_projection": 3.0})
    end(model, tokenizer.sep_token_id, 1.5)
    model.generation_config = transformers.GenerationConfig(
        max_length=24,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    text_models.make_readable_by_transformers_4(directory)
    transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(directory)


MODELS: dict[str, Callable[[Path], None]] = {
    "llava": functools.partial(llava, name="llava"),
    "layoutlm": functools.partial(layoutlm, name="layoutlm"),
    "donut": functools.partial(donut, name="donut"),
    "vilt-vqa": functools.partial(vilt, name="vilt-vqa"),
    "blip-vqa": functools.partial(
        blip, name="blip-vqa", auto="AutoModelForVisualQuestionAnswering"
    ),
    "blip-caption": functools.partial(
        blip, name="blip-caption", auto="AutoModelForImageTextToText"
    ),
    "blip-prompt": functools.partial(blip_prompt, name="blip-prompt"),
    "qwen2-vl": functools.partial(qwen2_vl, name="qwen2-vl"),
    "vit-gpt2": functools.partial(vit_gpt2, name="vit-gpt2"),
    "git": functools.partial(git, name="git"),
}
