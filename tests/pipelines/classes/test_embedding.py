"""Pooling: of a text's own tokens, whoever padded it, on whichever side."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import transformers
from support.texts import CORPUS

from transforms.batching.replica import Replica
from transforms.options.spec import ModelSpec
from transforms.pipelines.classes.embedding import POOLINGS, pool
from transforms.pipelines.factory import weightless
from transforms.pipelines.split_call import SplitPipeline

TEXTS = [CORPUS[0], CORPUS[36], CORPUS[20], CORPUS[1], CORPUS[9]]
#: Who pads: nobody but the batch; the tokenizer, to a length for all or to one of its own.
PADDINGS: dict[str, Mapping[str, Any]] = {
    "none": {},
    "max_length": {"padding": "max_length", "max_length": 48, "truncation": True},
    "multiple": {"padding": True, "pad_to_multiple_of": 8},
    "unmasked": {"padding": "max_length", "max_length": 48, "return_attention_mask": False},
}
END = "<|endoftext|>"
BY_HAND: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda own: own.mean(0),
    "cls": lambda own: own[0],
    "last": lambda own: own[-1],
    "max": lambda own: own.amax(0),
}


@pytest.fixture(scope="module")
def padding_on(
    model: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """A tiny encoder whose tokenizer has settings of its own."""

    @functools.cache
    def build(name: str, **settings: Any) -> str:
        directory = tmp_path_factory.mktemp("pooling") / name
        shutil.copytree(model(name), directory)
        file = directory / "tokenizer_config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**config, **settings}), encoding="utf-8")
        return str(directory)

    return build


@functools.cache
def replica(directory: str) -> Replica:
    return Replica(ModelSpec(task="feature-extraction", source=directory, device="cpu"))


@functools.cache
def stock(directory: str) -> Any:
    return transformers.pipeline("feature-extraction", directory, device="cpu")


def answers(directory: str, texts: list[str], **parameters: Any) -> list[Any]:
    """The project's, all texts that may share a batch in one."""
    call = SplitPipeline(weightless(replica(directory).spec), parameters)
    program = replica(directory).program(parameters)
    chunks = [call.preprocess(text)[0][0] for text in texts]
    found: dict[int, Any] = {}
    keys = [program.batch_slot(chunk).key for chunk in chunks]
    for key in dict.fromkeys(keys):
        rows = [i for i, each in enumerate(keys) if each == key]
        found |= dict(zip(rows, program.run([chunks[i] for i in rows]), strict=True))
    return [call.postprocess(text, [found[i]], [1]) for i, text in enumerate(texts)]


def by_hand(directory: str, text: str, pooling: str, keywords: Mapping[str, Any]) -> torch.Tensor:
    """Of stock's features, without those of padding."""
    pipe = stock(directory)
    features = torch.tensor(pipe(text, tokenize_kwargs=dict(keywords)))[0]
    encoded = pipe.tokenizer(text, **{**keywords, "return_attention_mask": True})
    mask = torch.tensor(encoded["attention_mask"])
    assert len(mask) == len(features)
    return BY_HAND[pooling](features[mask == 1])


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["bert-encoder", "gpt2-encoder"])
def test_pooled_are_a_texts_own_tokens(
    name: str, side: str, padding: str, padding_on: Callable[..., str]
) -> None:
    directory = padding_on(name, padding_side=side, pad_token=END if "gpt2" in name else "[PAD]")
    keywords = PADDINGS[padding]
    for pooling in POOLINGS:
        found = answers(directory, TEXTS, pooling=pooling, tokenize_kwargs=dict(keywords))
        for text, vector in zip(TEXTS, found, strict=True):
            expected = by_hand(directory, text, pooling, keywords)
            assert torch.allclose(torch.tensor(vector), expected, rtol=1e-4, atol=1e-4), text


def test_a_model_without_masks_is_given_none(padding_on: Callable[..., str]) -> None:
    directory = padding_on("bert-encoder", model_input_names=("input_ids",))
    keywords = PADDINGS["max_length"]
    found = answers(directory, TEXTS, pooling="last", tokenize_kwargs=dict(keywords))
    for text, vector in zip(TEXTS, found, strict=True):
        expected = by_hand(directory, text, "last", keywords)
        assert torch.allclose(torch.tensor(vector), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", ["none", "max_length"])
def test_a_text_without_tokens_is_refused(padding: str, padding_on: Callable[..., str]) -> None:
    directory = padding_on("gpt2-encoder", pad_token=END)
    keywords = dict(PADDINGS[padding])
    with pytest.raises(ValueError, match=r"pooling='mean' needs a token, but '' has none"):
        answers(directory, [""], pooling="mean", tokenize_kwargs=keywords)


def test_padding_that_cannot_be_told_is_refused(model: Callable[[str], str]) -> None:
    spec = ModelSpec(task="feature-extraction", source=model("bert-encoder"), device="cpu")
    pipe = weightless(spec)
    tokenize = pipe.tokenizer
    pipe.tokenizer = lambda *args, **keywords: {"input_ids": tokenize("Hi", return_tensors="pt")}
    pipe.tokenizer.model_input_names = ["input_ids"]
    with pytest.raises(ValueError, match="returns no attention_mask: leave out padding=True"):
        pipe.preprocess("Hi", pooling="cls", padding=True)


def test_the_precision_of_a_mean_is_not_that_of_the_model() -> None:
    tokens = 300
    for dtype, size in ((torch.bfloat16, 1.0), (torch.float16, 1000.0)):
        hidden = torch.full((1, tokens, 2), size, dtype=dtype)
        vector = pool(hidden, torch.ones(1, tokens), "mean")
        assert vector.tolist() == [[size, size]]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_is_no_number_in_padding_is_not_pooled(pooling: str) -> None:
    hidden = torch.tensor([[[1.0], [2.0], [torch.nan]], [[torch.nan], [3.0], [4.0]]])
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    expected = [BY_HAND[pooling](hidden[0, :2]), BY_HAND[pooling](hidden[1, 1:])]
    assert torch.equal(pool(hidden, mask, pooling), torch.stack(expected))


@pytest.mark.parametrize("shape", [(1, 2, 4), (1, 4)])
def test_what_is_not_one_vector_per_token_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"needs one vector for each token, but the model gives"):
        pool(torch.zeros(shape), torch.ones(1, 3), "mean")
