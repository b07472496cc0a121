"""Make texts.parquet, the quickstart's input: docstrings of Python's own standard library.

    python configs/data/make_texts.py

Python 3.11, which made the shipped file, gives the same rows again; other versions have
other docstrings. These are under Python's licence (PSF-2.0).
"""

import ast
import hashlib
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 3500
#: Not of general interest: tests, bundled third-party code, the build's own files.
SKIPPED = {"__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "site-packages"}
SKIPPED |= {"test", "tests", "turtledemo"}
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

Row = dict[str, str]


def modules(library: Path) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of the library's modules, in the names' order."""
    found = {}
    for path in library.rglob("*.py"):
        parts = path.relative_to(library).with_suffix("").parts
        if all(part.isidentifier() and part not in SKIPPED for part in parts):
            found[".".join(parts).removesuffix(".__init__")] = path
    return iter(sorted(found.items()))


def docstrings(name: str, node: ast.AST) -> Iterator[Row]:
    """The docstrings of a module or class and of what it defines, with dotted names."""
    if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
        yield {"name": name, "text": text}
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from docstrings(f"{name}.{child.name}", child)


def texts(library: Path) -> Iterator[Row]:
    """Every docstring of the library: each text once, under the first of its names."""
    seen: set[str] = set()
    for name, path in modules(library):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in some of the sources
            tree = ast.parse(path.read_bytes())
        for row in docstrings(name, tree):
            if seen.isdisjoint(row.values()):  # a property's setter has its getter's name
                seen.update(row.values())
                yield row


def sample(rows: list[Row], size: int) -> list[Row]:
    """A sample as good as random, the same whenever it is drawn; in the order of the rows."""
    digests = {row["name"]: hashlib.sha256(row["name"].encode()).digest() for row in rows}
    limit = sorted(digests.values())[:size][-1]
    return [row for row in rows if digests[row["name"]] <= limit]


def main() -> None:
    """Write the file beside this script and say what is in it."""
    found = list(texts(Path(sysconfig.get_path("stdlib"))))
    rows = sample(found, ROWS)
    path = Path(__file__).with_name("texts.parquet")
    about = {
        "source": f"docstrings of the standard library of CPython {platform.python_version()}",
        "license": "PSF-2.0",
    }
    schema = pa.schema([("name", pa.string()), ("text", pa.string())], metadata=about)
    pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")
    longest = max(len(row["text"]) for row in rows)
    print(f"{path.name}: {len(rows)} of {len(found)} docstrings, up to {longest} characters")


if __name__ == "__main__":
    main()
