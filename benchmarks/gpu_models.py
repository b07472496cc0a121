"""Models of real size with random weights, and their inputs: made on the spot, not downloaded."""

from __future__ import annotations

import functools
import io
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TEXTS = Path(__file__).parent.parent / "configs" / "data" / "texts.parquet"
DISTINCT = 64  # images that differ; they take turns
WIDTH, HEIGHT, BYTES = 640, 480, 65_000
RATE, SECONDS = 16_000, 10
WHISPER_TOKENS, LLAMA_TOKENS = 32, 64  # generated for each input; nothing ends earlier
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
END = "<|endoftext|>"
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@dataclass(frozen=True)
class Workload:
    """A model and what it is given."""

    title: str
    task: str
    #: The class in transformers that loads it.
    auto: str
    #: Its configuration: its class in transformers and the options of both sizes.
    config: str
    real: Mapping[str, Any]
    tiny: Mapping[str, Any]
    #: What an input is: "text", "prompt", "image" or "sound".
    kind: str
    #: Inputs of one process; several get more.
    rows: int
    #: Inputs that are one element of the source, as in a file: a table has as many rows.
    block: int
    parameters: Mapping[str, Any] = field(default_factory=dict)


_MINILM = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
_WHISPER = {
    "vocab_size": 51_865,
    "d_model": 768,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 12,
    "decoder_attention_heads": 12,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
}
_TINY_WHISPER = {
    **{name: 2 for name in _WHISPER if name.endswith(("layers", "heads"))},
    **{name: 32 for name in _WHISPER if name.endswith(("model", "dim"))},
}
_LLAMA = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "tie_word_embeddings": True,
}
_BERT_LIKE = {"tiny": {**TINY, "intermediate_size": 64}, "kind": "text", "block": 512}
_CLASSIFIER = {
    "task": "text-classification",
    "auto": "AutoModelForSequenceClassification",
    "config": "BertConfig",
    "parameters": {"truncation": True},
    **_BERT_LIKE,
}
WORKLOADS: dict[str, Workload] = {
    "bert": Workload(title="BERT-base", real={}, rows=40_960, **_CLASSIFIER),  # type: ignore[arg-type]
    "minilm": Workload(title="MiniLM-L6", real=_MINILM, rows=65_536, **_CLASSIFIER),  # type: ignore[arg-type]
    "vit": Workload(
        title="ViT-base",
        task="image-classification",
        auto="AutoModelForImageClassification",
        config="ViTConfig",
        real={"num_labels": 1000},
        tiny={**TINY, "intermediate_size": 64, "num_labels": 1000, "patch_size": 56},
        kind="image",
        rows=6144,
        block=128,
    ),
    "whisper": Workload(
        title="Whisper-small",
        task="automatic-speech-recognition",
        auto="AutoModelForSpeechSeq2Seq",
        config="WhisperConfig",
        real=_WHISPER,
        tiny=_TINY_WHISPER,
        kind="sound",
        rows=1024,
        block=16,
        parameters={"generate_kwargs": {"max_new_tokens": WHISPER_TOKENS, "num_beams": 1}},
    ),
    "llama": Workload(
        title="Llama of 1 B",
        task="text-generation",
        auto="AutoModelForCausalLM",
        config="LlamaConfig",
        real=_LLAMA,
        tiny={**TINY, "intermediate_size": 64, "num_key_value_heads": 2},
        kind="prompt",
        rows=512,
        block=32,
        parameters={"max_new_tokens": LLAMA_TOKENS, "do_sample": False},
    ),
}


# Inputs


@functools.cache
def docstrings() -> list[str]:
    return list(pq.read_table(TEXTS)["text"].to_pylist())


def texts(block: int, size: int) -> list[str]:
    """Texts of a block: two docstrings each, so that rows are different and of skewed lengths."""
    draw = random.Random(block)
    return ["\n\n".join(draw.choices(docstrings(), k=2)) for _ in range(size)]


def prompts(block: int, size: int) -> list[str]:
    draw = random.Random(block)
    return [text[: draw.randint(20, 600)] for text in texts(block, size)]


@functools.cache
def sounds() -> list[Any]:
    """Tones that swell, with noise: `SECONDS` of float32 at `RATE`."""
    numbers = np.random.default_rng(0)
    time = np.arange(RATE * SECONDS, dtype=np.float32) / RATE
    found = []
    for _ in range(16):
        tone = np.sin(2 * np.pi * numbers.uniform(80, 800) * time)
        swell = np.sin(2 * np.pi * numbers.uniform(1, 4) * time)
        noise = numbers.standard_normal(len(time), dtype=np.float32)
        found.append((0.3 * tone * swell + 0.02 * noise).astype(np.float32))
    return found


def block_of(model: str, folder: str, block: int, size: int) -> list[Any]:
    """The inputs of a block: texts, paths of images, or waveforms."""
    kind = WORKLOADS[model].kind
    if kind in ("text", "prompt"):
        return list((texts if kind == "text" else prompts)(block, size))
    numbers = range(block * size, block * size + size)
    if kind == "image":
        return [f"{folder}/images/{number % DISTINCT}.jpg" for number in numbers]
    return [sounds()[number % len(sounds())] for number in numbers]


def table_of(model: str, folder: str, block: int, size: int) -> pa.Table:
    return pa.table({"input": block_of(model, folder, block, size)})


def inputs(model: str, folder: str, rows: int) -> list[Any]:
    size = WORKLOADS[model].block
    blocks = range(-(-rows // size))
    return [each for i in blocks for each in block_of(model, folder, i, size)][:rows]


# Making them


def make(folder: Path, models: list[str], device: str, small: bool) -> None:
    """Write models with their tokenizers or processors, and images, into a folder."""
    for name in models:
        _make_model(folder / name, WORKLOADS[name], device, small)
        if WORKLOADS[name].kind == "image":
            make_images(folder / "images")


def _make_model(directory: Path, workload: Workload, device: str, small: bool) -> None:
    import torch
    import transformers

    options = workload.tiny if small else workload.real
    config = getattr(transformers, workload.config)(**options)
    generation = _PROCESSORS[workload.kind](directory, config)
    torch.manual_seed(0)
    auto = getattr(transformers, workload.auto)
    with torch.device(device):
        model = auto.from_config(config, dtype=torch.bfloat16)
    if generation is not None:
        model.generation_config = generation
    model.save_pretrained(directory)


def _wordpiece(directory: Path, side: str, names: list[str]) -> None:
    """Write a tokenizer like BERT's, trained on the docstrings."""
    import transformers
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
    from tokenizers.models import WordPiece

    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=30_522, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(docstrings(), trainer)
    number = {token: i for i, token in enumerate(SPECIAL)}  # as the trainer numbers them
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", number["[SEP]"]), ("[CLS]", number["[CLS]"])
    )
    named = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        padding_side=side,
        model_input_names=names,
        **named,
    ).save_pretrained(directory)


def _for_text(directory: Path, config: Any) -> None:
    _wordpiece(directory, "right", ["input_ids", "token_type_ids", "attention_mask"])


def _for_prompt(directory: Path, config: Any) -> Any:
    import transformers

    _wordpiece(directory, "left", ["input_ids", "attention_mask"])
    config.bos_token_id = config.eos_token_id = None
    config.pad_token_id = 0
    return transformers.GenerationConfig(pad_token_id=0)


def _for_image(directory: Path, config: Any) -> None:
    import transformers

    transformers.ViTImageProcessor().save_pretrained(directory)


def _for_sound(directory: Path, config: Any) -> Any:
    """An English Whisper's tokenizer, of few merges, and its feature extractor."""
    import transformers
    from tokenizers import Tokenizer, pre_tokenizers, trainers
    from tokenizers.models import BPE

    trained = Tokenizer(BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator(docstrings(), trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = transformers.WhisperTokenizer(vocab=model["vocab"], merges=merges, pad_token=END)
    more = ("<|startoftranscript|>", "<|startofprev|>", "<|notimestamps|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(more)})
    tokenizer.save_pretrained(directory)
    transformers.WhisperFeatureExtractor().save_pretrained(directory)
    end, begin, before, untimed = tokenizer.convert_tokens_to_ids([END, *more])
    ids = {"eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": begin}
    for name, value in {**ids, "bos_token_id": end}.items():
        setattr(config, name, value)
    return transformers.GenerationConfig(
        **ids,
        is_multilingual=False,
        max_length=config.max_target_positions,
        no_timestamps_token_id=untimed,
        prev_sot_token_id=before,
        suppress_tokens=[end],
    )


#: Each writes a tokenizer or processor, and gives how to generate.
_PROCESSORS: dict[str, Callable[[Path, Any], Any]] = {
    "text": _for_text,
    "prompt": _for_prompt,
    "image": _for_image,
    "sound": _for_sound,
}


def make_images(directory: Path) -> None:
    """Write JPEGs with the spectrum of photographs and about their bytes."""
    from PIL import Image

    directory.mkdir()
    numbers = np.random.default_rng(0)
    y, x = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]
    fall = 1 / np.maximum(np.hypot(x, y), 1 / WIDTH) ** 1.3
    for i in range(DISTINCT):
        noise = numbers.standard_normal((4, HEIGHT, WIDTH))
        layers = np.fft.irfft2(np.fft.rfft2(noise) * fall, s=(HEIGHT, WIDTH))
        layers /= layers.std(axis=(1, 2), keepdims=True)
        pixels = 120 + 45 * layers[0, ..., None] + 15 * layers[1:].transpose(1, 2, 0)
        picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        (directory / f"{i}.jpg").write_bytes(_jpeg(picture))


def _jpeg(picture: Any) -> bytes:
    """A file of the quality, of a few, that comes nearest to the bytes of a photograph."""
    files = []
    for quality in (95, 90, 80, 65):
        file = io.BytesIO()
        picture.save(file, format="JPEG", quality=quality)
        files.append(file.getvalue())
    return min(files, key=lambda data: abs(len(data) - BYTES))
