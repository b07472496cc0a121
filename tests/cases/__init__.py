"""Every task on tiny models, in one table: test_answers.py asks each case in every composition.

A module of this package belongs to the table by its list CASES; the models that only it needs may
be in its table MODELS, which becomes part of that of support.models.
"""

from __future__ import annotations

import importlib
import pkgutil

from support import models
from support.models.speech import SPEAKS

from cases.case import (
    BATCHES,
    COMPOSED,
    COMPOSITIONS,
    Case,
    Model,
    arranged,
)

__all__ = ["BATCHES", "CASES", "COMPOSED", "COMPOSITIONS", "UNTESTED", "Case", "Model", "arranged"]

#: All cases of all modules.
CASES: list[Case] = []
for _found in pkgutil.iter_modules(__path__):
    _module = importlib.import_module(f"{__name__}.{_found.name}")
    CASES.extend(getattr(_module, "CASES", ()))
    models.MODELS.update(getattr(_module, "MODELS", {}))

#: Tasks without a case, and why.
UNTESTED: dict[str, str] = {}
if not SPEAKS:
    UNTESTED["text-to-audio"] = "its own pipeline raises a TypeError in this version"
