"""Checks of a Beam YAML file before Beam expands it: keys, types and inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from apache_beam.yaml.yaml_transform import SafeLineLoader

from transforms.options.shown import shown
from transforms.options.suggest import did_you_mean, likely, unknown
from transforms.tasks import ALIASES, TASKS, of_other_name

from . import sources

_TOP = ("pipeline", "options", "providers", "tests")
_ANY = ("type", "name", "input", "output", "windowing", "resource_hints")
_LEAF = (*_ANY, "config", "output_schema")
_NESTED = (*_ANY, "transforms", "source", "sink")
_KEYS = {"composite": _NESTED, "chain": (*_NESTED, "extra_transforms")}
#: Beam appends the language to their types.
_LANGUAGES = ("-generic", "-python", "-javascript", "-java", "-sql", "-calcite")


class SpecificationError(ValueError):
    """The file names a key, a type of a transform, or an input that does not exist."""


def check(spec: Mapping[str, Any], types: Collection[str]) -> None:
    """Check a file's keys, the types of its transforms and their inputs.

    Args:
      spec: the content of the file, with the line numbers that Beam's loader stores.
      types: the types of all known transforms.

    Raises SpecificationError with a suggestion, and the line.

    """
    check_top(spec)
    plain = {each.removesuffix(end) for each in types for end in _LANGUAGES if each.endswith(end)}
    pipeline = spec["pipeline"]
    if isinstance(pipeline, Mapping):
        _check_nested(pipeline, {*types, *plain, *_KEYS})


def check_top(spec: Mapping[str, Any]) -> None:
    """Check the keys of the file itself."""
    _check_keys(spec, _TOP, "the file")
    if "pipeline" not in spec:
        raise SpecificationError("a Beam YAML file needs a 'pipeline'")
    options = spec.get("options")
    if "options" in spec and not isinstance(options, Mapping):
        raise SpecificationError(f"options must be a mapping of Beam's, got {shown(options)}")


def check_has(spec: Mapping[str, Any], option: str, type: str) -> None:
    """Raises SpecificationError if no transform of a file is of the type that an option is for."""
    if type not in types(spec):
        raise SpecificationError(f"{option} is for files with {type}: there is none in this file")


def check_limited(spec: Mapping[str, Any], type: str) -> None:
    """Raises SpecificationError if a file reads rows by a transform that takes no limit."""
    others = sorted(each for each in types(spec) if each == "Create" or each.startswith("ReadFrom"))
    if others:
        raise SpecificationError(
            f"--limit is for files that read with {type} alone: {', '.join(others)} would read all "
            "rows"
        )


def types(spec: Mapping[str, Any]) -> set[str]:
    """The types of all transforms of a file."""
    pipeline = spec["pipeline"]
    return _types(pipeline) if isinstance(pipeline, Mapping) else set()


def _types(node: Mapping[str, Any]) -> set[str]:
    """The types of a transform and of all within it."""
    return {str(node.get("type"))}.union(*map(_types, _members(node)))


def _check_nested(
    node: Mapping[str, Any], types: set[str], given: frozenset[str] = frozenset()
) -> None:
    """Check a chain or composite and its members, which may read the inputs `given` to it."""
    kind = str(node.get("type", "composite"))
    if kind not in _KEYS:
        raise SpecificationError(
            f"{_where(node)}the pipeline's type must be composite or chain, got {shown(kind, 80)}"
        )
    _check_keys(node, _KEYS[kind], f"transform {shown(_name(node), 80)}")
    members = list(_members(node))
    names = {each for member in members for each in (member.get("name"), member.get("type"))}
    own = node.get("input")
    inner = given | {"input"} | (set(own) if isinstance(own, Mapping) else set())
    for member in members:
        _check_transform(member, types, {str(each) for each in names if each}, inner)


def _check_transform(
    node: Mapping[str, Any], types: set[str], names: set[str], given: frozenset[str]
) -> None:
    kind = node.get("type")
    if kind in _KEYS:
        _check_nested(node, types, given)
    else:
        _check_keys(node, _LEAF, f"transform {shown(_name(node), 80)}")
        if kind is not None and kind not in types:
            raise SpecificationError(_where(node) + _unknown_type(str(kind), types))
    if kind is None:
        raise SpecificationError(f"{_where(node)}transform {shown(_name(node), 80)} has no type")
    if isinstance(config := node.get("config"), Mapping):
        try:
            _check_failures(config.get("error_handling"))
            sources.check(str(kind), config)
        except ValueError as error:
            raise SpecificationError(f'"{_name(node)}"{_at(node)}: {error}') from error
    _check_inputs(node, names | given)


def _check_failures(handling: Any) -> None:
    """Raises ValueError for error_handling of another type than Beam expects."""
    if handling is not None and not isinstance(handling, Mapping):
        raise ValueError(
            f"error_handling must be {{output: a name for the failures}}, got {shown(handling)}"
        )


def _check_inputs(node: Mapping[str, Any], names: Collection[str]) -> None:
    for reference in _references(node.get("input")):
        base = reference.rpartition(".")[0] or reference
        if reference not in names and base not in names:
            raise SpecificationError(
                f"{_where(node)}transform {shown(_name(node), 80)}: "
                + unknown("input", reference, names)
            )


def _members(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The transforms inside one. Beam's own schema refuses members that are not mappings."""
    listed = [node.get("source"), node.get("sink")]
    for key in ("transforms", "extra_transforms"):
        value = node.get(key)
        listed += value if isinstance(value, list) else []
    yield from (each for each in listed if isinstance(each, Mapping))


def _references(given: Any) -> Iterator[str]:
    """The names in an `input`: one, a list, or a mapping to them."""
    if isinstance(given, str):
        yield given
    elif isinstance(given, list):
        for each in given:
            yield from _references(each)
    elif isinstance(given, Mapping):
        yield from _references(list(SafeLineLoader.strip_metadata(given).values()))


def _check_keys(node: Mapping[str, Any], valid: Collection[str], what: str) -> None:
    for key in node:
        if key not in valid and not str(key).startswith("__"):
            raise SpecificationError(f"{_where(node)}{what}: {unknown('key', key, valid)}")


def _unknown_type(kind: str, types: Collection[str]) -> str:
    task = TASKS.get(ALIASES.get(kind, kind))
    if task is not None:
        return f"{shown(kind)} is a task: the type of its transform is {task.transform!r}"
    names = [each for each in types if "-" not in each]
    other = of_other_name(kind)
    close = TASKS[other].transform if other in TASKS else likely(kind, names)
    if close is not None:  # the list is too long
        return f"unknown transform type {shown(kind)}. {did_you_mean(close)}"
    return unknown("transform type", kind, names)


def _at(node: Any) -> str:
    line = SafeLineLoader.get_line(node)
    return "" if line == "unknown" else f" at line {line}"


def _where(node: Any) -> str:
    line = SafeLineLoader.get_line(node)
    return "" if line == "unknown" else f"line {line}: "


def _name(node: Mapping[str, Any]) -> str:
    return str(node.get("name") or node.get("type") or "pipeline")
