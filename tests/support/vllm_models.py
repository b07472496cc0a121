"""A tiny model that vLLM runs on a CPU, prompts for it, and what vLLM alone answers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

from support.models.text import llama_tokenizer
from transforms.options.engines import is_installed

#: Options of an engine that is ready soon, and leaves memory to others.
OPTIONS = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 28, "max_num_seqs": 32}
NEW_TOKENS = 24
_LONGEST = 512  # tokens
_WORDS = "the quick brown fox jumps over a lazy dog and then some more of it"
_ALONE = """
import json, sys
from vllm import LLM, SamplingParams
model, options, prompts, most, ends = json.load(sys.stdin)
llm = LLM(model, dtype="float32", generation_config="vllm", **options)
parameters = SamplingParams(temperature=0, max_tokens=most, ignore_eos=True, stop_token_ids=ends)
prompts = [{"prompt_token_ids": ids} for ids in prompts]
found = llm.generate(prompts, parameters, use_tqdm=False)
print("ANSWERS", json.dumps([list(each.outputs[0].token_ids) for each in found]))
"""


def vllm_is_missing() -> bool:
    return not is_installed("vllm")


def build_llama(directory: Path) -> str:
    """Write a random Llama with heads as wide as vLLM's kernels for a CPU want them."""
    tokenizer = llama_tokenizer(directory)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=_LONGEST,
        dtype="float32",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = transformers.LlamaForCausalLM(config)
    for weight in model.parameters():
        if weight.dim() > 1:  # the best token is far ahead of the next
            weight.data *= 8
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


def prompts_of(count: int) -> list[str]:
    """Prompts of different lengths, no two alike."""
    numbers = random.Random(0)
    return [
        " ".join(numbers.choices(_WORDS.split(), k=numbers.randint(3, 40))) + f" {i}"
        for i in range(count)
    ]


def alone(model: str, prompts: list[str]) -> list[str]:
    """What vLLM's own `generate` answers to prompts, all at once, in a process of its own."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    given: list[Any] = [model, OPTIONS, ids, NEW_TOKENS, [tokenizer.eos_token_id]]
    done = subprocess.run(
        [sys.executable, "-c", _ALONE],
        input=json.dumps(given),
        env={
            **os.environ,
            "VLLM_LOGGING_LEVEL": "WARNING",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
    assert lines, done.stderr
    answers = json.loads(lines[0].partition(" ")[2])
    return [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in answers]
