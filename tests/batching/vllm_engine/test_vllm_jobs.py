"""Jobs with vLLM's engine: the rows of vLLM alone, and of transformers; `make vllm` runs them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import apache_beam as beam
import pytest
import torch
from apache_beam.options.pipeline_options import PipelineOptions
from support import engine_processes
from support.vllm_models import NEW_TOKENS, OPTIONS, alone, build_llama, prompts_of, vllm_is_missing
from transformers import AutoTokenizer

from pipelines_beam import TextGeneration
from transforms.engine import registry
from transforms.engine.process import launch
from transforms.stages.engines import engine_spec

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(vllm_is_missing(), reason="make vllm installs vLLM and runs this"),
]

COMMON: dict[str, Any] = {"dtype": "float32", "input": "text", "max_new_tokens": NEW_TOKENS}
IN_VLLM: dict[str, Any] = {"engine": "vllm", "engine_options": OPTIONS}
WORKERS = 2


@pytest.fixture(autouse=True)
def _started() -> Iterator[None]:
    """vLLM's processes are started, not forked: its threads would not be there."""
    with mock.patch.object(launch, "_start", engine_processes.start):
        yield


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    return prompts_of(200)


@pytest.fixture(scope="module")
def expected(llama: str, prompts: list[str]) -> dict[str, str]:
    """Of each prompt, what vLLM alone answers."""
    return dict(zip(prompts, alone(llama, prompts), strict=True))


def generation(llama: str, **options: Any) -> TextGeneration:
    given = {"do_sample": False, "return_full_text": False, **COMMON, **IN_VLLM, **options}
    if given["engine"] != "vllm":
        del given["engine_options"]
    return TextGeneration(model=llama, **given)


def test_prompts_of_several_worker_processes_are_answered_as_by_vllm_alone(
    llama: str, expected: dict[str, str], tmp_path: Path
) -> None:
    mode = ["--direct_running_mode=multi_processing", f"--direct_num_workers={WORKERS}"]
    with beam.Pipeline("DirectRunner", PipelineOptions(mode)) as p:
        rows = p | beam.Create([beam.Row(text=prompt) for prompt in expected], reshuffle=True)
        (
            rows
            | generation(llama)
            | beam.Map(lambda row: repr((row.text, row.generated_text)))
            | beam.io.WriteToText(str(tmp_path / "out"))
        )
    lines = [line for path in tmp_path.glob("out*") for line in path.read_text().splitlines()]
    assert sorted(map(eval, lines)) == sorted(expected.items())


def as_dicts(rows: list[Any]) -> list[dict[str, Any]]:
    """Rows in an order that does not depend on who was answered first."""
    return sorted((dict(row.as_dict()) for row in rows), key=repr)


@pytest.fixture
def both(llama: str, run: Callable[..., list[Any]]) -> Callable[..., tuple[list[Any], list[Any]]]:
    """The rows of vLLM and of transformers, with the same options."""

    def rows(elements: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        found = [
            as_dicts(run(elements, generation(llama, **{**options, "engine": engine})))
            for engine in ("vllm", "transformers")
        ]
        return found[0], found[1]

    return rows


def test_rows_with_parameters_of_their_own(both: Any, prompts: list[str]) -> None:
    rows = [
        beam.Row(text=prompt, most=1 + i % 7, stop=["e", None, "a"][i % 3])
        for i, prompt in enumerate(prompts[:60])
    ]
    own = {"max_new_tokens": "most", "stop_strings": "stop"}
    in_vllm, in_transformers = both(rows, parameters=own, details=True)
    logprobs = [
        {row["text"]: row.pop("logprob") for row in found} for found in (in_vllm, in_transformers)
    ]
    assert in_vllm == in_transformers
    known = {text: logprob for text, logprob in logprobs[1].items() if logprob is not None}
    assert {text: logprobs[0][text] for text in known} == pytest.approx(known, abs=1e-3)
    assert {row["finish_reason"] for row in in_vllm} == {"stop", "length"}


def test_chats(both: Any) -> None:
    rows = [beam.Row(name=name) for name in ("Anna", "Otto", "Emil")]
    messages = [{"role": "user", "content": "Who is {{ name }}?"}]
    in_vllm, in_transformers = both(rows, input=None, messages=messages)
    assert in_vllm == in_transformers


def test_a_prompt_that_is_too_long_fails_alone(llama: str, prompts: list[str]) -> None:
    texts = [*prompts[:3], "a " * 2000]
    with beam.Pipeline("FnApiRunner") as p:
        rows = p | beam.Create([beam.Row(text=text) for text in texts])
        answered, failed = rows | generation(llama).with_exception_handling()
        answered | beam.combiners.Count.Globally() | beam.Map(_is, 3)
        (
            failed
            | beam.Map(lambda row: (row.kind, "maximum context length" in row.message))
            | ("Failed" >> beam.combiners.ToList())
            | "AreThese" >> beam.Map(_is, [("data", True)])
        )


def _is(found: Any, expected: Any) -> None:
    assert found == expected


def test_the_same_seed_gives_the_same_samples_in_any_company(
    llama: str, run: Callable[..., list[Any]], prompts: list[str]
) -> None:
    rows = [beam.Row(text=prompt) for prompt in prompts[:20]]
    options = {"do_sample": True, "temperature": 1.5, "seed": 3}
    first = as_dicts(run(rows, generation(llama, **options)))
    again = as_dicts(run(rows[5:][::-1], generation(llama, **options)))
    assert all(row in first for row in again)
    other = as_dicts(run(rows, generation(llama, **{**options, "seed": 4})))
    assert first != other


def test_each_prompt_is_answered_once_though_the_engine_is_killed(
    llama: str, expected: dict[str, str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    spec = generation(llama).spec
    engine, release = registry.acquire(engine_spec(spec))
    try:
        session = engine.session(spec.parameters)
        for prompt in expected:
            ids = torch.tensor([tokenizer(prompt)["input_ids"]])
            session.submit(prompt, [{"input_ids": ids, "prompt_text": prompt}])
        session.flush()
        tickets = [session.answered.get(timeout=400) for _ in range(len(expected) // 3)]
        os.kill(engine.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        tickets += engine_processes.collect(session, len(expected) - len(tickets))
    finally:
        release()
    assert [ticket.error for ticket in tickets if ticket.error is not None] == []
    found = {}
    for ticket in tickets:
        outputs = ticket.outputs[0]
        start = outputs["input_ids"].shape[-1]
        tokens = outputs["generated_sequence"][0, 0, start:]
        found[ticket.token] = tokenizer.decode(tokens, skip_special_tokens=True)
    assert found == expected
    assert max(ticket.attempts for ticket in tickets) == 2
    assert sum(ticket.attempts == 2 for ticket in tickets) <= 40  # max_num_seqs and a few
