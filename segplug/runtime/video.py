"""Read and write video, with PyAV, and read a camera, with OpenCV.

PyAV keeps the time of each frame and the sound, and writes H.264, which every player shows. OpenCV's own
wheels do neither.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import ArtifactError, DatasetError, DeviceError, MissingDependencyError, first_line
from segplug.regular_files import open_regular
from segplug.runtime.libraries import opencv, pyav
from segplug.runtime.reading.limits import MAX_PIXELS, TooLargeError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["VIDEO_SUFFIXES", "Camera", "Frame", "Video", "VideoWriter"]

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts"),
    *(".m2ts", ".3gp", ".ogv"),
)
"""What the names of files end in that are read as video."""

_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg"
"""The formats that FFmpeg may take a file for: no playlist, which could name other files or addresses."""
_SOUND = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")
"""The sound that an MP4 file holds as it is."""
_ITU709, _VIDEO_RANGE = 1, 1
"""FFmpeg's numbers for the colours of HD video, and for values of 16 to 235."""
_CAMERA_CLOCK = Fraction(1, 1000)


@dataclass(frozen=True)
class Frame:
    """One picture of a video."""

    pixels: npt.NDArray[np.uint8]
    """``(H, W, 3)``, RGB, upright."""
    time: int
    """When it is shown, in units of the video's ``clock``."""


class Video:
    """A video file, opened to be read once.

    Args:
        path: The file.

    Raises:
        DatasetError: it is no video that FFmpeg reads, or holds no pictures.
        TooLargeError: its pictures are too large.
        MissingDependencyError: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        av = pyav()
        try:
            self._file = open_regular(path)
        except OSError as error:
            raise DatasetError(f"the video {path} cannot be read: {error.strerror or error}") from error
        try:
            with _named(path):
                # Titles and the like may be in any encoding; they are not used.
                self._container = av.open(
                    self._file, options={"format_whitelist": _FORMATS}, metadata_errors="replace"
                )
        except BaseException:
            self._file.close()
            raise
        if not self._container.streams.video:
            self.close()
            raise DatasetError(f"the video {path} holds no pictures")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        try:
            self._require_small(self._stream)
        except TooLargeError:
            self.close()
            raise

    @property
    def clock(self) -> Fraction:
        """Seconds of one unit of time."""
        return self._stream.time_base or Fraction(1, 90000)

    @property
    def rate(self) -> Fraction | None:
        """Frames for each second on average; ``None``: not known."""
        rate: Fraction | None = self._stream.average_rate
        return rate

    @property
    def frames(self) -> int | None:
        """How many frames the file says it has, or as many as fit its duration; ``None``: not known."""
        if self._stream.frames:
            return int(self._stream.frames)
        seconds = (self._container.duration or 0) / 1_000_000
        return round(seconds * self.rate) or None if self.rate else None

    @property
    def sound(self) -> Any | None:
        """The first stream of sound; ``None``: there is none."""
        return self._container.streams.audio[0] if self._container.streams.audio else None

    def parts(self) -> Iterator[Frame | Any]:
        """The frames, and between them the packets of the sound, in the order of the file.

        Times only rise. Where those of the file do not (files that were joined, AVI), a frame comes as long
        after the one before as is usual in this video.

        Raises:
            DatasetError: the file is damaged, or the size of its pictures changes.
            TooLargeError: one of the pictures is too large.
        """
        streams = [self._stream, *([self.sound] if self.sound else [])]
        size: tuple[int, ...] | None = None
        usual = max(round(1 / (self.rate * self.clock)), 1) if self.rate else 1
        shown, heard = _Rising(), _Rising()
        with _named(self.path):
            for packet in self._container.demux(*streams):
                if packet.stream is not self._stream:
                    if packet.dts is not None:
                        later = heard(packet.dts, packet.duration or 1) - packet.dts
                        packet.dts += later
                        packet.pts = packet.dts if packet.pts is None else packet.pts + later
                    yield packet
                    continue
                for picture in packet.decode():
                    self._require_small(picture)  # the file's header may say another size
                    pixels = _upright(picture)
                    if size not in (None, pixels.shape):
                        raise DatasetError(f"the size of the pictures in {self.path} changes")
                    size = pixels.shape
                    yield Frame(pixels, shown(picture.pts, usual))
        if size is None:
            raise DatasetError(f"the video {self.path} holds no pictures")

    def _require_small(self, picture: Any) -> None:
        if picture.width * picture.height > MAX_PIXELS:
            raise TooLargeError(f"the pictures of {self.path} have more than {MAX_PIXELS} pixels")

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._file.close()


class _Rising:
    """Times, each later than the one before: what writes a video takes no others."""

    def __init__(self) -> None:
        self._last: int | None = None

    def __call__(self, time: int | None, step: int) -> int:
        """The time itself, or the last one and a step where it is missing or not later."""
        if self._last is None:
            self._last = time or 0
        else:
            self._last = time if time is not None and time > self._last else self._last + step
        return self._last


class Camera:
    """A camera, read until :attr:`stopped` is set.

    Args:
        number: 0: the first.

    Raises:
        DeviceError: there is no such camera, or it may not be used.
    """

    clock = _CAMERA_CLOCK
    rate: Fraction | None = None
    frames: int | None = None
    sound = None

    def __init__(self, number: int) -> None:
        cv2 = opencv()
        self.path = Path(f"camera{number}")
        log = cv2.utils.logging
        level = log.setLogLevel(log.LOG_LEVEL_SILENT)  # which backends it tries, and how each of them fails
        try:
            self._capture = cv2.VideoCapture(number)
        finally:
            log.setLogLevel(level)
        self.stopped = False
        """Set to end with the present frame."""
        if not self._capture.isOpened():
            raise DeviceError(f"there is no camera {number}, or it may not be used")

    def parts(self) -> Iterator[Frame]:
        """The frames, with the time since the first."""
        start: float | None = None
        last = -1
        while not self.stopped:
            there, pixels = self._capture.read()
            if not there:
                return
            now = time.monotonic()
            start = now if start is None else start
            last = max(round((now - start) / _CAMERA_CLOCK), last + 1)
            yield Frame(np.ascontiguousarray(pixels[:, :, ::-1]), last)

    def close(self) -> None:
        """Give the camera back."""
        self._capture.release()


class VideoWriter:
    """Writes an MP4 file: pictures in H.264, and the sound of the video they come from.

    Args:
        path: The file.
        source: Where the frames come from: their clock, rate and sound are kept.
    """

    def __init__(self, path: Path, source: Video | Camera) -> None:
        av = pyav()
        self._av = av
        self._path = path
        self._source = source
        self._container = av.open(str(path), "w", format="mp4")
        self._stream: Any = None
        self._sound: Any = None
        self._early: list[Any] = []
        sound = source.sound
        self._keeps_sound = sound is not None and sound.codec_context.name in _SOUND

    @property
    def leaves_sound_out(self) -> bool:
        """Whether the source has sound that an MP4 file does not hold."""
        return self._source.sound is not None and not self._keeps_sound

    def picture(self, frame: Frame) -> None:
        """Write one frame; all have the size of the first.

        Raises:
            ArtifactError: it cannot be written, as all methods do.
        """
        with self._written():
            if self._stream is None:
                self._stream = self._start(*frame.pixels.shape[:2])
            picture = self._av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
            picture = picture.reformat(format=self._stream.pix_fmt, dst_colorspace="itu709")
            picture.pts, picture.time_base = frame.time, self._source.clock
            self._container.mux(self._stream.encode(picture))
            while self._early:
                self._mux_sound(self._early.pop(0))

    def packet(self, packet: Any) -> None:
        """Write one packet of sound as it is, if an MP4 file holds such."""
        if not self._keeps_sound or packet.dts is None:
            return
        if self._stream is None:  # the first packet begins the file, and all streams must be known by then
            self._early.append(packet)
            return
        with self._written():
            self._mux_sound(packet)

    def finish(self) -> None:
        """Write what is left. Without this, the file cannot be used."""
        with self._written():
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(self._av.error.FFmpegError):  # finish() says it, or another error came first
            self._container.close()

    def _mux_sound(self, packet: Any) -> None:
        packet.stream = self._sound
        self._container.mux(packet)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except self._av.error.FFmpegError as error:
            raise ArtifactError(f"cannot write {self._path.name}: {_reason(error)}") from error

    def _start(self, height: int, width: int) -> Any:
        try:
            stream = self._container.add_stream("libx264", rate=self._source.rate or 30)
        except ValueError as error:
            raise MissingDependencyError(
                "this PyAV writes no H.264", hint="install PyAV's own wheel: pip install --force-reinstall av"
            ) from error
        stream.height, stream.width = height, width
        # Only the second takes odd sizes; the first is what all players show.
        stream.pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        context = stream.codec_context
        context.time_base = self._source.clock
        context.colorspace = context.color_primaries = context.color_trc = _ITU709
        context.color_range = _VIDEO_RANGE
        if self._keeps_sound:
            self._sound = self._container.add_stream_from_template(self._source.sound)
        return stream


def _upright(picture: Any) -> npt.NDArray[np.uint8]:
    """The pixels, turned as the file says: telephones store pictures as the sensor lies."""
    pixels: npt.NDArray[np.uint8] = picture.to_ndarray(format="rgb24")
    turns = round(picture.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of FFmpeg as those of a file."""
    try:
        yield
    except (pyav().error.FFmpegError, OSError) as error:  # OSError: damaged files lead to places outside
        raise DatasetError(
            f"the video {path} is damaged, or of a format that FFmpeg does not read: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """What FFmpeg or the system says, without numbers."""
    return getattr(error, "strerror", None) or first_line(error)
