"""Media at remote addresses: fetched while others are decoded, bounded, in order."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.transforms.window import GlobalWindow, SlidingWindows, TimestampedValue
from apache_beam.utils.windowed_value import WindowedValue
from PIL import Image
from support import sink
from support.files import saved
from support.pictures import PICTURES
from support.runs import RUNNER
from support.servers import serving

from pipelines_beam import ImageClassification, ImageTextToText
from transforms.media import ahead
from transforms.media.ahead import Ahead
from transforms.media.decoding import Messages, decoded
from transforms.media.fetch import MediaError, is_remote
from transforms.options.media_limits import MediaLimits
from transforms.stages.preprocess import PreprocessFn
from transforms.tasks import TASKS

IMAGES = TASKS["image-classification"]
PNGS = [saved(each) for each in PICTURES]


@dataclass
class Server:
    """Counts what it is asked for, and how much at once."""

    url: str = ""
    answers: dict[str, bytes] = field(default_factory=dict)
    latency: float = 0.02
    asked: list[str] = field(default_factory=list)
    most_at_once: int = 0
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str) -> bytes | None:
        with self.lock:
            self.asked.append(path)
            self.now += 1
            self.most_at_once = max(self.now, self.most_at_once)
        time.sleep(self.latency)
        with self.lock:
            self.now -= 1
        return self.answers.get(path)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(answers={f"/{i}.png": data for i, data in enumerate(PNGS)})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = found.answer(self.path)
            self.send_response(404 if data is None else 200)
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler) as found.url:
        yield found


def urls(server: Server, count: int) -> list[str]:
    return [f"{server.url}/{i % len(PNGS)}.png" for i in range(count)]


@pytest.mark.parametrize(("fetches", "least"), [(1, 1), (8, 6)])
def test_several_are_fetched_at_once_and_come_in_order(
    server: Server, fetches: int, least: int
) -> None:
    through = Ahead(IMAGES, MediaLimits(fetches=fetches))
    given = list(enumerate(urls(server, 40)))
    found = [
        (token, decoded(example, IMAGES, None, MediaLimits()).tobytes())
        for token, example in through.through(given, last=True)
    ]
    through.close()
    assert found == [(i, PICTURES[i % len(PNGS)].tobytes()) for i in range(40)]
    assert least <= server.most_at_once <= fetches


def test_what_waits_is_bounded_in_elements(server: Server) -> None:
    through = Ahead(IMAGES, MediaLimits(fetches=3))
    waiting, started = set(), set()

    def given() -> Iterator[tuple[int, str]]:
        for i, url in enumerate(urls(server, 30)):
            started.add(i)
            yield i, url

    for token, _ in through.through(given(), last=True):
        waiting.add(len(started) - token)
    through.close()
    assert 3 < max(waiting) <= 7


def test_what_waits_is_bounded_in_bytes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer wait where files are larger; those that are not fetched are not asked for."""
    monkeypatch.setattr(ahead, "_MAX_BYTES", 1_000_000)
    monkeypatch.setattr(ahead, "_FIRST_FILE_BYTES", 250_000)
    server.answers = {"/large": bytes(300_000), "/small": bytes(10)}
    through = Ahead(IMAGES, MediaLimits(fetches=16))
    more: dict[str, list[int]] = {}
    for name in ("large", "small"):
        server.asked.clear()
        pairs = ((i, f"{server.url}/{name}") for i in range(60))
        more[name] = [len(server.asked) - token for token, _ in through.through(pairs, last=True)]
    through.close()
    assert max(more["large"]) <= 5
    assert max(more["small"][:3]) <= 5  # the large ones are remembered
    assert max(more["small"]) > 10


def test_local_media_go_straight_through(tmp_path: Any) -> None:
    through = Ahead(IMAGES, MediaLimits())
    sources = ["/a.png", tmp_path, PNGS[0], {"path": "/a.png"}, PICTURES[0], "memory://a", 3]
    for source in sources:
        ((_, found),) = through.through([(0, source)])
        assert found is source
    assert through._threads is None


@pytest.mark.parametrize(
    ("source", "remote"),
    [
        ("https://a/b.png", True),
        ("s3://bucket/b.png", True),
        ("simplecache::s3://bucket/b.png", True),
        ({"bytes": None, "path": "gs://bucket/b.png"}, True),
        ({"bytes": b"1", "path": "gs://bucket/b.png"}, False),
        ({"array": [0.0], "path": "gs://bucket/b.wav", "sampling_rate": 1}, False),
        ("data:image/png;base64,AAAA", False),
        ("file:///a.png", False),
        ("a.png", False),
        ({"bytes": None, "path": None}, False),
        (None, False),
    ],
)
def test_what_is_remote(source: Any, remote: bool) -> None:
    assert is_remote(source) is remote


def test_every_medium_of_an_input_is_fetched(server: Server) -> None:
    url = f"{server.url}/0.png"
    chat = [
        {
            "role": "user",
            "content": [{"type": "image", "url": url}, {"type": "text", "text": url}],
        }
    ]
    for task, example, count in [
        ("keypoint-matching", [url, {"path": url}], 2),
        ("visual-question-answering", {"image": url, "question": url}, 1),
        ("image-text-to-text", chat, 1),
        ("image-text-to-text", {"text": "<image>", "images": [url, PNGS[0]]}, 1),
    ]:
        server.asked.clear()
        through = Ahead(TASKS[task], MediaLimits())
        ((_, found),) = through.through([(0, example)], last=True)
        through.close()
        assert len(server.asked) == count
        ready = decoded(found, TASKS[task], None, MediaLimits())
        assert PICTURES[0].tobytes() in [each.tobytes() for each in _images(ready)]
        assert not isinstance(ready, Messages) or ready.given is chat


def _images(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [image for item in value for image in _images(item)]
    return [value] if isinstance(value, Image.Image) else []


def test_each_element_has_its_own_error(server: Server) -> None:
    through = Ahead(IMAGES, MediaLimits(image_bytes=len(PNGS[0])))
    server.answers["/large"] = bytes(len(PNGS[0]) + 1)
    server.answers["/empty"] = b""
    names = ["0.png", "gone", "large", "0.png", "empty", "0.png"]
    pairs = [(name, f"{server.url}/{name}") for name in names]
    said = []
    for name, example in through.through(pairs, last=True):
        try:
            decoded(example, IMAGES, None, MediaLimits())
        except MediaError as error:
            said.append((name, str(error).removeprefix("the image ")))
    through.close()
    assert [name for name, _ in said] == ["gone", "large", "empty"]
    assert "the server answered 404" in said[0][1]
    assert "more bytes than the limit" in said[1][1]
    assert said[2][1] == "is empty: it has 0 bytes"


MALFORMED: dict[str, tuple[str, Any, str]] = {
    "type in a list": (
        "image-text-to-text",
        [{"role": "user", "content": [{"type": ["image"], "url": "a.png"}]}],
        "the type of a block of a chat must be a string, such as 'image' or 'text', got ['image']",
    ),
    "type in a mapping": (
        "any-to-any",
        [{"role": "user", "content": [{"type": {"image": 1}, "image": "a.png"}]}],
        "the type of a block of a chat must be a string, such as 'image' or 'text', got {'image'",
    ),
    "assets in a string": (
        "decision",
        {"state": "a", "questions": {}, "assets": "[]"},
        "assets must be a mapping from names to images, got '[]'",
    ),
    "assets in pairs": (
        "decision",
        {"state": "a", "questions": {}, "assets": [("pic", PNGS[0])]},
        "assets must be a mapping from names to images, got [('pic',",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_input_fails_where_it_is_decoded(server: Server, name: str) -> None:
    """Its neighbours come through, in order; nobody waits for what it asked for."""
    task, malformed, reason = MALFORMED[name]
    if task not in TASKS:
        pytest.skip("the installed transformers does not have the task")
    good: Any = {"text": "a", "images": [f"{server.url}/0.png"]}
    if task == "decision":
        good = {"state": "a", "questions": {}, "assets": {"pic": f"{server.url}/0.png"}}
    through = Ahead(TASKS[task], MediaLimits())
    found = list(through.through(enumerate([good, malformed, good]), last=True))
    through.close()
    assert [token for token, _ in found] == [0, 1, 2]
    for token, example in found:
        if token != 1:
            ready = decoded(example, TASKS[task], None, MediaLimits())
            assert [each.size for each in _images(ready)] == [PICTURES[0].size]
    with pytest.raises(TypeError) as error:
        decoded(found[1][1], TASKS[task], None, MediaLimits())
    assert reason in str(error.value)
    assert len(str(error.value)) < 250


def test_a_malformed_chat_is_a_row_among_good_ones(model: Callable[[str], str]) -> None:
    block = {"type": "image", "image": PICTURES[0]}
    texts = {"type": "text", "text": "What is it?"}
    odd = {"type": ["image"], "image": PICTURES[0]}
    chats = [[{"role": "user", "content": [first, texts]}] for first in (block, odd, block)]
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        good, bad = (
            p
            | beam.Create(list(enumerate(chats)), reshuffle=False)
            | ImageTextToText(
                model("llava"), keyed=True, max_new_tokens=2
            ).with_exception_handling()
        )
        good | "Good" >> beam.Map(sink.collect)
        bad | "Bad" >> beam.Map(sink.collect)
    rows = [each for each in sink.collected if hasattr(each, "stage")]
    found = dict(each for each in sink.collected if not hasattr(each, "stage"))
    sink.collected.clear()
    assert found.keys() == {0, 2}
    assert [(row.element[0], row.stage, row.error) for row in rows] == [
        (1, "preprocess", "TypeError")
    ]


def test_predictions_keep_timestamps_and_windows(
    server: Server, model: Callable[[str], str]
) -> None:
    """Of remote images among local ones, some of them missing."""
    sources = [url if i % 3 else PNGS[i % 8] for i, url in enumerate(urls(server, 40))]
    sources[4] = sources[31] = f"{server.url}/gone.png"
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        good, bad = (
            p
            | beam.Create([TimestampedValue((i, x), i) for i, x in enumerate(sources)])
            | beam.WindowInto(SlidingWindows(10, 5))
            | ImageClassification(model("vit-classification"), keyed=True).with_exception_handling()
        )
        good | "Stamp good" >> beam.Map(_stamped) | "Good" >> beam.Map(sink.collect)
        bad | beam.Map(lambda row: row.element) | beam.Map(_stamped) | beam.Map(sink.collect)
    assert sorted(sink.collected) == [(i, float(i), float(start)) for i, start in _windows(40)]
    sink.collected.clear()


def _stamped(
    pair: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
) -> tuple[int, float, float]:
    return pair[0], float(timestamp), float(window.start)


def _windows(count: int) -> list[tuple[int, int]]:
    return [(i, start) for i in range(count) for start in (i // 5 * 5 - 5, i // 5 * 5)]


def test_a_bundle_that_failed_leaves_nothing(server: Server, model: Callable[[str], str]) -> None:
    transform = ImageClassification(model("vit-classification"))
    fn = PreprocessFn(transform.spec, False, transform.plan.binding, None)
    fn.setup()
    for _ in range(2):  # the first one is given up in the middle
        fn.start_bundle()
        for url in urls(server, 3):
            list(fn.process(url, WindowedValue(url, 0, (GlobalWindow(),))))
    rest = list(fn.finish_bundle())
    fn.teardown()
    assert len(rest) <= 3
    assert fn.ahead is not None
    assert not fn.ahead._waiting
    assert fn.ahead._threads is None


def test_a_future_may_stand_for_bytes() -> None:
    coming: Future[bytes] = Future()
    coming.set_result(PNGS[0])
    assert decoded(coming, IMAGES, None, MediaLimits()).tobytes() == PICTURES[0].tobytes()


@pytest.mark.parametrize("fetches", [0, -1, 2.5, True])
def test_fetches_must_be_a_number(fetches: Any) -> None:
    with pytest.raises(ValueError, match="fetches must be a"):
        MediaLimits(fetches=fetches)
