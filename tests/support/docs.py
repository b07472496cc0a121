"""The documentation: its files, the blocks of code in them, and the pages that are generated."""

from __future__ import annotations

import functools
import re
import runpy
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from support.paths import ROOT

FILES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
    if path.exists()  # beside a built package there is only a README
]
_BLOCK = re.compile(r"^(?:<!-- not run: (.+) -->\n)?```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
#: What code in the documentation is written in. Text is what a program prints, or a drawing.
LANGUAGES = {"python", "yaml", "sh", "text"}


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: str
    line: int
    language: str
    code: str
    #: Why it is not run, if it is not.
    excuse: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_in(page: str, text: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(text):
        line = text[: match.start(3)].count("\n")
        yield Block(page, line, match[2], match[3], match[1])


BLOCKS = [
    block
    for path in FILES
    for block in blocks_in(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
]


def file_of(block: Block) -> str | None:
    """The file that a block is, if it is one."""
    match = re.match(r"# (\w+\.py)\n", block.code)
    return match[1] if match and block.language == "python" else None


def compiled(block: Block) -> CodeType:
    """Its code, whose errors show the line of the page."""
    return compile("\n" * block.line + block.code, block.page, "exec")


def command_lines(code: str) -> Iterator[list[str]]:
    """The words of each command: a line is one, or several joined by a backslash."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


@functools.cache
def site() -> dict[str, Any]:
    """What docs/pages.py defines."""
    return runpy.run_path(str(ROOT / "docs" / "pages.py"))
