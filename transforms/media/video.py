"""Videos as the pipelines take them: the number of frames, and frames by index.

Decoded with PyAV, which brings its own ffmpeg.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..options.media_limits import MediaLimits
from ..options.shown import typed
from .fetch import MediaError, in_memory, read

Frames = NDArray[np.uint8]

#: The formats that ffmpeg may read, by its names. Some of its others are lists of further files and
#: servers, which it would open.
FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2"),
    *("matroska", "webm", "avi", "mpegts", "mpeg", "flv", "ogg", "gif", "asf"),
)
#: No protocol is allowed, so a file cannot make ffmpeg open another one.
_OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}

#: Containers whose headers declare a duration, by ffmpeg's first name.
_DECLARING = {"mov", "matroska", "flv"}
#: Containers that can be read although pieces are missing.
_BROADCAST = {"mpegts", "mpeg"}
#: A complete video may be shorter than its header says, because of a long last frame or rounding.
#: So a missing last second of an mkv or webm is not noticed.
_SLACK_SECONDS, _SLACK = 1.0, 0.05


class Video:
    """A video of `len` frames, which are decoded when they are asked for."""

    def __init__(self, source: bytes | Frames, count: int, limits: MediaLimits) -> None:
        self._source = source
        self._count = count
        self._limits = limits

    def __len__(self) -> int:
        return self._count

    @property
    def array(self) -> Frames | None:
        """The frames, if the video was given as an array."""
        return None if isinstance(self._source, bytes) else self._source

    @property
    def rate(self) -> float:
        """Frames per second of a file. Raises MediaError."""
        assert isinstance(self._source, bytes)
        with _opened(self._source) as container:
            rate = container.streams.video[0].average_rate
        if not rate:
            raise MediaError("the video does not say how many frames it has in a second")
        return float(rate)

    def frames(self, indices: Collection[int]) -> Frames:
        """The frames with these indices, (frames, height, width, 3), in order.

        Indices beyond the last frame are ignored. Raises MediaError.
        """
        wanted = sorted({int(index) for index in indices if index < self._count})
        if not isinstance(self._source, bytes):
            return self._source[wanted]
        if not wanted:
            raise MediaError(f"the video has only {self._count:,} frames: none of those wanted")
        picked, frames = set(wanted), []
        for i, frame in enumerate(_decoded(self._source)):
            if i in picked:
                frames.append(self._array(frame, len(wanted)))
            if i == wanted[-1]:
                return _together(frames)
        raise MediaError(
            f"the video is cut off or damaged: its frame {wanted[-1]:,} of {self._count:,} "
            "cannot be read"
        )

    def _array(self, frame: Any, count: int) -> Frames:
        """A frame as players show it; `count` frames will be in memory together."""
        _check_size(frame.width, frame.height, self._limits)
        limit = self._limits.video_decoded_bytes
        if count * frame.width * frame.height * 3 > limit:
            raise MediaError(
                f"the {count:,} frames of {frame.width:,} by {frame.height:,} pixels that are "
                f"wanted have more bytes than the limit of {limit:,} (video_decoded_bytes)"
            )
        return np.ascontiguousarray(_upright(frame))


def decode(source: Any, limits: MediaLimits) -> Video:
    """A video whose frames can be asked for. Raises MediaError.

    Args:
      source: the bytes of a file, in whatever holds bytes; a path or URI; {"bytes", "path"} as
        datasets has it; or frames, an array of uint8, (frames, height, width, 3).
      limits: the largest numbers of bytes, pixels and frames.

    """
    source = in_memory(source)
    if isinstance(source, np.ndarray):
        video = _of_array(source, limits)
    elif isinstance(source, bytes | str | os.PathLike | Mapping):
        data = read(source, limits.video_bytes, "video", limits.timeout)
        video = Video(data, _count(data, limits), limits)
    else:
        raise MediaError(
            "a video must be bytes, a path, a URI, an array of frames or a mapping with bytes or "
            f"path, got {typed(source)}"
        )
    if not len(video):
        raise MediaError("the video has no frames")
    if len(video) > limits.video_frames:
        raise MediaError(
            f"the video has {len(video):,} frames, more than the limit of "
            f"{limits.video_frames:,} (video_frames)"
        )
    return video


def _of_array(frames: NDArray[Any], limits: MediaLimits) -> Video:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise MediaError(
            "an array must be a video of uint8, (frames, height, width, 3), got "
            f"{frames.dtype} {frames.shape}"
        )
    _check_size(frames.shape[2], frames.shape[1], limits)
    return Video(frames, len(frames), limits)


def _opened(data: bytes) -> Any:
    """The container in the bytes. No other file is read, even if the bytes name one."""
    import av

    # Decoders would receive `options`, too, and PyAV before 17.1 crashes on some files then.
    return av.open(io.BytesIO(data), container_options=dict(_OPTIONS), metadata_errors="replace")


def _count(data: bytes, limits: MediaLimits) -> int:
    """The number of frames in a file, after its size and completeness are checked."""
    import av

    try:
        with _opened(data) as container:
            if not container.streams.video:
                raise MediaError(
                    "there is no video in the file, only sound or text, or it was cut off in its "
                    "header"
                )
            known = container.streams.video[0].codec_context
            if known is None:
                raise MediaError("the video is of a codec that cannot be decoded")
            _check_size(known.width, known.height, limits)
            return _counted(container)
    except av.error.FFmpegError as error:
        raise MediaError(
            f"not a video, or of no format that is read ({', '.join(FORMATS)}), or cut off: "
            f"{len(data):,} bytes that begin with {data[:12]!r} ({error.strerror})"
        ) from error


def _counted(container: Any) -> int:
    """The number of frames in the packets: headers may lack it, or be wrong."""
    count, complete = 0, True
    ends: dict[int, float] = {}
    film = container.streams.video[0]
    for packet in container.demux():
        if packet.size:
            stream = packet.stream.index
            count += stream == film.index and not packet.is_discard  # trimmed, but still there
            ends[stream] = max(ends.get(stream, 0.0), _end(packet))
            complete = not packet.is_corrupt
    _check_whole(container, ends, complete)
    return count


def _end(packet: Any) -> float:
    """The time in seconds at which a packet's content ends."""
    start = packet.dts if packet.pts is None else packet.pts
    return 0.0 if start is None else (start + (packet.duration or 0)) * float(packet.time_base)


def _check_whole(container: Any, ends: Mapping[int, float], complete: bool) -> None:
    """Raises MediaError for a file that is shorter than declared, or ends within a frame.

    Duration is declared for the video stream or for the container. Files of mpegts, mpeg, gif and
    asf and live recordings declare none, and ffmpeg estimates it from the content: a truncated one
    cannot be distinguished from a complete shorter video.
    """
    kind = container.format.name.split(",")[0]
    film = container.streams.video[0]
    there, said = max(ends.values(), default=0.0), 0.0
    if kind in _DECLARING and film.duration:
        there, said = ends.get(film.index, 0.0), float(film.duration * film.time_base)
    elif kind in _DECLARING and container.duration:
        said = container.duration / 1_000_000
    if there < said - max(_SLACK_SECONDS, _SLACK * said):
        raise MediaError(
            f"the video was cut off: {there:,.1f} of about {said:,.1f} seconds are there"
        )
    if not complete and kind not in _BROADCAST:
        raise MediaError("the video was cut off: its last frame or sound is not all there")


def _decoded(data: bytes) -> Iterator[Any]:
    import av

    try:
        with _opened(data) as container:
            yield from container.decode(video=0)
    except av.error.FFmpegError as error:
        raise MediaError(f"the video is cut off or damaged: {error.strerror}") from error


def _upright(frame: Any) -> Frames:
    """The pixels as players show them: phones store their orientation in a display matrix.

    Its numbers are the directions of a step to the right (a, b) and of one down (c, d).
    """
    pixels: Frames = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    return pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def _together(frames: list[Frames]) -> Frames:
    sizes = sorted({frame.shape[1::-1] for frame in frames})
    if len(sizes) > 1:
        several = " and of ".join(f"{width:,} by {height:,}" for width, height in sizes)
        raise MediaError(f"the video has frames of {several} pixels: all must have one size")
    return np.stack(frames)


def _check_size(width: int, height: int, limits: MediaLimits) -> None:
    if width * height > limits.video_pixels:
        raise MediaError(
            f"the video has {width:,} by {height:,} pixels, more than the limit of "
            f"{limits.video_pixels:,} (video_pixels)"
        )
