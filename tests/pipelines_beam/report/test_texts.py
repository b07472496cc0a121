"""Texts from data as pages show them."""

from __future__ import annotations

import pytest

from pipelines_beam.report import texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain <b>", "plain <b>"),
        ("a\x00b\x1b[31m\x85", "a⟨U+0000⟩b⟨U+001B⟩[31m⟨U+0085⟩"),
        ("user\u202egpj.exe\u2066", "user⟨U+202E⟩gpj.exe⟨U+2066⟩"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("tag \U000e0041", "tag ⟨U+E0041⟩"),
        ("half \ud800", "half ⟨U+D800⟩"),
        *((text, text) for text in ("👩\u200d👧 שלום\n\ttab", "\u0645\u06cc\u200c\u062e")),
        ("e\u0301" + "\u0301" * 50, "e\u0301\u0301\u0301"),
    ],
)
def test_what_cannot_be_seen_is_named(text: str, shown: str) -> None:
    assert texts.visible(text) == shown


def test_long_texts_are_cut() -> None:
    shown = texts.cut("x" * 1_000_000)
    assert shown == "x" * texts.LONGEST + " … 999,300 more characters"
    assert texts.cut("line\n" * 1000, 700).count("\n") < 20
    assert "4,921 more characters" in texts.cut("line\n" * 1000, 700)
    assert texts.cut("short") == "short"


def test_any_value_is_a_short_text() -> None:
    value = {"id": 1, "bytes": b"\xff" * 10_000, "text": "y" * 10_000, "list": [1.5] * 10_000}
    shown = texts.brief(value, 10_000)
    assert '"bytes": "10,000 bytes"' in shown
    assert len(shown) < 1000
    nested: list[object] = []
    for _ in range(100):
        nested = [nested]
    assert texts.brief(nested) == '[[[[["…"]]]]]'
    assert len(texts.brief(value)) < 250


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (texts.seconds(0.0123), "12 ms"),
        (texts.seconds(59.94), "59.9 s"),
        (texts.seconds(250), "4 min 10 s"),
        (texts.seconds(11_545), "3 h 12 min"),
        (texts.number(1234.5), "1,234"),
        (texts.number(12.345), "12.3"),
        (texts.number(0), "0"),
    ],
)
def test_numbers_are_for_people(shown: str, text: str) -> None:
    assert shown == text
