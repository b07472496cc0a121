"""Rows that leave their batch at their end have the tokens that they have alone, type by type."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from support.padding_models import (
    HEADS,
    chunks_of,
    config_of,
    model_of,
    program_of,
    seeing,
)

from transforms.batching.padding import PADS_EXACTLY
from transforms.pipelines.generation_control import control_generate
from transforms.pipelines.requests import KEY, Request
from transforms.pipelines.split_call import Features, Outputs

#: The tokens that each row may have: three rows leave before the last one ends.
LIMITS = (12, 3, 5, 9)


def _types() -> Iterator[Any]:
    for name, way in (("CausalLM", "prompts"), ("Seq2SeqLM", "sources")):
        for model_type in sorted(PADS_EXACTLY[HEADS[name].way] & HEADS[name].types):
            assert HEADS[name].way == way
            yield pytest.param(model_type, name)


def widths(model: Any) -> list[int]:
    """The rows of each call of a model from now on, filled as it is called."""
    found: list[int] = []
    model.register_forward_hook(lambda *args: found.append(len(args[-1].logits)))
    return found


def generated(outputs: Outputs) -> list[int]:
    name = "output_ids" if "output_ids" in outputs else "generated_sequence"
    tokens: list[int] = outputs[name].flatten().tolist()
    return tokens


def answers(
    program: Any, chunks: Sequence[Features], limits: Sequence[int] | None
) -> tuple[list[list[int]], list[list[int]]]:
    """The tokens of chunks alone, and in one batch."""
    own = [copy.copy(chunk) for chunk in chunks]
    for chunk, most in zip(own, limits or (), strict=False):
        chunk[KEY] = Request(parameters={"max_new_tokens": most})
    alone = [program.run([copy.copy(chunk)])[0] for chunk in own]
    together = program.run([copy.copy(chunk) for chunk in own])
    return list(map(generated, alone)), list(map(generated, together))


def started(model_type: str, head: str, **parameters: Any) -> tuple[Any, list[Features], Any]:
    """A program with tiny weights, the features of some texts, and the model."""
    model = model_of(HEADS[head].auto, config_of(model_type))
    control_generate(model)
    given = {"num_beams": 1, "do_sample": False, "max_new_tokens": max(LIMITS), **parameters}
    program, pipe = program_of(model, HEADS[head].task, given)
    return program, chunks_of(pipe, given), model


@pytest.mark.parametrize(("model_type", "head"), [*_types()])
def test_rows_with_limits_of_their_own_have_the_tokens_that_they_have_alone(
    model_type: str, head: str
) -> None:
    program, chunks, model = started(model_type, head, eos_token_id=None)
    found = widths(model)
    alone, together = answers(program, chunks, LIMITS)
    assert together == alone
    steps = found[sum(LIMITS) :]
    assert steps == [4] * 3 + [3] * 2 + [2] * 4 + [1] * 3


@pytest.mark.parametrize("text_type", ["llama", "mistral"])
def test_so_do_those_with_pictures(text_type: str) -> None:
    program, chunks, model = seeing(text_type)
    control_generate(model)
    found = widths(model)
    alone, together = answers(program, chunks, [4, 1, 2, 3])
    assert together == alone
    assert found[4 + 1 + 2 + 3 :] == [4, 3, 2, 1]


def _often(tokens: Sequence[Sequence[int]], prompts: Sequence[int]) -> int:
    """A token that ends some answers early, others late or not at all."""
    answers = [each[n:] for each, n in zip(tokens, prompts, strict=True)]
    candidates = {token for each in answers for token in each}

    def spread(token: int) -> int:
        return len({each.index(token) if token in each else -1 for each in answers})

    return max(sorted(candidates), key=spread)


@pytest.mark.parametrize(
    ("model_type", "head"),
    [("llama", "CausalLM"), ("gpt2", "CausalLM"), ("mistral", "CausalLM"), ("t5", "Seq2SeqLM")],
)
def test_rows_that_end_by_themselves_leave(model_type: str, head: str) -> None:
    program, chunks, _ = started(model_type, head, eos_token_id=None)
    whole, _ = answers(program, chunks, None)
    prompts = [0 if head == "Seq2SeqLM" else chunk["input_ids"].shape[1] for chunk in chunks]
    end = _often(whole, prompts)
    program, chunks, model = started(model_type, head, eos_token_id=end)
    found = widths(model)
    alone, together = answers(program, chunks, None)
    assert together == alone
    steps = [len(each) - n for each, n in zip(alone, prompts, strict=True)]
    assert len(set(steps)) > 1
    assert sum(found) < 2 * len(chunks) * max(steps)
    assert min(found[-2:]) < len(chunks)


@pytest.mark.parametrize(
    "parameters",
    [
        {"cache_implementation": "static"},
        {"use_cache": False},
        {"prefill_chunk_size": 4},
        {"num_beams": 2},
    ],
)
def test_elsewhere_the_batch_lasts_as_long_as_its_longest_row(parameters: dict[str, Any]) -> None:
    program, chunks, _ = started("llama", "CausalLM", eos_token_id=None)
    end = _often(answers(program, chunks, None)[0], [len(c["input_ids"][0]) for c in chunks])
    given: Mapping[str, Any] = {"disable_compile": True, "eos_token_id": end, **parameters}
    program, chunks, model = started("llama", "CausalLM", **given)
    found = widths(model)
    alone, together = answers(program, chunks, None)
    assert together == alone
    beams = parameters.get("num_beams", 1)
    assert found[-1] == len(chunks) * beams


def test_drawn_tokens_are_those_that_transformers_draws() -> None:
    program, chunks, _ = started(
        "llama", "CausalLM", do_sample=True, eos_token_id=None, temperature=0.7
    )
    torch.manual_seed(3)
    found = list(map(generated, program.run([copy.copy(each) for each in chunks])))
    program._generation._rows_leave = False
    torch.manual_seed(3)
    assert found == list(map(generated, program.run([copy.copy(each) for each in chunks])))


def own_limits(program: Any, chunks: Sequence[Features], *limits: int) -> set[Any]:
    """The batch keys of chunks with limits of their own."""
    own = [copy.copy(chunk) for chunk in chunks[: len(limits)]]
    for chunk, most in zip(own, limits, strict=True):
        chunk[KEY] = Request(parameters={"max_new_tokens": most})
    return {slot.key for slot in program.batch_slots(own)}


@pytest.mark.parametrize(("model_type", "head"), [("llama", "CausalLM"), ("t5", "Seq2SeqLM")])
def test_rows_with_limits_of_their_own_share_a_batch(model_type: str, head: str) -> None:
    program, chunks, _ = started(model_type, head)
    assert len(own_limits(program, chunks, 3, 5, 9)) == 1


def test_they_do_not_where_a_table_of_positions_ends() -> None:
    """The batch may be longer than the model takes, although each row of it is not."""
    program, chunks, _ = started("gpt2", "CausalLM")
    assert len(own_limits(program, chunks, 3, 5, 9)) == 3


def test_a_forced_end_comes_at_the_end_of_each_row() -> None:
    """Of rows with the common limit, too, in a batch that goes on for another."""
    program, chunks, _ = started(
        "bart", "Seq2SeqLM", eos_token_id=None, forced_eos_token_id=2, max_new_tokens=6
    )
    own = [copy.copy(chunk) for chunk in chunks[:4]]
    for chunk, most in zip(own, (None, None, 12, 3), strict=True):
        chunk[KEY] = Request(parameters={} if most is None else {"max_new_tokens": most})
    alone = [generated(program.run([copy.copy(chunk)])[0]) for chunk in own]
    together = [generated(each) for each in program.run([copy.copy(chunk) for chunk in own])]
    assert together == alone
    assert [tokens[-1] for tokens in alone] == [2] * 4
