"""Memory that a job takes does not grow with its rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "memory.py"


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARK.exists(), reason="the source distribution has no benchmarks")
def test_a_million_texts_take_little_more_than_fifty_thousand() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK)], check=True, capture_output=True, text=True, timeout=3000
    )
    print(done.stdout)
    more = int(done.stdout.split()[-3])
    assert more <= 64, done.stdout
