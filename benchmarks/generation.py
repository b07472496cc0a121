"""Throughput of generated tokens, side by side: by hand, transformers' own manager, this project.

    python benchmarks/generation.py [--prompts 200] [--rounds 3] [--threads 1] [--only ours,...]
    python benchmarks/generation.py --checkout before=/path/to/another/checkout

A random Llama of 30 M parameters in float32 answers prompts of 5 to 200 tokens, greedily, until one
of a set of tokens or for at most 256: lengths are geometric, 40 on average. Ways, each in a process
of its own, taking turns:

- static N: by hand: prompts sorted by length, batches of N rows, `generate`
- leaving N: by hand: the same, but rows that have ended leave their batch
- manager: `generate_batch`, transformers' continuous batching, with all prompts at once
- ours: `TextGeneration` in Beam's local runner; another checkout's under the name given to it

Printed are each way's median rates, by the clock and by the processor's time, this one over the
first way's of the same round, and how many of its answers are the first way's. Loading the model,
and what a Beam job takes to start (measured with one prompt), are in no rate and stand apart. Quote
the ratios: rates depend on the machine; where others use it, the processor's time tells more.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

VOCABULARY = 8000
MEAN, MOST = 40, 256  # tokens of an answer
SHORTEST, LONGEST = 5, 200  # tokens of a prompt
SPECIAL = {"<pad>": 0, "<s>": 1, "<unk>": 2}
WAYS = ("static 32", "static 64", "leaving 64", "leaving 200", "manager", "ours")

Answers = list[list[int]]


def save(directory: Path) -> None:
    """The model, and a tokenizer whose words are the numbers of its tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    numbers = {str(i): i for i in range(len(SPECIAL), VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel({**SPECIAL, **numbers}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", unk_token="<unk>"
    ).save_pretrained(directory)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=512,
        num_hidden_layers=7,
        intermediate_size=1376,
        num_attention_heads=8,
        initializer_range=0.1,  # with the usual 0.02 it says the same few tokens again and again
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    ends = [i for i in range(VOCABULARY) if i % MEAN == MEAN - 1]
    model.generation_config = transformers.GenerationConfig(pad_token_id=0, eos_token_id=ends)
    model.save_pretrained(directory)


def prompts(count: int) -> Answers:
    draw = random.Random(1)
    numbers = range(len(SPECIAL), VOCABULARY)
    return [draw.choices(numbers, k=draw.randint(SHORTEST, LONGEST)) for _ in range(count)]


def loaded(directory: Path) -> Any:
    return transformers.LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


def padded(batch: Answers) -> dict[str, torch.Tensor]:
    longest = max(map(len, batch))
    ids = [[0] * (longest - len(each)) + each for each in batch]
    mask = [[0] * (longest - len(each)) + [1] * len(each) for each in batch]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def own(tokens: list[int], ends: set[int]) -> list[int]:
    """The tokens up to the first that ends an answer."""
    count = next((i + 1 for i, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[:count]


def words(tokens: list[int]) -> list[int]:
    """The tokens that stand in a text."""
    return [token for token in tokens if token >= len(SPECIAL)]


def by_hand(model: Any, given: Answers, rows: int, one: Callable[..., Answers]) -> Answers:
    """Batches of `rows` prompts, the longest first, each answered by `one`."""
    order = sorted(range(len(given)), key=lambda i: -len(given[i]))
    found: Answers = [[]] * len(given)
    with torch.inference_mode():
        for start in range(0, len(order), rows):
            indices = order[start : start + rows]
            for i, tokens in zip(indices, one(model, [given[i] for i in indices]), strict=True):
                found[i] = tokens
    return found


def static(model: Any, batch: Answers) -> Answers:
    features = padded(batch)
    ends = set(model.generation_config.eos_token_id)
    answers = model.generate(**features, max_new_tokens=MOST, do_sample=False)
    return [own(row, ends) for row in answers[:, features["input_ids"].shape[1] :].tolist()]


def leaving(model: Any, batch: Answers) -> Answers:
    """What is best by hand: the cache keeps the rows that go on, after each step that ends one."""
    features = padded(batch)
    ids, mask = features["input_ids"], features["attention_mask"]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    ends = set(model.generation_config.eos_token_id)
    cache = transformers.DynamicCache(config=model.config)
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    answers: Answers = [[] for _ in batch]
    rows = list(range(len(batch)))
    while rows:
        outputs = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            logits_to_keep=1,
            use_cache=True,
            **{name: cache},
        )
        ids = outputs.logits[:, -1].argmax(-1, keepdim=True)
        for row, token in zip(rows, ids[:, 0].tolist(), strict=True):
            answers[row].append(token)
        goes_on = [
            i
            for i, row in enumerate(rows)
            if answers[row][-1] not in ends and len(answers[row]) < MOST
        ]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        positions = positions[:, -1:] + 1
        if len(goes_on) < len(rows):
            kept = torch.tensor(goes_on, dtype=torch.int64)
            ids, mask, positions = ids[kept], mask[kept], positions[kept]
            if goes_on:
                cache.batch_select_indices(kept)
            rows = [rows[i] for i in goes_on]
    return answers


def manager(model: Any, given: Answers) -> Answers:
    config = transformers.GenerationConfig(
        **{**model.generation_config.to_diff_dict(), "max_new_tokens": MOST, "do_sample": False}
    )
    outputs = model.generate_batch(given, generation_config=config, progress_bar=False)
    return [list(each.generated_tokens) for each in outputs.values()]


def ours(directory: Path, given: Answers, most: int) -> Answers:
    """A Beam job that reads the prompts and writes the answers, from start to end."""
    import apache_beam as beam

    from pipelines_beam import LocalPipeline, TextGeneration

    transform = TextGeneration(
        model=str(directory),
        input="text",
        dtype="float32",
        do_sample=False,
        max_new_tokens=most,
        return_full_text=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        with LocalPipeline() as p:
            texts = [" ".join(map(str, prompt)) for prompt in given]
            rows = p | beam.Create([beam.Row(i=i, text=text) for i, text in enumerate(texts)])
            lines = rows | transform | beam.Map(lambda row: f"{row.i} {row.generated_text}")
            lines | beam.io.WriteToText(f"{folder}/answers")
        found: Answers = [[]] * len(given)
        for path in Path(folder).iterdir():
            for line in path.read_text().splitlines():
                index, *tokens = map(int, line.split())
                found[index] = tokens
    return found


def measure(way: str, directory: Path, given: Answers) -> dict[str, Any]:
    """One way, in this process."""
    kind, _, number = way.partition(" ")
    if kind == "ours":
        ours(directory, given[:1], 1)  # the first job of a process imports more than others
    start = time.perf_counter()
    if kind == "ours":
        cpu_start = busy()
        ours(directory, given[:1], 1)
        began, cpu_began = time.perf_counter(), busy()
        answers = ours(directory, given, MOST)
        startup = began - start
        seconds = time.perf_counter() - began - startup
        cpu = busy() - cpu_began - (cpu_began - cpu_start)
    else:
        model = loaded(directory)
        known: dict[str, Callable[[Answers], Answers]] = {
            "static": lambda some: by_hand(model, some, int(number), static),
            "leaving": lambda some: by_hand(model, some, int(number), leaving),
            "manager": lambda some: manager(model, some),
        }
        run = known[kind]
        startup = time.perf_counter() - start
        run([given[0][:5]])  # what is made at a first call
        began, cpu_began = time.perf_counter(), busy()
        answers = run(given)
        seconds, cpu = time.perf_counter() - began, busy() - cpu_began
        answers = list(map(words, answers))
    return {"seconds": seconds, "cpu": cpu, "startup": startup, "answers": answers}


def busy() -> float:
    """Seconds that processors have worked for this process and those that it has waited for."""
    return sum(os.times()[:4])


def in_a_process(
    way: str, directory: Path, options: argparse.Namespace, checkout: str
) -> dict[str, Any]:
    own_way = "ours" if way in options.checkouts else way
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--way", own_way]
        command += ["--directory", str(directory), "--prompts", str(options.prompts)]
        command += ["--out", str(out)]
        threads = str(options.threads)
        env = {**os.environ, "PYTHONPATH": checkout, "OMP_NUM_THREADS": threads}
        quiet = subprocess.DEVNULL
        subprocess.run(command, check=True, env=env, stdout=quiet, stderr=quiet)
        found: dict[str, Any] = json.loads(out.read_text())
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", type=lambda names: names.split(","), default=None)
    parser.add_argument("--checkout", action="append", default=[], metavar="NAME=DIRECTORY")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.checkouts = dict(each.split("=", 1) for each in options.checkout)
    return options


def main() -> None:
    options = arguments()
    if options.way:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        found = measure(options.way, options.directory, prompts(options.prompts))
        options.out.write_text(json.dumps(found))
        return
    ways = options.only or [*options.checkouts, *reversed(WAYS)]
    here = str(Path(__file__).resolve().parent.parent)
    rates: dict[str, list[float]] = {way: [] for way in ways}
    by_cpu: dict[str, list[float]] = {way: [] for way in ways}
    startups: dict[str, list[float]] = {way: [] for way in ways}
    same = dict.fromkeys(ways, 0)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        first: Answers = []
        for turn in range(options.rounds):
            for way in ways:
                checkout = options.checkouts.get(way, here)
                found = in_a_process(way, Path(folder), options, checkout)
                first = first or found["answers"]
                count = sum(map(len, found["answers"]))
                rates[way].append(count / found["seconds"])
                by_cpu[way].append(count / found["cpu"])
                startups[way].append(found["startup"])
                same[way] = sum(map(list.__eq__, found["answers"], first))
                speeds = f"{rates[way][-1]:.1f}/s, {by_cpu[way][-1]:.1f} per CPU second"
                print(f"{turn + 1}: {way}: {count} tokens, {speeds}", flush=True)
    for way in ways:
        over = statistics.median(map(float.__truediv__, by_cpu[way], by_cpu[ways[0]]))
        print(
            f"{way:>12}: {statistics.median(rates[way]):6.1f} tokens/s, "
            f"{statistics.median(by_cpu[way]):6.1f} per CPU second, {over:.2f} of {ways[0]}; "
            f"start-up {statistics.median(startups[way]):.1f} s; "
            f"{same[way]} of {options.prompts} answers equal"
        )


if __name__ == "__main__":
    main()
