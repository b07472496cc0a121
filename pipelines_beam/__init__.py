"""Every Hugging Face pipeline task as an Apache Beam transform, for large offline jobs.

```python
import apache_beam as beam
from pipelines_beam import TextClassification

with beam.Pipeline() as p:
    p | beam.Create(["I love this"]) | TextClassification() | beam.Map(print)
```
"""

from transforms import *  # noqa: F403 - the front door: the same names, pinned by a test
from transforms import __all__ as __all__
