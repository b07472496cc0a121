"""Records, which travel between the stages: an element with its features, then its outputs."""

from __future__ import annotations

from typing import Any

from ..options.sizes import nbytes


class Record:
    """An element between stages: `chunks` are features after Preprocess, outputs after Forward.

    Within a process, tensors are passed on as they are. Between processes only the bytes of their
    own elements cross: a row of a batch, pickled as a tensor, would take the whole batch along.
    """

    __slots__ = ("chunks", "counts", "element", "example", "model_id")

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

    def __reduce__(self) -> tuple[Any, ...]:
        from ..engine.process import pickling

        content = (self.element, self.example, self.chunks, self.counts, self.model_id)
        return _record, (pickling.dump_each(content),)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors in its chunks."""
        return sum(map(nbytes, self.chunks))


def _record(dumped: bytes) -> Record:
    from ..engine.process import pickling

    (content,) = pickling.load_each(dumped)
    return Record(*content)
