"""Records, which travel between the stages: an element with its features, then its outputs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ..options.sizes import nbytes


class Record:
    """An element between stages: `chunks` are features after Preprocess, outputs after Forward.

    Within a process, tensors are passed on as they are. Between processes only the bytes of their
    own elements cross: a row of a batch, pickled as a tensor, would take the whole batch along.
    """

    __slots__ = ("__weakref__", "chunks", "counts", "element", "example", "group", "model_id")

    def __init__(
        self,
        element: Any,
        example: Any,
        chunks: list[Any],
        counts: list[int],
        model_id: str | None = None,
    ) -> None:
        #: The element that came in: a plain input, a row, or a (key, value) pair.
        self.element = element
        #: The input of the task, with small stand-ins for images, audio and video.
        self.example = example
        #: One mapping for each chunk that the model sees.
        self.chunks = chunks
        #: How many chunks each input of the example has: a single text is one input.
        self.counts = counts
        #: The model that computed the outputs.
        self.model_id = model_id
        #: The Records that are on their way to Postprocess with it; None between processes.
        self.group: Group | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        from ..engine.process import pickling

        content = (self.element, self.example, self.chunks, self.counts, self.model_id)
        return _record, (pickling.dump_each(content),)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors in its chunks."""
        return sum(map(nbytes, self.chunks))


class Group:
    """Records whose outputs came together, and which Postprocess gets one after the other.

    It keeps none of them in memory: whoever made it passes them on.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = [weakref.ref(record) for record in records]
        self._inferences: dict[int, Any] = {}
        for record in records:
            record.group = self

    def inference(self, record: Record, infer: Callable[[Sequence[Record]], list[Any]]) -> Any:
        """The inference of one of them: those of all are made when the first is asked for."""
        if self._records:
            records = [each for each in (known() for known in self._records) if each is not None]
            self._inferences = dict(zip(map(id, records), infer(records), strict=True))
            self._records = []
        return self._inferences.pop(id(record))


def _record(dumped: bytes) -> Record:
    from ..engine.process import pickling

    (content,) = pickling.load_each(dumped)
    return Record(*content)
