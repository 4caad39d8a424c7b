"""Video in and out: sizes, times, turned pictures and sound are kept; what is no video is refused."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segplug.errors import DatasetError, DeviceError
from segplug.runtime import video
from segplug.runtime.reading.limits import TooLargeError
from segplug.runtime.video import Camera, Frame, Video, VideoWriter

av = pytest.importorskip("av")

COLOURS = [(200, 40, 30), (30, 180, 60), (40, 60, 210), (120, 120, 120)]


def make(
    path: Path,
    *,
    size: tuple[int, int] = (48, 64),
    times: tuple[int, ...] = (0, 1, 2, 3),
    turn: int = 0,
    sound: str = "",
    title: str = "",
) -> Path:
    """A video of plain colours, ten pictures a second, the left half of each black."""
    height, width = size
    with av.open(str(path), "w") as file:
        if title:
            file.metadata["title"] = title
        stream = file.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv444p"
        stream.codec_context.time_base = Fraction(1, 10)
        if turn:
            stream.set_display_rotation(turn)
        voice = file.add_stream(sound, rate=48000) if sound else None
        for time, colour in zip(times, COLOURS, strict=True):
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[:, width // 2 :] = colour
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            file.mux(stream.encode(frame))
        for start in range(0, 19200, 960) if voice else ():
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts = 48000, start
            file.mux(voice.encode(samples))
        file.mux(stream.encode())
        if voice:
            file.mux(voice.encode())
    return path


def read(path: Path) -> tuple[list[Frame], Video]:
    with contextlib.closing(Video(path)) as source:
        return [part for part in source.parts() if isinstance(part, Frame)], source


def copy(path: Path, target: Path, change: Callable[[np.ndarray], np.ndarray] = np.copy) -> bool:
    """Copy a video; returns whether its sound was left out."""
    with contextlib.closing(Video(path)) as source, contextlib.closing(VideoWriter(target, source)) as writer:
        for part in source.parts():
            if isinstance(part, Frame):
                writer.picture(Frame(change(part.pixels), part.time))
            else:
                writer.packet(part)
        writer.finish()
        return writer.leaves_sound_out


@pytest.mark.parametrize("size", [(48, 64), (47, 63)], ids=["even", "odd"])
def test_pictures_keep_their_size_their_colours_and_their_times(size, tmp_path: Path) -> None:
    times = (0, 1, 5, 6)
    copy(make(tmp_path / "a.mkv", size=size, times=times), tmp_path / "b.mp4")
    frames, source = read(tmp_path / "b.mp4")
    assert [frame.time * source.clock for frame in frames] == [Fraction(time, 10) for time in times]
    assert source.frames == 4
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert frame.pixels.shape == (*size, 3)
        assert np.abs(frame.pixels[24, -8].astype(int) - colour).max() <= 6
        assert frame.pixels[24, 8].max() <= 6


def test_a_turned_video_is_upright(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", turn=90)
    copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    for path in (tmp_path / "a.mp4", tmp_path / "b.mp4"):
        frames, _ = read(path)
        assert frames[0].pixels.shape == (64, 48, 3)
        assert frames[0].pixels[8, 24, 0] > 150, "what was at the right is at the top"
        assert frames[0].pixels[-8, 24, 0] < 50


def test_sound_is_kept_where_an_mp4_file_holds_it(tmp_path: Path) -> None:
    assert not copy(make(tmp_path / "a.mkv", sound="aac"), tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert [stream.type for stream in file.streams] == ["video", "audio"]
        sound = file.streams.audio[0]
        assert abs(float(sound.duration * sound.time_base) - 0.4) < 0.1
        assert len(list(file.decode(sound))) > 10
    assert copy(make(tmp_path / "c.mkv", sound="pcm_s16le"), tmp_path / "d.mp4")
    with av.open(str(tmp_path / "d.mp4")) as file:
        assert not file.streams.audio


def test_files_that_were_joined_are_one_video(tmp_path: Path) -> None:
    part = make(tmp_path / "a.ts", sound="aac").read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    copy(tmp_path / "joined.ts", tmp_path / "b.mp4")
    frames, source = read(tmp_path / "b.mp4")
    times = [(frame.time - frames[0].time) * source.clock for frame in frames]
    assert times == [Fraction(time, 10) for time in range(8)]
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert len(list(file.decode(file.streams.audio[0]))) > 30


def test_times_that_are_missing_or_fall_are_made_up(tmp_path: Path) -> None:
    """AVI has no times, and FFmpeg's guesses at them are in no order where frames refer to later ones."""
    with av.open(str(tmp_path / "a.avi"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for value in range(12):
            pixels = np.full((48, 64, 3), value * 20, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    copy(tmp_path / "a.avi", tmp_path / "b.mp4")
    frames, _ = read(tmp_path / "b.mp4")
    assert len(frames) == 12
    shades = [frame.pixels.mean() for frame in frames]
    assert shades == sorted(shades)


def test_a_title_may_be_in_any_encoding(tmp_path: Path) -> None:
    content = make(tmp_path / "a.mp4", title="a long title").read_bytes()
    assert b"a long title" in content
    (tmp_path / "b.mp4").write_bytes(content.replace(b"a long title", b"a long t\xeftle"))
    assert len(read(tmp_path / "b.mp4")[0]) == 4


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("a note")
    (tmp_path / "empty.mp4").touch()
    whole = make(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "empty", "cut"):
        with pytest.raises(DatasetError, match=f"{name}.mp4 is damaged, or of a format"):
            Video(tmp_path / f"{name}.mp4")
    with pytest.raises(DatasetError, match="cannot be read"):
        Video(tmp_path)
    with av.open(str(tmp_path / "mute.mp4"), "w") as file:
        voice = file.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        file.mux(voice.encode(frame))
        file.mux(voice.encode())
    with pytest.raises(DatasetError, match="holds no pictures"):
        Video(tmp_path / "mute.mp4")


def test_a_playlist_does_not_lead_to_other_files(tmp_path: Path) -> None:
    make(tmp_path / "secret.ts")
    (tmp_path / "a.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.ts\n")
    (tmp_path / "b.mp4").write_text(f"ffconcat version 1.0\nfile {tmp_path}/secret.ts\n")
    for name in ("a.mp4", "b.mp4"):
        with pytest.raises(DatasetError, match="is damaged, or of a format"):
            Video(tmp_path / name)


def test_frames_of_another_size_end_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([(4, 6, 3), (5, 6, 3), (5, 6, 3), (5, 6, 3)])
    monkeypatch.setattr(video, "_upright", lambda picture: np.zeros(next(sizes), np.uint8))
    with pytest.raises(DatasetError, match=r"the size of the pictures in .* changes"):
        read(make(tmp_path / "a.mp4"))


def test_pictures_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file's header says that they are small."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        for number in range(2):
            content = io.BytesIO()
            Image.new("RGB", ((64, 48), (200, 200))[number]).save(content, "JPEG")
            packet = av.Packet(content.getvalue())
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base = Fraction(1, 25)
            file.mux(packet)
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48)
    with pytest.raises(TooLargeError, match="have more than 3072 pixels"):
        read(path)
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 47)
    with pytest.raises(TooLargeError, match="have more than"):
        Video(path)


class _StandIn:
    """Stands in for OpenCV's camera."""

    left = 3

    def __init__(self, number: int) -> None:
        self.there = number == 0
        self.released = False

    def isOpened(self) -> bool:
        return self.there

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.full((4, 6, 3), (1, 2, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera_gives_frames_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.VideoCapture", _StandIn)
    camera = Camera(0)
    frames = list(camera.parts())
    assert len(frames) == 3, "it ends when the camera does"
    assert tuple(frames[0].pixels[0, 0]) == (3, 2, 1)
    assert frames[0].time == 0
    assert frames[0].time < frames[1].time < frames[2].time
    parts = Camera(0).parts()
    next(parts)
    stopped = Camera(0)
    stopped.stopped = True
    assert list(stopped.parts()) == []
    camera.close()
    assert camera._capture.released
    with pytest.raises(DeviceError, match="there is no camera 1"):
        Camera(1)
