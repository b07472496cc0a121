"""Videos from everywhere, good and bad."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import transformers
from cases.video import FILMS, frames
from support.comparing import equal
from support.holders import HOLDERS
from support.pictures import film

from transforms.media import video
from transforms.media.fetch import MediaError
from transforms.options.media_limits import MediaLimits
from transforms.options.spec import ModelSpec
from transforms.pipelines import factory

Run = Callable[..., list[Any]]


LIMITS = MediaLimits()


@pytest.mark.parametrize("rate", [1, 2])
def test_an_image_processor_gets_the_first_frames(
    rate: int, model: Callable[[str], str], tmp_path: Path
) -> None:
    directory = model("timesformer")
    stock = transformers.pipeline("video-classification", directory, device="cpu")
    ours = factory.load(ModelSpec(task="video-classification", source=directory, device="cpu"))
    for pipe in (stock, ours):
        processor = transformers.VideoMAEImageProcessor.from_pretrained(directory)
        pipe.video_processor, pipe.image_processor = None, processor
    path = tmp_path / "film.mp4"
    path.write_bytes(FILMS[1])
    expected = stock.preprocess(str(path), num_frames=4, frame_sampling_rate=rate)
    found = ours.preprocess(video.decode(path, LIMITS), num_frames=4, frame_sampling_rate=rate)
    assert equal(dict(expected), dict(found))


def test_frames_are_those_asked_for() -> None:
    every = frames(FILMS[0])
    for source in (FILMS[0], every):
        found = video.decode(source, LIMITS)
        assert len(found) == len(every) == 12
        assert (found.frames([1, 5, 11]) == every[[1, 5, 11]]).all()
        assert len(found.frames([3, 40])) == 1


@pytest.mark.parametrize("name", HOLDERS)
def test_whatever_holds_bytes_holds_a_film(name: str) -> None:
    held = HOLDERS[name](FILMS[0])
    for source in (held, {"bytes": held, "path": None}):
        found = video.decode(source, LIMITS)
        assert (found.frames([3]) == frames(FILMS[0])[3]).all()


def test_a_title_in_another_encoding_is_no_damage() -> None:
    written = io.BytesIO()
    with av.open(written, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.metadata["title"] = "cafe au lait"
        packets = [*stream.encode(av.VideoFrame(64, 48, "yuv420p")), *stream.encode()]
        container.mux(packets)
    latin = written.getvalue().replace(b"cafe au lait", "café au lait".encode("latin-1"))
    assert len(video.decode(latin, LIMITS).frames([0])) == 1


#: The matrix in a film's header -> how a player turns a frame of (height, width, 3).
TURNS: dict[tuple[int, int, int, int], Callable[[Any], Any]] = {
    (1, 0, 0, 1): lambda frame: frame,
    (0, 1, -1, 0): lambda frame: np.rot90(frame, -1),  # clockwise: a phone held upright
    (-1, 0, 0, -1): lambda frame: np.rot90(frame, 2),
    (0, -1, 1, 0): np.rot90,
    (-1, 0, 0, 1): np.fliplr,  # a mirror
    (1, 0, 0, -1): np.flipud,
    (0, 1, 1, 0): lambda frame: frame.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda frame: np.rot90(frame, 2).transpose(1, 0, 2),
    (0, 0, 0, 0): lambda frame: frame,  # nothing that can be meant
}


@pytest.mark.parametrize("turn", TURNS)
def test_films_of_phones_are_upright(turn: tuple[int, int, int, int]) -> None:
    """transformers' decoder applies the matrix, too."""
    upright = film("of a phone", 3, 64, 48)
    a, b, c, d = (each * 0x10000 for each in turn)
    place = upright.index(b"tkhd") + 44
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    turned = upright[:place] + matrix + upright[place + 36 :]
    found = every_frame(turned)
    assert (found == np.stack([TURNS[turn](each) for each in frames(upright)])).all()
    assert found.flags.c_contiguous


def test_what_was_trimmed_is_not_counted() -> None:
    """A phone trims a film by a note of where it begins and how long it is: the rest is there."""
    data = film("trimmed", 60, 64, 48)
    place = data.index(b"elst") + 12
    length, start = struct.unpack(">Ii", data[place : place + 8])
    assert (length, start) == (6_000, 0)
    with av.open(io.BytesIO(data)) as opened:
        second = opened.streams.video[0].time_base.denominator
    trimmed = data[:place] + struct.pack(">Ii", 3_000, second * 17 // 10) + data[place + 8 :]
    assert (every_frame(trimmed) == frames(data)[17:47]).all()


def every_frame(source: Any) -> Any:
    found = video.decode(source, LIMITS)
    return found.frames(range(len(found)))


UNKNOWN = film("odd", 3, 64, 48, "matroska").replace(b"V_MPEG4/ISO/ASP", b"V_FROM/MY/UNCLE")
BAD: dict[str, tuple[Any, str]] = {
    "text": (b"no video but a text", "not a video"),
    "empty": (b"", "the video is empty"),
    "missing": ("/nowhere/a.mp4", "is not there"),
    "truncated": (FILMS[1][: len(FILMS[1]) // 2], "cut off"),
    "unknown codec": (UNKNOWN, "of a codec that cannot be decoded"),
    "no frames": (np.zeros((0, 4, 4, 3), np.uint8), "no frames"),
    "floats": (np.zeros((2, 4, 4, 3)), "must be a video of uint8"),
    "number": (3, "must be bytes, a path, a URI, an array of frames"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_video_is_an_error_that_says_why(name: str) -> None:
    source, reason = BAD[name]
    with pytest.raises(MediaError, match=reason):
        every_frame(source)


#: A stream that a server is to send to this machine.
SDP = b"""v=0
o=- 0 0 IN IP4 127.0.0.1
s=x
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
"""
#: Lists and descriptions of videos: what they name would be opened.
NAMING = {
    "concat": b"ffconcat version 1.0\nfile private/film.mp4\n",
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nprivate/film.mp4\n#EXT-X-ENDLIST\n",
    "sdp": SDP,
}


@pytest.mark.parametrize("name", NAMING)
def test_a_file_that_names_others_opens_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "film.mp4").write_bytes(FILMS[0])
    (tmp_path / "list.mp4").write_bytes(NAMING[name])
    started = time.monotonic()
    for source in (NAMING[name], "list.mp4"):
        with pytest.raises(MediaError, match="of no format that is read"):
            every_frame(source)
    assert time.monotonic() - started < 5


#: Container -> how a film in it is made, and the codec of a sound in it.
CONTAINERS: dict[str, tuple[dict[str, str], str]] = {
    "mp4": ({"container": "mp4"}, "aac"),
    "mp4, header first": ({"container": "mp4", "moov_size": "20000"}, "aac"),
    "mp4 in fragments": ({"container": "mp4", "movflags": "frag_keyframe+empty_moov"}, "aac"),
    "mov": ({"container": "mov"}, "pcm_s16le"),
    "mkv": ({"container": "matroska"}, "aac"),
    "webm": ({"container": "webm", "codec": "libvpx-vp9"}, "libopus"),
    "avi": ({"container": "avi"}, "pcm_s16le"),
    "flv": ({"container": "flv", "codec": "flv"}, "aac"),
    "mpegts": ({"container": "mpegts"}, "aac"),
    "mpeg": ({"container": "mpeg", "codec": "mpeg4"}, "mp2"),
    "gif": ({"container": "gif", "codec": "gif"}, ""),
}
#: These do not say how long they are: cut off, they are whole films, only shorter.
SILENT = {"mpegts", "mpeg", "gif"}


def with_sound(data: bytes, seconds: int, codec: str, container: str, **options: str) -> bytes:
    """The film with a sound that is longer or shorter."""
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(data)) as source,
        av.open(file, "w", format=container, options=options) as target,
    ):
        film = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream(codec, rate=48_000, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = film
                target.mux(packet)
        for i in range(seconds):
            noise = np.random.RandomState(i).uniform(-1, 1, (1, 48_000)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, i * 48_000
            target.mux(sound.encode(frame))
        target.mux(sound.encode())
    return file.getvalue()


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_film_is_read_whole_or_not_at_all(name: str) -> None:
    options, codec = CONTAINERS[name]
    whole = film("a film", 60, 64, 48, **options)
    sounding = [with_sound(whole, s, codec, **without_codec(options)) for s in (2, 9) if codec]
    for data in (whole, *sounding, film("one frame", 1, 64, 48, **options)):
        assert len(every_frame(data)) == len(video.decode(data, LIMITS)) == len(frames(data))
    for data in (whole, *sounding[:1]):
        for share in (0.3, 0.5):
            cut = data[: int(len(data) * share)]
            if name in SILENT:
                assert 0 < len(video.decode(cut, LIMITS)) < 60
            else:
                with pytest.raises(MediaError, match="cut off"):
                    video.decode(cut, LIMITS)


def without_codec(options: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if name != "codec"}


@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_how_much_of_a_film_is_there(container: str) -> None:
    """Where it is cut between two frames, only the header tells."""
    data = film("a film", 60, 64, 48, container, moov_size="20000")
    with av.open(io.BytesIO(data)) as opened:
        place = [packet.pos for packet in opened.demux(video=0) if packet.size][36]
    start = place - 7 if container == "matroska" else place  # a block's header
    with pytest.raises(MediaError, match=r"was cut off: 3\.[56] of about 6\.0 seconds are there"):
        video.decode(data[:start], LIMITS)


def test_a_live_recording_does_not_say_how_long_it_is() -> None:
    live = film("live", 60, 64, 48, "matroska", live="1")
    assert len(video.decode(live, LIMITS)) == 60
    assert 0 < len(video.decode(live[: len(live) // 2], LIMITS)) < 60


def test_pixels_are_counted_before_anything_is_decoded() -> None:
    few = MediaLimits(video_pixels=64 * 48)
    assert len(video.decode(FILMS[0], few).frames([0])) == 1
    gif = film("claims", 3, 64, 48, "gif", "gif")
    claims = gif[:6] + struct.pack("<HH", 16_000, 16_000) + gif[10:]
    with pytest.raises(MediaError, match=r"80 by 64 pixels, more than .* 3,072 \(video_pixels\)"):
        video.decode(FILMS[3], few)
    with pytest.raises(MediaError, match=r"80 by 64 pixels, more than .* 3,072 \(video_pixels\)"):
        video.decode(frames(FILMS[3]), few)
    with pytest.raises(MediaError, match="16,000 by 16,000 pixels, more than the limit of 35,"):
        video.decode(claims, LIMITS)


def test_frames_may_become_larger_within_the_limit_but_are_not_mixed() -> None:
    """As in recordings of several broadcasts."""
    sizes = [(64, 48), (80, 64)]
    parts = b"".join(film("part", 12, *size, "mpegts") for size in sizes)
    found = video.decode(parts, LIMITS)
    assert found.frames([2]).shape == (1, 48, 64, 3)
    assert found.frames([len(found) - 2]).shape == (1, 64, 80, 3)
    with pytest.raises(MediaError, match="64 by 48 and of 80 by 64 pixels"):
        found.frames([2, len(found) - 2])
    few = video.decode(parts, MediaLimits(video_pixels=64 * 48))
    with pytest.raises(MediaError, match=r"80 by 64 pixels, more than .* 3,072 \(video_pixels\)"):
        few.frames([len(few) - 2])


def test_the_frames_wanted_have_a_limit_together() -> None:
    limits = MediaLimits(video_decoded_bytes=4 * 64 * 48 * 3)
    for source in (FILMS[0], frames(FILMS[0])):
        found = video.decode(source, limits)
        assert len(found.frames(range(0, 12, 3))) == 4
    with pytest.raises(MediaError, match=r"5 frames of 64 by 48 pixels .*\(video_decoded_bytes\)"):
        video.decode(FILMS[0], limits).frames(range(5))


def test_limits() -> None:
    with pytest.raises(MediaError, match=r"12 frames, more than the limit of 5 \(video_frames\)"):
        video.decode(FILMS[0], MediaLimits(video_frames=5))
    with pytest.raises(MediaError, match="video_bytes"):
        video.decode(FILMS[0], MediaLimits(video_bytes=5))
