"""Waveforms at another rate: as torchaudio resamples them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.paths import EXPECTED
from support.sounds import TONE

from transforms.media.resample import resample

#: What torchaudio gives, as `torchaudio.functional.resample(waveform, rate, to)`.
RECORDED = json.loads((EXPECTED / "resample.json").read_text())


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda c: f"{c['rate']}-{c['to']}")
def test_resampling_is_torchaudios(case: dict[str, Any]) -> None:
    samples = np.sin(np.arange(case["samples"]) ** 1.5 * 0.05).astype(np.float32)
    found = resample(samples, case["rate"], case["to"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, case["expected"], atol=1e-6)


def test_rates_without_a_common_divisor_need_no_gigabytes() -> None:
    assert resample(TONE, 44_101, 16_000).shape == (-(-16_000 * 16_000 // 44_101),)
