"""The jinja variables of a Beam YAML file, and its keys and lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from apache_beam.yaml.yaml_transform import SafeLineLoader
from support.jobs import job

from pipelines_beam import template

Refusal = Callable[..., str]


def test_variables_are_those_of_included_files_too(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("# {{ not_read }}\n  {{ given }}")
    file = job(tmp_path, "pipeline: {% include 'part.yaml' %}")
    assert "Valid: given" in refusal("run", file, "--set=not_read=1")
    assert "unknown key 'typ'" in refusal("run", file, "--set=given={typ: chain}")
    dynamic = job(tmp_path, "pipeline: {% include kind ~ '.yaml' %}")
    said = refusal("run", dynamic, "--set=kind=part", "--set=given={}", "--set=gven=1")
    assert "unknown variable 'gven'. Did you mean 'given'?" in said


def test_keys_that_only_look_alike_are_two(tmp_path: Path) -> None:
    text = """
pipeline:
  deep:
    base: &base {x: 1, y: 1}
    more: &more {<<: *base, y: 2}
    other: &other {z: 3}
  both: {<<: *more, <<: *other, y: 4}
  keys: {1: a, "1": b}
"""
    found = SafeLineLoader.strip_metadata(template.load(job(tmp_path, text), {}))["pipeline"]
    assert found["deep"]["more"] == {"x": 1, "y": 2}
    assert found["both"] == {"x": 1, "y": 4, "z": 3}
    assert found["keys"] == {1: "a", "1": "b"}
    with pytest.raises(yaml.YAMLError, match="the key 'x' stands twice"):
        template.load(job(tmp_path, "pipeline: {<<: {x: 0}, x: 1, x: 1}"), {})


def test_a_column_in_a_prompt_is_told_from_a_variable(refusal: Refusal, tmp_path: Path) -> None:
    said = refusal("run", job(tmp_path, "pipeline: {prompt: 'Of {{ title }}'}"))
    assert "if it is a column in a prompt, write {% raw %}{{ title }}{% endraw %}" in said
    text = "pipeline: {prompt: '{{ lead }} {% raw %}{{ title }}{% endraw %}'}"
    assert template.load(job(tmp_path, text), {"lead": "Of"})["pipeline"]["prompt"] == (
        "Of {{ title }}"
    )
