"""Functions in place of a stage may be given by name: imported, or refused, when it is built."""

from __future__ import annotations

import os.path
from typing import Any

import apache_beam as beam
import pytest

from transforms.stages.functions import custom_stage


@pytest.mark.parametrize("name", ["os.path.basename", "os.path:basename"])
def test_a_name_is_imported(name: str) -> None:
    assert custom_stage("postprocess", name) is os.path.basename


def test_what_needs_no_import_stays() -> None:
    transform = beam.Map(str)
    for given in (None, str.upper, transform):
        assert custom_stage("preprocess", given) is given


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("basename", ValueError, "postprocess must be named as module.function, got 'basename'"),
        ("no_such_module.f", ValueError, "'no_such_module.f' cannot be imported: ModuleNotFound"),
        ("os.path.nothing", ValueError, "cannot be imported: AttributeError"),
        ("os.sep", TypeError, "got 'os.sep', which is '/'"),
        ("", ValueError, "must be named as module.function, got ''"),
        (3, TypeError, "must be a function, its name as module.function, or a PTransform, got 3"),
        (beam.Flatten, TypeError, "Flatten is a class: give a PTransform made of it"),
        ("apache_beam.Flatten", TypeError, "Flatten is a class"),
    ],
)
def test_what_is_none_is_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        custom_stage("postprocess", given)
