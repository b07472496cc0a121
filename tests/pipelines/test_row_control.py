"""Rows of one batch with parameters, random numbers and ends of their own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from support.texts import CORPUS
from transformers.generation.stopping_criteria import StopStringCriteria

from transforms.batching.replica import Replica
from transforms.options.spec import ModelSpec
from transforms.pipelines import generation_control
from transforms.pipelines.generation_control import GenerationControl, control_generate
from transforms.pipelines.requests import Request, Requests, answer_of
from transforms.pipelines.split_call import SplitPipeline, sanitized
from transforms.tasks.response_format import ResponseFormatError

Model = Callable[[str], str]

SAMPLES: dict[str, Any] = {"do_sample": True, "max_new_tokens": 8, "seed": 3}
TEXTS = [CORPUS[i] for i in (0, 3, 7, 2, 9, 4)]


class Loaded:
    """A loaded model, asked for batches of any composition."""

    def __init__(self, task: str, source: str) -> None:
        self.replica = Replica(ModelSpec(task=task, source=source))
        self._pipe = self.replica._pipe

    def ask(
        self,
        texts: Sequence[Any],
        batches: Sequence[Sequence[int]],
        own: Sequence[Mapping[str, Any]] | None = None,
        **parameters: Any,
    ) -> list[Any]:
        """The inferences of texts in batches of these indices; `own`: parameters of each text."""
        split = SplitPipeline(self._pipe, parameters)
        requests = Requests(self._pipe, parameters, sanitized(self._pipe, parameters)[1])
        program = self.replica.program(parameters)
        found: list[Any] = [None] * len(texts)
        for batch in batches:
            chunks = []
            for i in batch:
                (chunk,), _ = split.preprocess(texts[i])
                requests.add([chunk], {} if own is None else own[i])
                chunks.append(chunk)
            for i, outputs in zip(batch, program.run(chunks), strict=True):
                plain, answer = answer_of(outputs)
                inference = split.postprocess(texts[i], [plain], [1])
                found[i] = requests.answered(inference, [answer])
        return found


@pytest.fixture(params=[("text-generation", "llama-lm"), ("summarization", "bart-seq2seq")])
def loaded(request: pytest.FixtureRequest, model: Model) -> Loaded:
    task, name = request.param
    return Loaded(task, model(name))


ALONE = [[i] for i in range(6)]
TOGETHER = [[0, 1, 2, 3, 4, 5]]
MIXED = [[5, 2], [1, 4, 0], [3]]


@pytest.mark.parametrize(
    "more",
    [
        {"num_beams": 1},
        {"num_beams": 1, "temperature": 0.5, "top_p": 0.9},
        {"num_beams": 1, "top_k": 3, "min_p": 0.01},
    ],
)
def test_samples_do_not_depend_on_the_batch(loaded: Loaded, more: dict[str, Any]) -> None:
    found = loaded.ask(TEXTS, ALONE, **SAMPLES, **more)
    assert loaded.ask(TEXTS, TOGETHER, **SAMPLES, **more) == found
    torch.manual_seed(8)
    assert loaded.ask(TEXTS, MIXED, **SAMPLES, **more) == found
    assert loaded.ask(TEXTS, TOGETHER, **{**SAMPLES, "seed": 4}, **more) != found


@pytest.mark.parametrize("more", [{"num_beams": 2}, {"num_beams": 1, "num_return_sequences": 2}])
def test_what_cannot_be_told_apart_by_row_is_drawn_alone(
    loaded: Loaded, more: dict[str, Any]
) -> None:
    found = loaded.ask(TEXTS[:2], ALONE[:2], **SAMPLES, **more)
    torch.manual_seed(8)
    assert loaded.ask(TEXTS[:2], ALONE[:2], **SAMPLES, **more) == found
    program = loaded.replica.program({**SAMPLES, **more})
    split = SplitPipeline(loaded.replica._pipe, {**SAMPLES, **more})
    forward = sanitized(loaded.replica._pipe, {**SAMPLES, **more})[1]
    chunks = [split.preprocess(TEXTS[0])[0][0] for _ in range(2)]
    Requests(loaded.replica._pipe, {**SAMPLES, **more}, forward).add(chunks, {})
    first, second = program.batch_slots(chunks)
    assert first.key != second.key


def test_tokens_are_drawn_as_often_as_the_model_says(model: Model) -> None:
    loaded = Loaded("text-generation", model("gpt2-lm"))
    parameters: dict[str, Any] = {"max_new_tokens": 1, "do_sample": True, "top_k": 4}
    given = loaded._pipe.tokenizer("a", return_tensors="pt")
    with torch.no_grad():
        logits = loaded._pipe.model(**given).logits[0, -1]
    best = logits.topk(4)
    expected = best.values.softmax(-1).tolist()
    count = 600
    own = [{"seed": i} for i in range(count)]
    batches = [range(start, start + 200) for start in range(0, count, 200)]
    texts = loaded.ask(["a"] * count, batches, own, **parameters, return_tensors=True)
    drawn = Counter(text[0]["generated_token_ids"][-1] for text in texts)
    assert set(drawn) <= set(best.indices.tolist())
    for token, share in zip(best.indices.tolist(), expected, strict=True):
        assert abs(drawn[token] / count - share) < 0.08


def test_greedy_answers_are_those_without_details(loaded: Loaded) -> None:
    plain: dict[str, Any] = {"max_new_tokens": 7, "num_beams": 1}
    expected = loaded.ask(TEXTS, ALONE, **plain)
    found = loaded.ask(TEXTS, TOGETHER, **plain, details=True)
    for own, known in zip(found, expected, strict=True):
        assert {**own[0], **known[0]} == own[0]
        assert 1 <= own[0]["generated_tokens"] <= 7
        assert own[0]["finish_reason"] in ("length", "stop")
        assert own[0]["finish_reason"] == "stop" or own[0]["generated_tokens"] == 7


def test_logprobs_and_counts_are_those_of_the_tokens(model: Model) -> None:
    loaded = Loaded("text-generation", model("llama-lm"))
    parameters: dict[str, Any] = {"max_new_tokens": 5, "details": True, "return_tensors": True}
    for text, found in zip(TEXTS, loaded.ask(TEXTS, TOGETHER, **parameters), strict=True):
        own = found[0]
        ids = own["generated_token_ids"]
        prompt = len(loaded._pipe.tokenizer(text)["input_ids"])
        assert own["prompt_tokens"] == prompt
        assert len(ids) == prompt + own["generated_tokens"]
        with torch.no_grad():
            logits = loaded._pipe.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = sum(logits[i - 1, ids[i]].item() for i in range(prompt, len(ids)))
        assert own["logprob"] == pytest.approx(expected, abs=1e-3)


def test_rows_have_parameters_of_their_own(loaded: Loaded) -> None:
    own = [{"max_new_tokens": 1 + i} for i in range(6)]
    plain: dict[str, Any] = {"num_beams": 1, "max_new_tokens": 3}
    expected = [
        loaded.ask([text], [[0]], num_beams=1, max_new_tokens=1 + i)[0]
        for i, text in enumerate(TEXTS)
    ]
    assert loaded.ask(TEXTS, TOGETHER, own, **plain) == expected
    assert loaded.ask(TEXTS, MIXED, own, **plain) == expected


def test_what_is_known_of_answers_is_the_same_where_rows_leave(loaded: Loaded) -> None:
    own = [{"max_new_tokens": most} for most in (2, 9, 1, 14, 5, 9)]
    plain: dict[str, Any] = {**SAMPLES, "num_beams": 1, "max_new_tokens": 3, "details": True}
    expected = loaded.ask(TEXTS, ALONE, own, **plain)
    for batches in (TOGETHER, MIXED):
        for (found,), (known,) in zip(
            loaded.ask(TEXTS, batches, own, **plain), expected, strict=True
        ):
            assert found.pop("logprob") == pytest.approx(known["logprob"], abs=1e-3)
            assert found == {name: value for name, value in known.items() if name != "logprob"}


def test_rows_draw_and_stop_as_they_ask(model: Model) -> None:
    loaded = Loaded("text-generation", model("gpt2-lm"))
    plain: dict[str, Any] = {**SAMPLES, "max_new_tokens": 12, "return_full_text": False}
    longest = max(
        (each[0]["generated_text"] for each in loaded.ask(TEXTS, ALONE, **plain)), key=len
    )
    own: list[dict[str, Any]] = [
        {"temperature": 0.2},
        {"top_k": 1},
        {},
        {"stop_strings": [longest[2:4], "never"]},
        {"seed": 5},
        {"top_p": 0.3, "stop_strings": longest[1]},
    ]
    expected = [
        loaded.ask([text], [[0]], **{**plain, **each})[0]
        for text, each in zip(TEXTS, own, strict=True)
    ]
    assert loaded.ask(TEXTS, TOGETHER, own, **plain) == expected
    assert loaded.ask(TEXTS, MIXED, own, **plain) == expected


def test_an_answer_that_ends_at_a_stop_string_says_so(model: Model) -> None:
    loaded = Loaded("text-generation", model("gpt2-lm"))
    plain: dict[str, Any] = {"max_new_tokens": 12, "return_full_text": False, "details": True}
    (whole,) = loaded.ask(TEXTS[:1], [[0]], **plain)
    stop = next(each for each in whole[0]["generated_text"][2:] if each.isalpha())
    own = [{"stop_strings": stop}, *({} for _ in TEXTS[1:])]
    found = loaded.ask(TEXTS, TOGETHER, own, **plain)[0][0]
    assert found["finish_reason"] == "stop"
    assert found["generated_tokens"] < 12
    assert stop in found["generated_text"]
    assert whole[0]["generated_text"].startswith(found["generated_text"])


def test_each_row_ends_with_the_forced_token_at_its_own_limit(model: Model) -> None:
    loaded = Loaded("summarization", model("bart-seq2seq"))
    own: list[dict[str, Any]] = [{"max_new_tokens": 2 + i} for i in range(6)]
    plain: dict[str, Any] = {"num_beams": 1, "forced_eos_token_id": 5, "return_tensors": True}
    alone = [
        loaded.ask([text], [[0]], **plain, **each)[0] for text, each in zip(TEXTS, own, strict=True)
    ]
    found = loaded.ask(TEXTS, TOGETHER, own, **plain, max_new_tokens=4)
    for each, expected in zip(found, alone, strict=True):
        tokens = each[0]["summary_token_ids"].tolist()
        assert tokens == expected[0]["summary_token_ids"].tolist()
        assert tokens[-1] == 5


def test_a_limit_of_all_that_is_no_count_keeps_rows_with_limits_alone(model: Model) -> None:
    loaded = Loaded("summarization", model("bart-seq2seq"))
    parameters = {"num_beams": 1, "max_length": 12, "max_new_tokens": None}
    program = loaded.replica.program(parameters)
    split = SplitPipeline(loaded.replica._pipe, parameters)
    forward = sanitized(loaded.replica._pipe, parameters)[1]
    requests = Requests(loaded.replica._pipe, parameters, forward)
    keys = []
    for own in ({"max_new_tokens": 5}, {"max_new_tokens": 5}, {"top_k": 3}, {"top_k": 4}):
        (chunk,), _ = split.preprocess(TEXTS[0])
        requests.add([chunk], own)
        keys.append(program.batch_slots([chunk])[0].key)
    assert keys[0] != keys[1] != keys[2]
    assert keys[2] == keys[3]


@pytest.mark.parametrize("more", [{"token_healing": True}, {"use_mtp": True}, {"num_beams": 2}])
def test_tokens_that_are_not_chosen_one_by_one_keep_rows_alone(
    model: Model, more: dict[str, Any]
) -> None:
    pipe = Loaded("text-generation", model("gpt2-lm"))._pipe
    forward = sanitized(pipe, {**SAMPLES, **more})[1]
    assert not GenerationControl(pipe, {**SAMPLES, **more}, forward).by_row
    assert GenerationControl(pipe, SAMPLES, sanitized(pipe, SAMPLES)[1]).by_row


def test_generate_within_generate_is_left_as_it_is(model: Model) -> None:
    pipe = Loaded("text-generation", model("gpt2-lm"))._pipe
    control = GenerationControl(pipe, SAMPLES, sanitized(pipe, {**SAMPLES, "num_beams": 2})[1])
    calls: list[dict[str, Any]] = []

    class Nested:
        def generate(self, **keywords: Any) -> None:
            calls.append(keywords)
            if len(calls) == 1:
                self.generate()

    nested = Nested()
    control_generate(nested)
    with control.answering([Request(parameters={"max_new_tokens": 5})]):
        nested.generate()
    assert calls == [{"max_new_tokens": 5}, {}]


@pytest.mark.parametrize("most", [40, 3])
def test_forced_tokens_do_not_count_for_the_form(model: Model, most: int) -> None:
    loaded = Loaded("summarization", model("bart-seq2seq"))
    forced: dict[str, Any] = {"forced_bos_token_id": 0, "forced_eos_token_id": 2, "num_beams": 1}
    options = {**forced, "max_new_tokens": most, "details": True}
    if most == 3:
        with pytest.raises(ResponseFormatError, match="ends after 3 tokens, before it has"):
            loaded.ask(TEXTS[:2], [[0, 1]], **options, response_format="(good|evil){20}")
        return
    for (answer,) in loaded.ask(TEXTS[:2], [[0, 1]], **options, response_format="good|evil"):
        assert answer["response"] in ("good", "evil")
        assert answer["finish_reason"] == "stop"


def test_stop_strings_are_looked_up_once_in_the_vocabulary(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []

    class Counted(StopStringCriteria):  # type: ignore[misc]
        def __init__(self, tokenizer: Any, stop_strings: list[str]) -> None:
            made.append(stop_strings)
            super().__init__(tokenizer, stop_strings)

    monkeypatch.setattr(generation_control, "StopStringCriteria", Counted)
    loaded = Loaded("text-generation", model("gpt2-lm"))
    own = [{"stop_strings": each} for each in ("x", ["y", "z"], "x")]
    loaded.ask(TEXTS[:3], [[0, 1], [2, 0]], own, max_new_tokens=3)
    assert sorted(made) == [["x"], ["y", "z"]]


def test_seeded_generations_exclude_each_other(model: Model) -> None:
    pipe = Loaded("text-generation", model("gpt2-lm"))._pipe
    parameters = {**SAMPLES, "num_beams": 2}
    control = GenerationControl(pipe, parameters, sanitized(pipe, parameters)[1])
    entered = threading.Event()

    def other() -> None:
        with control.answering([Request(seed=1)]):
            entered.set()

    thread = threading.Thread(target=other)
    with control.answering([Request(seed=2)]):
        thread.start()
        assert not entered.wait(0.1)
    thread.join()
    assert entered.is_set()


def test_spaces_within_a_form_are_kept(model: Model) -> None:
    loaded = Loaded("text-generation", model("gpt2-lm"))
    cleans = "clean_up_tokenization_spaces"
    setattr(loaded._pipe.tokenizer, cleans, True)
    setattr(loaded._pipe.tokenizer, f"{cleans}_for_bpe_even_though_it_will_corrupt_output", True)
    ((answer,),) = loaded.ask(TEXTS[:1], [[0]], max_new_tokens=20, response_format="a [.] do n't")
    assert answer["response"] == "a . do n't"
