"""Files that are written whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from transforms.options.whole_file import write_whole


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", "öld")
    write_whole(tmp_path / "a.json", "nëw")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "nëw"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a.json", "old")

    def refused(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(OSError, match="no room"):
        write_whole(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old"
