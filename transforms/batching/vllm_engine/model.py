"""A model in vLLM's engine, in the form that this project's engine computes with."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from ...options.shown import shown
from ...options.sources import is_uri
from ...options.spec import ModelSpec
from ...pipelines import factory
from ...pipelines.requests import KEY, Answer, GeneratedSequence, Request
from ...weights import headers, object_store
from . import arguments
from .sampling import Sampling

#: Of vLLM's process: the model computes in this one, and nothing is told to anybody.
_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}
_QUIET = {"VLLM_LOGGING_LEVEL": "WARNING"}

#: Makes the outputs of a chunk of what vLLM says of its request.
_Finish = Callable[[Any], Any]


class VllmModel:
    """One model in an engine of vLLM's in this process.

    Args:
      spec: which model, and its options.
      device: the number of one of the machine's accelerators.

    """

    def __init__(self, spec: ModelSpec, device: int | None = None) -> None:
        chosen = spec.device if device is None else device
        _see_only(chosen)
        os.environ |= _ENVIRONMENT
        os.environ |= {name: value for name, value in _QUIET.items() if name not in os.environ}
        from vllm import LLMEngine, SamplingParams
        from vllm.sampling_params import RequestOutputKind

        _require(chosen)
        self._pipe = factory.weightless(spec)
        source = object_store.directory(spec.source, True) if is_uri(spec.source) else spec.source
        self.nbytes = headers.weight_bytes(spec.source, spec.revision, spec.dtype) or 0
        self._engine = LLMEngine.from_engine_args(
            arguments.engine_arguments(spec, self._pipe, source)
        )
        self._parameters = SamplingParams
        self._kind = RequestOutputKind.FINAL_ONLY
        self._finish: dict[str, _Finish] = {}
        #: How many requests vLLM works on at once.
        self.capacity: int = self._engine.vllm_config.scheduler_config.max_num_seqs

    def program(self, parameters: Mapping[str, Any]) -> VllmProgram:
        """The model with one stage's parameters. Raises ValueError for those vLLM lacks."""
        return VllmProgram(self, self._pipe, parameters)

    def add(self, number: int, ids: list[int], keywords: Mapping[str, Any], use: _Finish) -> None:
        """Begin with a request. Raises what vLLM says of one that it refuses."""
        parameters = self._parameters(**keywords, output_kind=self._kind)
        name = str(number)
        self._engine.add_request(name, {"prompt_token_ids": ids}, parameters)
        self._finish[name] = use

    def step(self) -> list[tuple[int, Any]]:
        """Compute the next tokens of all requests; the outputs of those that have finished."""
        found = []
        for output in self._engine.step():
            if output.finished and (finish := self._finish.pop(output.request_id, None)):
                unfinished = _unfinished(output)
                found.append((int(output.request_id), unfinished or finish(output)))
        return found

    def cancel(self, numbers: Collection[int]) -> None:
        """End requests whose answers nobody waits for."""
        names = [str(number) for number in numbers]
        self._engine.abort_request(names)
        for name in names:
            self._finish.pop(name, None)


class VllmProgram:
    """A model with the parameters of one stage."""

    def __init__(self, model: VllmModel, pipe: Any, parameters: Mapping[str, Any]) -> None:
        self._model = model
        self._sampling = Sampling(pipe, parameters)
        self._first = pipe.model.generation_config.bos_token_id
        self._filler = _filler(pipe)

    def length(self, chunk: Any) -> int:
        """The tokens of a prompt."""
        return int(chunk["input_ids"].shape[-1])

    def submit(self, number: int, chunk: Any) -> None:
        """Begin to answer a prompt. Raises what vLLM says of one that it cannot answer."""
        request = chunk.get(KEY)
        ids = chunk["input_ids"][0].tolist()
        prompt = ids or [self._first]  # as `generate` begins without a prompt
        keywords = self._sampling.keywords(request or Request(), len(prompt))

        def finish(output: Any) -> dict[str, Any]:
            found = {
                "generated_sequence": self._sequences(prompt, output.outputs),
                "input_ids": chunk["input_ids"] if ids else None,
                "prompt_text": chunk["prompt_text"],
            }
            return found if request is None else {**found, KEY: _answer(request, output.outputs)}

        self._model.add(number, prompt, keywords, finish)

    def _sequences(self, prompt: list[int], completions: Sequence[Any]) -> torch.Tensor:
        """Prompt and tokens of each completion, as `generate` gives them: (1, n, tokens)."""
        rows = [[*prompt, *each.token_ids] for each in completions]
        longest = max(map(len, rows))
        filled = [row + [self._filler] * (longest - len(row)) for row in rows]
        return torch.tensor([filled])


def _unfinished(output: Any) -> Exception | None:
    """The error of a request that vLLM gave up: it has a part of the answer, or none."""
    reasons = {str(each.finish_reason) for each in output.outputs} - {"stop", "length"}
    return RuntimeError(f"vLLM has not finished the answer: {min(reasons)}") if reasons else None


def _answer(request: Request, completions: Sequence[Any]) -> Answer:
    return Answer(
        request.prompt_tokens,
        [
            GeneratedSequence(
                list(each.token_ids),
                "stop" if each.finish_reason == "stop" else "length",
                each.cumulative_logprob,
            )
            for each in completions
        ],
    )


def _filler(pipe: Any) -> int:
    """The token that fills shorter sequences: `generate`'s own."""
    config = pipe.model.generation_config
    ends = config.eos_token_id
    end = ends[0] if isinstance(ends, list) else ends
    return next((each for each in (config.pad_token_id, end) if each is not None), 0)


def _see_only(device: int | str | None) -> None:
    """Have vLLM see one of the machine's accelerators, if one is named: before it looks."""
    if device is None or device in (-1, "cpu"):
        return
    number = int(str(device).removeprefix("cuda").removeprefix(":") or 0)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = [str(number)] if visible is None else visible.split(",")[number:][:1]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(numbers)


def _require(device: int | str | None) -> None:
    """Raise ValueError where vLLM computes on another kind of device than the one that is named."""
    from vllm.platforms import current_platform

    if device is not None and current_platform.is_cpu() != (device in (-1, "cpu")):
        raise ValueError(
            f"device={shown(device)}: the vLLM that is installed here computes on "
            f"{current_platform.device_type}"
        )
