"""The audio tasks: what test_answers.py does not ask of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from support.sounds import SOUNDS, copied

from pipelines_beam import pipeline
from transforms.batching import program as program_module
from transforms.options.spec import ModelSpec
from transforms.pipelines import factory

Run = Callable[..., list[Any]]


class BestPath:
    """In place of a language model's decoder, which is an extra of its own: each frame's best."""

    def decode_beams(self, logits: Any) -> list[Any]:
        return [(" ".join(map(str, logits.argmax(-1))), None, [])]


def test_a_language_model_hears_nothing_behind_a_sound(model: Callable[[str], str]) -> None:
    spec = ModelSpec(task="automatic-speech-recognition", source=model("wav2vec2-layer-ctc"))
    pipe = factory.load(spec)
    pipe.type, pipe.decoder = "ctc_with_lm", BestPath()
    program = program_module.Program(pipe, spec, {})
    chunks = [next(iter(pipe.preprocess(copied(sound)))) for sound in SOUNDS[:4]]
    assert len({program.batch_slot(chunk).key for chunk in chunks}) == 1
    assert len({program.batch_slot(chunk).length for chunk in chunks}) > 1

    together = program.run([dict(chunk) for chunk in chunks])

    alone = [program.run([dict(chunk)])[0] for chunk in chunks]
    texts = [pipe.postprocess([outputs])["text"] for outputs in alone]
    assert [pipe.postprocess([outputs])["text"] for outputs in together] == texts
    assert len(set(texts)) > 1


def test_elements_are_left_as_they_were(model: Callable[[str], str], run: Run) -> None:
    sounds: list[dict[str, Any]] = [{"raw": each, "sampling_rate": 16_000} for each in SOUNDS[:3]]
    found = run(sounds, pipeline("automatic-speech-recognition", model("wav2vec2-layer-ctc")))
    assert sorted(len(result.example["raw"]) for result in found) == sorted(map(len, SOUNDS[:3]))
    assert all(np.array_equal(a["raw"], b) for a, b in zip(sounds, SOUNDS, strict=False))
