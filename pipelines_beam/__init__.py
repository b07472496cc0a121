"""Every Hugging Face pipeline task as an Apache Beam transform, for large offline jobs.

```python
import apache_beam as beam
from pipelines_beam import LocalPipeline, TextClassification

with LocalPipeline() as p:
    p | beam.Create(["I love this"]) | TextClassification() | beam.Map(print)
```
"""

import importlib
from typing import TYPE_CHECKING, Any

#: The names that are not those of `transforms`, and the modules that have them.
_OWN = {"LocalPipeline": "workers", "predict": "predictions", "release_model": "kept_engine"}

if TYPE_CHECKING:
    from transforms import *  # noqa: F403 - the public names, which a test lists

    from .kept_engine import release_model as release_model
    from .predictions import predict as predict
    from .workers import LocalPipeline as LocalPipeline


def __getattr__(name: str) -> Any:
    """The names of `transforms`, imported on first use, so that the command line starts fast."""
    if not (name[0].isupper() or name in ("pipeline", *_OWN, "__all__")):  # a module, such as cli
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import transforms

    if not hasattr(transforms, "TaskTransform"):
        raise ImportError(
            f"{transforms.__file__} hides the package `transforms` that pipelines-beam installs: "
            "rename yours, or run from another directory"
        )
    if name in _OWN:
        return getattr(importlib.import_module(f".{_OWN[name]}", __name__), name)
    return [*transforms.__all__, *_OWN] if name == "__all__" else getattr(transforms, name)


def __dir__() -> list[str]:
    import transforms

    return [*globals(), *transforms.__all__, *_OWN]
