"""Default models: those of transformers' own table."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers.pipelines import SUPPORTED_TASKS

from transforms.tasks import default_models


def test_the_table_is_read_without_importing_it() -> None:
    expected = {name: entry["default"]["model"] for name, entry in SUPPORTED_TASKS.items()}
    assert default_models._defaults() == expected


def test_a_table_of_another_form_is_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text("SUPPORTED_TASKS = made()")

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr("importlib.util.find_spec", lambda name: Spec)
    default_models._defaults.cache_clear()
    try:
        name, entry = next(iter(SUPPORTED_TASKS.items()))
        assert default_models.default_model(name) == entry["default"]["model"]
    finally:
        default_models._defaults.cache_clear()
