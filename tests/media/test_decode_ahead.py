"""Images are decoded by threads: several at once, bounded, in order, each with its own error."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics.metric import MetricsFilter
from PIL import Image
from support import sink
from support.comparing import same
from support.files import bomb, saved
from support.pictures import PICTURES

from pipelines_beam import ImageClassification
from transforms.media import decode_ahead, image
from transforms.media.decode_ahead import DecodeAhead
from transforms.media.decoding import Messages, decoded
from transforms.media.fetch import MediaError
from transforms.options.media_limits import MediaLimits
from transforms.options.metrics_namespace import NAMESPACE
from transforms.tasks import TASKS

LIMITS = MediaLimits()
IMAGES = TASKS["image-classification"]
FILES = [saved(each, "JPEG" if i % 2 else "PNG") for i, each in enumerate(PICTURES)]


class Watched:
    """Counts how many images are decoded at once, by which threads."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.now = self.most = 0
        self.threads: set[str] = set()
        self._lock = threading.Lock()
        self._load = image.load_pixels
        self._seconds = seconds

    def __call__(self, *arguments: Any) -> Image.Image:
        with self._lock:
            self.now += 1
            self.most = max(self.now, self.most)
            self.threads.add(threading.current_thread().name)
        time.sleep(self._seconds)
        with self._lock:
            self.now -= 1
        return self._load(*arguments)


@pytest.fixture(params=[4])
def watched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """What decodes, with that many threads."""
    found = Watched()
    monkeypatch.setattr(image, "load_pixels", found)
    monkeypatch.setattr(decode_ahead, "threads", lambda: request.param)
    decode_ahead._pool.cache_clear()
    yield found
    decode_ahead._pool().shutdown()
    decode_ahead._pool.cache_clear()


def pixels(example: Any) -> Any:
    return np.asarray(decoded(example, IMAGES, None, LIMITS)).tolist()


EXPECTED = [np.asarray(image.decode(file, LIMITS)).tolist() for file in FILES]


def test_several_are_decoded_at_once_and_come_in_order(watched: Watched) -> None:
    through = DecodeAhead(IMAGES, LIMITS)
    given = ((i, FILES[i % len(FILES)]) for i in range(40))
    found = [(token, pixels(example)) for token, example in through.through(given, last=True)]
    assert found == [(i, EXPECTED[i % len(FILES)]) for i in range(40)]
    assert watched.most > 1
    assert all(name.startswith("decode") for name in watched.threads)


@pytest.mark.parametrize("watched", [1], indirect=True)
def test_one_processor_decodes_on_the_bundles_own_thread(watched: Watched) -> None:
    through = DecodeAhead(IMAGES, LIMITS)
    for i, (token, example) in enumerate(through.through(enumerate(FILES))):
        assert token == i
        assert example is FILES[i]
        assert pixels(example) == EXPECTED[i]
    assert watched.threads == {threading.current_thread().name}


def test_what_waits_is_bounded_in_elements(watched: Watched) -> None:
    assert most_waiting(FILES[0]) == 2 * 4 + 1


def test_what_waits_is_bounded_in_bytes(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pixels, not of files: a file of a few bytes may have many."""
    black = saved(Image.new("RGB", (300, 200)), "PNG")
    assert len(black) < 1000
    monkeypatch.setattr(decode_ahead, "_MAX_BYTES", 3 * 300 * 200 * 3)
    assert most_waiting(black) == 4
    monkeypatch.setattr(decode_ahead, "_MAX_BYTES", 1)
    assert most_waiting(black) == 2  # the first, and the next for a moment


def most_waiting(file: bytes) -> int:
    through = DecodeAhead(IMAGES, LIMITS)
    begun: set[int] = set()

    def given() -> Iterator[tuple[int, bytes]]:
        for i in range(30):
            begun.add(i)
            yield i, file

    waiting: list[int] = []
    for token, _ in through.through(given(), last=True):
        waiting.append(len(begun) - token)
    assert through._nbytes == 0
    return max(waiting)


def test_what_is_decoded_is_not_kept_waiting(watched: Watched) -> None:
    through = DecodeAhead(IMAGES, LIMITS)
    assert list(through.through([(0, FILES[0])])) == []
    time.sleep(0.2)
    assert [token for token, _ in through.through([])] == [0]


def test_limits_hold_before_a_thread_decodes(watched: Watched) -> None:
    """The failure of each is its own, and the message that of the thread of the bundle."""
    small = MediaLimits(image_pixels=4000)
    huge, damaged, gone = bomb(), FILES[0][:-40], "/nowhere/a.png"
    examples = [FILES[0], huge, FILES[1], damaged, gone, b"a text", FILES[2]]
    said: dict[int, str] = {}
    for token, example in DecodeAhead(IMAGES, small).through(enumerate(examples), last=True):
        try:
            decoded(example, IMAGES, None, small)
        except MediaError as error:
            said[token] = str(error)
    assert said.keys() == {1, 3, 4, 5}
    for i in (1, 3, 4, 5):
        with pytest.raises(MediaError) as raised:
            image.decode(examples[i], small)
        assert said[i] == str(raised.value)


def test_every_image_of_an_input_is_decoded(watched: Watched) -> None:
    fetched: Future[bytes] = Future()
    fetched.set_result(FILES[0])
    array = np.asarray(PICTURES[1])
    for task, example, files in [
        ("keypoint-matching", [FILES[0], fetched], 2),
        ("keypoint-matching", [array, PICTURES[1]], 0),
        ("visual-question-answering", {"image": FILES[0], "question": "What?"}, 1),
    ]:
        before = watched.threads.copy()
        watched.threads.clear()
        through = DecodeAhead(TASKS[task], LIMITS)
        ((_, found),) = through.through([(0, example)], last=True)
        assert bool(watched.threads) == bool(files)
        ready = decoded(found, TASKS[task], None, LIMITS)
        images = ready if isinstance(ready, list) else [ready["image"]]
        assert all(isinstance(each, Image.Image) for each in images)
        watched.threads |= before


def test_images_of_chats_are_left_to_the_processor(watched: Watched) -> None:
    chat = [{"role": "user", "content": [{"type": "image", "image": FILES[0]}]}]
    through = DecodeAhead(TASKS["image-text-to-text"], LIMITS)
    ((_, found),) = through.through([(0, chat)], last=True)
    assert isinstance(found, Messages)
    assert found[0]["content"][0]["image"] is FILES[0]


def test_what_a_failed_bundle_has_left_is_dropped(watched: Watched) -> None:
    through = DecodeAhead(IMAGES, LIMITS)
    list(through.through([(i, FILES[0]) for i in range(3)]))
    through.clear()
    assert [token for token, _ in through.through([(9, FILES[1])], last=True)] == [9]


def test_a_job_with_suspects_and_failures(
    model: Callable[[str], str], watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers, failures and counters are those of the same job without threads."""
    directory = model("vit-classification")
    ghost = PICTURES[0].convert("RGBA")
    ghost.putalpha(100)
    files = [*FILES, saved(ghost), FILES[0][:-40], saved(ghost)]
    outcomes = []
    for count in (4, 1):
        monkeypatch.setattr(decode_ahead, "threads", functools.partial(int, count))
        sink.collected.clear()
        p = beam.Pipeline()
        good, bad = (
            p
            | beam.Create(list(enumerate(files * 3)), reshuffle=False)
            | ImageClassification(directory, keyed=True).with_exception_handling()
        )
        (
            good
            | "Good" >> beam.Map(lambda pair: (pair[0], pair[1].inference))
            | beam.Map(sink.collect)
        )
        (
            bad
            | "Bad" >> beam.Map(lambda row: (row.element[0], row.message))
            | "To sink" >> beam.Map(sink.collect)
        )
        result = p.run()
        result.wait_until_finish()
        wanted = MetricsFilter().with_namespace(NAMESPACE).with_name("suspect_images_transparent")
        (counter,) = result.metrics().query(wanted)["counters"]
        outcomes.append((dict(sink.collected), counter.committed))
        sink.collected.clear()
    (found, counted), (expected, counted_alone) = outcomes
    assert counted == counted_alone == 6
    assert found.keys() == expected.keys() == set(range(len(files) * 3))
    for i, answer in expected.items():
        assert answer == found[i] if isinstance(answer, str) else same(answer, found[i])
    assert sum(isinstance(answer, str) for answer in found.values()) == 3
