"""The rules that keep the house in order: who imports whom, and how large a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from support.paths import ROOT, TESTS

import pipelines_beam

PACKAGES = ("transforms", "pipelines_beam")
#: Rooms from top to bottom: each imports from those below it, and from itself.
FLOORS = (
    "pipelines_beam",
    "transforms",
    "transforms.catalogue",
    "transforms.stages",
    "transforms.batching",
    "transforms.pipelines",
    "transforms.rows",
    "transforms.media",
    "transforms.tasks",
    "transforms.options",
)
#: Rooms beside that order, and what they import: the rooms above that import them.
BESIDE = {
    "transforms.engine": {"transforms.options"},
    "transforms.weights": {"transforms.options"},
}
#: What a room must not import, though it is installed.
FOREIGN = {"transforms.engine": {"transformers", "diffusers"}}
#: The only module that changes transformers and diffusers.
PATCHES = "transforms.pipelines.patches"
LIBRARIES = ("transformers", "diffusers")
LINES = 400
ENTRIES = 12  # of transforms/

#: What does not hold yet, in the words of the rules below. It must become empty.
NOT_YET: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Module:
    """A module of the packages, as it is written."""

    name: str
    path: Path
    known: frozenset[str]

    @cached_property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def room(self) -> str:
        """The longest name of a room that it is in."""
        rooms = [room for room in (*FLOORS, *BESIDE) if f"{self.name}.".startswith(f"{room}.")]
        return max(rooms, key=len)

    @cached_property
    def imports(self) -> list[tuple[str, str]]:
        """Every import, also in functions and for type checkers: (module, name or nothing)."""
        return list(self._imports())

    def _imports(self) -> Iterator[tuple[str, str]]:
        package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((each.name, "") for each in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package.rsplit(".", node.level - 1)[0] if node.level else ""
                source = ".".join(filter(None, (above, node.module)))
                for each in node.names:
                    inside = f"{source}.{each.name}"
                    yield (inside, "") if inside in self.known else (source, each.name)

    @cached_property
    def own(self) -> set[str]:
        """The modules of the packages that it imports."""
        return {name for name, _ in self.imports if name in self.known} - {self.name}


def _modules() -> dict[str, Module]:
    paths = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            paths[".".join(parts).removesuffix(".__init__")] = path
    known = frozenset(paths)
    return {name: Module(name, path, known) for name, path in paths.items()}


MODULES = _modules()
pytestmark = pytest.mark.skipif(not MODULES, reason="tests of an installed package")


def upward() -> set[str]:
    """Imports go down."""
    return {f"{a} imports {b}" for a, m in MODULES.items() for b in m.own if not _may(m, b)}


def _may(module: Module, imported: str) -> bool:
    room, other = module.room, MODULES[imported].room
    if room == other:
        return True
    if room in BESIDE:
        return other in BESIDE[room]
    if other in BESIDE:
        return room not in BESIDE[other]
    return FLOORS.index(room) < FLOORS.index(other)


def foreign() -> set[str]:
    """Rooms import no library that is not theirs."""
    found = set()
    for module in MODULES.values():
        roots = {name.partition(".")[0] for name, _ in module.imports}
        roots &= FOREIGN.get(module.room, set())
        found |= {f"{module.name} imports {root}" for root in roots}
    return found


def circles() -> set[str]:
    """No imports go in a circle."""
    rest = {name: set(module.own) for name, module in MODULES.items()}
    while free := {name for name, imported in rest.items() if not imported & rest.keys()}:
        rest = {name: imported for name, imported in rest.items() if name not in free}
    while ends := rest.keys() - set().union(*rest.values()):  # imported by none of the circle
        rest = {name: imported for name, imported in rest.items() if name not in ends}
    return {f"{name} is in a circle" for name in rest}


def private() -> set[str]:
    """Private names stay in their module."""
    found = set()
    for module in MODULES.values():
        for source, name in module.imports:
            parts = [*source.split("."), name] if source.partition(".")[0] in PACKAGES else []
            found |= {
                f"{module.name} imports {part} of {source}"
                for part in parts
                if part.startswith("_") and not part.endswith("__")
            }
        found |= _attributes(module)
    return found


def _attributes(module: Module) -> set[str]:
    """Private names that are read as attributes of imported modules."""
    modules = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                if any(f"{name}".endswith(f".{each.name}") for name in module.own):
                    modules[each.asname or each.name] = each.name
    return {
        f"{module.name} reads {node.attr} of {node.value.id}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
    }


def changes() -> set[str]:
    """One module assigns into modules and classes of transformers and diffusers."""
    return {
        f"{module.name}, line {line} changes {what}"
        for module in MODULES.values()
        if module.name != PATCHES
        for line, what in _changes(module)
    }


def _changes(module: Module) -> Iterator[tuple[int, str]]:
    """Assignments to attributes of what is imported from the libraries."""
    theirs = set(_names_of_libraries(module))
    for node in ast.walk(module.tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            targets = [ast.Attribute(node.args[0], "", lineno=node.lineno)]
        for target in targets:
            if not isinstance(target, ast.Name) and _root(target) in theirs:
                yield target.lineno, ast.unparse(target)


def _names_of_libraries(module: Module) -> Iterator[str]:
    """The names under which a module knows the libraries and what is in them."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            sources = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            sources = [node.module or ""] * len(node.names)
        else:
            continue
        for each, source in zip(node.names, sources, strict=True):
            if source.partition(".")[0] in LIBRARIES:
                yield each.asname or each.name.partition(".")[0]


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def long() -> set[str]:
    """Files are short."""
    lengths = {name: len(module.source.splitlines()) for name, module in MODULES.items()}
    return {f"{name} is longer than {LINES} lines" for name, n in lengths.items() if n > LINES}


RULES = (upward, foreign, circles, private, changes, long)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_is_kept(rule: Callable[[], set[str]]) -> None:
    found = rule() - NOT_YET
    assert not found, "\n".join(sorted(found))


def test_what_is_not_right_yet_is_still_wrong() -> None:
    """Else it is to be taken off the list."""
    assert set().union(*(rule() for rule in RULES)) >= NOT_YET


def test_every_module_is_in_a_room() -> None:
    """A new folder of transforms/ gets its place in FLOORS or BESIDE."""
    rooms = {name for name in MODULES if name.startswith("transforms.") and name.count(".") == 1}
    assert rooms == {room for room in (*FLOORS, *BESIDE) if room.count(".") == 1}


def test_the_house_has_few_rooms() -> None:
    """A newcomer reads this list first."""
    found = [
        path.name for path in (ROOT / "transforms").iterdir() if path.name not in ("__pycache__",)
    ]
    assert len(found) <= ENTRIES, sorted(found)


def test_no_test_is_imported_by_another() -> None:
    """What several tests need is in tests/support or tests/cases."""
    files = {path.stem: path for path in TESTS.rglob("*.py")}
    tests = {name for name in files if name.startswith("test_")} | {"conftest"}
    for path in files.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = {part for each in node.names for part in each.name.split(".")}
            elif isinstance(node, ast.ImportFrom):
                names = {*(node.module or "").split("."), *(each.name for each in node.names)}
            else:
                continue
            assert not names & tests, f"{path} imports {', '.join(names & tests)}"


_HEAVY = {"apache_beam", "torch", "numpy", "yaml"}
#: What is run, and the libraries that it must not import.
LATE = {
    "from pipelines_beam import TextClassification": {"torch", "transformers", "PIL", "scipy"},
    "from pipelines_beam import *": {"transformers"},  # and torch: with Beam's ModelHandler
    "from pipelines_beam import cli; cli.main(['--help'])": {
        "apache_beam",
        "torch",
        "numpy",
        "yaml",
    },
    "from pipelines_beam import cli; cli.main(['--version'])": {
        "apache_beam",
        "torch",
        "numpy",
        "yaml",
    },
    "from pipelines_beam import cli; cli.main(['tasks'])": {"torch", "transformers"},
    "from pipelines_beam import cli; cli.main(['tasks', 'fill-mask'])": {"torch", "transformers"},
    "import transforms.engine.process.server": {"apache_beam", "transformers", "pandas"},
    "import transforms.batching.replica": {"apache_beam", "pandas", "pyarrow.parquet"},
}


@pytest.mark.parametrize(
    "code",
    [pytest.param(c, marks=() if i in (0, 2) else pytest.mark.slow) for i, c in enumerate(LATE)],
)
def test_libraries_are_imported_when_they_are_needed(code: str) -> None:
    """Each takes seconds, and every process pays them again."""
    shown = f"import sys\ntry:\n    {code}\nfinally:\n    print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", shown], cwd=ROOT, capture_output=True, text=True, check=False
    )
    imported = set(done.stdout.split())
    assert "sys" in imported, done.stderr
    assert not imported & LATE[code]


def test_type_checkers_see_the_public_names() -> None:
    named = {
        each.name
        for package in PACKAGES
        for node in ast.walk(MODULES[package].tree)
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    classes = {
        node.name
        for node in MODULES["transforms.catalogue"].tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    assert set(pipelines_beam.__all__) <= named | classes
    assert set(pipelines_beam.__all__) <= set(dir(pipelines_beam))
