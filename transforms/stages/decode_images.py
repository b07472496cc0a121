"""Images decoded once, for all models that read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.errors import contained
from ..media.ahead import Ahead
from ..media.decode_ahead import DecodeAhead
from ..media.decoding import decoded
from ..options.media_limits import MediaLimits
from ..rows.binding import Binding
from ..tasks.image import DECODE
from . import task_options
from .base import FailingFn, with_own_windows
from .exceptions import WithFailures


class DecodeImages(WithFailures):
    """Rows with the images of a column decoded, in a column of their own.

    Several models that read that column decode nothing:

    ```python
    photos = p | beam.io.ReadFromParquet("photos.parquet") | DecodeImages(input="photo")
    found = photos | ObjectDetection(input="pixels")
    named = photos | ImageClassification(input="pixels")
    ```

    The column holds Pillow images in RGB, turned as their EXIF orientation says: what the tasks
    make of a file themselves. Drop it before rows are written.

    Args:
      input: the column with images: bytes, paths, URIs or {bytes, path}.
      output: the column that rows gain.
      media_limits: how large images may be, as in the tasks.
      error_handling: Beam YAML's {output: name}; in Python, `with_exception_handling()`.

    Raises ValueError or TypeError for an option with an invalid value.

    """

    def __init__(
        self,
        input: str,
        output: str = "pixels",
        media_limits: Mapping[str, float] | None = None,
        error_handling: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._limits = task_options.media_limits(media_limits or {}, {})
        self._binding = Binding(task=DECODE, parameters={}, input=input, output=output)
        if error_handling:
            self._tags = ("good", task_options.error_output(error_handling))

    def expand(self, pcoll: Any) -> Any:
        """PCollection of rows to PCollection of rows with one more column."""
        self._binding.check(pcoll.element_type)
        binding = self._binding.holding(pcoll.element_type)
        fn = DecodeImagesFn(self._limits, binding, self._tags is not None)
        good, bad = self._apply(fn, pcoll, binding.result_type(pcoll.element_type))
        return self._outputs(good, bad)


class DecodeImagesFn(FailingFn):
    """Rows to rows with a decoded image; images are fetched and decoded ahead."""

    stage = "preprocess"

    def __init__(self, limits: MediaLimits, binding: Binding, handles_failures: bool) -> None:
        super().__init__(handles_failures)
        self._limits = limits
        self._binding = binding

    @property
    def _name(self) -> str:
        return DECODE.name

    def setup(self) -> None:
        """Prepare what fetches and decodes."""
        self._ahead = Ahead(DECODE, self._limits)
        self._decode_ahead = DecodeAhead(DECODE, self._limits)
        self._result = self._binding.results()

    def teardown(self) -> None:
        """End what fetches and decodes."""
        self._ahead.close()
        self._decode_ahead.clear()

    def start_bundle(self) -> None:
        """Drop what a failed bundle has left."""
        self._ahead.clear()
        self._decode_ahead.clear()

    def process(
        self, element: Any, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """The rows whose images are decoded by now."""
        try:
            with contained:
                example = self._binding.example(element)
        except Exception as error:
            return [self._failed(element, windowed, error)]
        return with_own_windows(self._decoded([(windowed, example)]), windowed)

    def finish_bundle(self) -> Iterator[Any]:
        """The rows that are left."""
        return self._decoded([], last=True)

    def _decoded(self, examples: Iterable[tuple[Any, Any]], last: bool = False) -> Iterator[Any]:
        fetched = self._ahead.through(examples, last)
        for windowed, example in self._decode_ahead.through(fetched, last):
            try:
                with contained:
                    image = decoded(example, DECODE, None, self._limits)
                    result = self._result(windowed.value, image, "")
            except Exception as error:
                yield self._failed(windowed.value, windowed, error)
            else:
                yield windowed.with_value(result)
