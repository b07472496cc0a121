"""How large a batch may be: learned from what did and did not fit."""

from __future__ import annotations

from transforms.engine.memory_ceilings import Ceilings


def test_a_ceiling_rises_again_but_not_to_what_failed() -> None:
    ceilings = Ceilings()
    ceilings.failed("key", 1000)
    assert ceilings.of("key") == 500
    assert ceilings.of("other") > 10**9
    for _ in range(100):
        ceilings.succeeded("key", ceilings.of("key"))
    assert 900 < ceilings.of("key") < 1000


def test_a_ceiling_rises_beyond_what_failed_when_that_was_long_ago() -> None:
    ceilings = Ceilings()
    ceilings.failed("key", 1000)
    steps = 0
    while ceilings.of("key") < 1000:
        ceilings.succeeded("key", ceilings.of("key"))
        steps += 1
    assert 2000 < steps < 2100
    for _ in range(100):
        ceilings.succeeded("key", ceilings.of("key"))
    assert ceilings.of("key") > 10_000  # there is memory again
    ceilings.failed("key", ceilings.of("key"))
    refused = ceilings.of("key") * 1.2
    for _ in range(3500):
        ceilings.succeeded("key", ceilings.of("key"))
    assert ceilings.of("key") < refused  # the second time, twice as long


def test_a_row_that_fails_at_a_size_that_fits_forgets_what_it_caused() -> None:
    ceilings = Ceilings()
    ceilings.failed("key", 1000)
    ceilings.succeeded("key", 500)
    ceilings.failed_alone("key", 600)
    assert ceilings.of("key") == 500
    ceilings.failed_alone("key", 400)
    assert ceilings.of("key") > 10**9


def test_a_ceiling_falls_faster_while_nothing_fits() -> None:
    ceilings = Ceilings()
    found = []
    for _ in range(4):
        ceilings.failed("key", min(64_000, ceilings.of("key")))
        found.append(ceilings.of("key"))
    assert found == [32_000, 8_000, 1_000, 62]
