"""What Beam imports for types that a file does not have."""

from __future__ import annotations

import importlib
import sys

import pytest

from pipelines_beam import provider


def test_a_module_is_missing_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with provider._missing("this"), pytest.raises(ImportError, match="this"):
        importlib.import_module("this")
    assert "this" not in sys.modules
    assert importlib.import_module("json")
    with provider._missing("json"):
        assert importlib.import_module("json") is sys.modules["json"] is not None
