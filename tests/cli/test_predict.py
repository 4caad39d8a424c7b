"""``segplug predict``: what it takes, writes and prints, and the one line for what it does not take."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segplug import Segmentation
from segplug.cli.root import run_command_line

BACKEND = """
    from dataclasses import dataclass

    import numpy as np
    from segplug import Backend, EngineSpec, ModelMeta, hookimpl, option
    from segplug.preprocessing import Flip, usual_steps
    from segplug.testing import FunctionEngine

    META = ModelMeta(
        name="m",
        classes=("red", "green", "blue"),
        palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)),
        out_channels=3,
        preprocessing=usual_steps((0.0,) * 3, (1.0,) * 3, channel_order="rgb"),
    )

    @dataclass(frozen=True)
    class Options:
        swapped: bool = option(False, help="Take green for red.")
        output: str = option("", help="Has a flag of the command itself.")

    class Runs(Backend[Options]):
        '''Runs.'''
        hook_version = 2
        reads = ("colours",)
        options = Options

        @hookimpl
        def infer(self, request):
            meta = META
            if request.artifact.name.startswith("views"):
                default = "asked" not in request.artifact.name
                views = ((*META.preprocessing, Flip()), META.preprocessing)
                meta = META.replace(tta=views, tta_by_default=default)
            order = [1, 0, 2] if request.options.swapped else [0, 1, 2]
            return FunctionEngine(EngineSpec(meta, "logits"), lambda batch: batch[:, order].copy())

    class Also(Runs):
        '''Runs, too.'''

    runs, also = Runs(), Also()
"""


@pytest.fixture
def work(install_plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model and photos."""
    install_plugin("acme", {"segplug.infer": {"runs": "acme:runs", "also": "acme:also"}}, acme=BACKEND)
    folder = tmp_path / "work"
    (folder / "photos" / "more").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name in ("m.colours", "views.colours"):
        Path(name).write_text("a network")
    for number, name in enumerate(("a.png", "b.jpg", "more/a.png")):
        noise = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(noise).save(Path("photos", name))
    Image.fromarray(np.full((6, 8, 3), (200, 10, 20), np.uint8)).save("red.png")
    return folder


def predict(*arguments: str | Path) -> int:
    return run_command_line(["predict", *map(str, arguments)])


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def written(folder: str = "predictions") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def labels(path: str | Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.asarray(picture)


def test_two_words_after_the_command_are_enough(work: Path, capsys) -> None:
    assert predict("m.colours", "red.png") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "backend: also (runs open it, too)",
        "red.png: 6x8",
        "  red  100.0 %",
        "wrote predictions/red_painted.png",
        "wrote predictions/red_labels.png",
    ]
    assert err == ""
    assert written() == ["red_labels.png", "red_painted.png"]
    assert not labels("predictions/red_labels.png").any()


def test_a_folder_keeps_its_folders_and_leaves_out_earlier_results(work: Path, capsys) -> None:
    names = [f"{name}_{kind}.png" for name in ("a", "b", "more/a") for kind in ("labels", "painted")]
    for _ in range(2):
        assert predict("m.colours", "photos", "--output", "photos/results", "--force", "--json") == 0
        found = document(capsys)
        assert [item["name"] for item in found["images"]] == [
            "photos/a.png",
            "photos/b.jpg",
            "photos/more/a.png",
        ]
        assert written("photos/results") == names
    assert sum(entry["pixels"] for entry in found["classes"]) == 3 * 20 * 30
    assert found["images"][0]["labels"] == "photos/results/a_labels.png"
    assert {"label", "name", "colour", "pixels", "share"} == set(found["images"][0]["classes"][0])


@pytest.mark.parametrize(
    ("name", "more", "averages"),
    [
        ("views.colours", (), True),
        ("views.colours", ("--no-tta",), False),
        ("views.colours", ("--tta",), True),
        ("views-asked.colours", (), False),
        ("views-asked.colours", ("--tta",), True),
    ],
)
def test_labels_are_those_of_infer(
    work: Path, capsys, name: str, more: tuple[str, ...], averages: bool
) -> None:
    Path(name).write_bytes(Path("views.colours").read_bytes())
    assert predict(name, "photos", *more) == 0
    assert ("the probabilities of 2 views are averaged" in capsys.readouterr().out) is averages
    command = ["infer", "runs", name, "--dataset", "photos", "--out", "maps.npz", *more]
    assert run_command_line(command) == 0
    maps = dict(np.load("maps.npz"))
    assert len(maps) == 3
    for name, expected in maps.items():
        assert np.array_equal(
            labels(Path("predictions", name).with_suffix("").as_posix() + "_labels.png"), expected
        )


@pytest.mark.parametrize("command", ["predict", "infer"])
def test_views_that_are_not_there_are_one_line(work: Path, capsys, command: str) -> None:
    made = ["--show-dir", "made"] if command == "infer" else ["--output", "made"]
    given = ["m.colours", "--input-img", "red.png"] if command == "infer" else ["m.colours", "red.png"]
    assert run_command_line([command, *given, "--tta", *made]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) <= 2
    assert "has no test-time augmentation to run" in said[0]
    assert not Path("made").exists()


def test_names_that_would_clash_keep_their_suffix(work: Path) -> None:
    Image.open("red.png").save("red.jpg")
    assert predict("m.colours", "red.png", "red.jpg", "photos/a.png") == 0
    names = ("a", "red.jpg", "red.png")
    assert written() == [f"{name}_{kind}.png" for name in names for kind in ("labels", "painted")]


def test_a_name_of_dots_keeps_its_suffix(work: Path) -> None:
    Path("red.png").rename("..png")
    assert predict("m.colours", "..png") == 0
    assert written() == ["..png_labels.png", "..png_painted.png"]


def test_an_image_on_standard_input(work: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    content = Path("red.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert predict("m.colours", "-", "--json") == 0
    assert document(capsys)["images"][0]["labels"] == "predictions/stdin_labels.png"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert predict("m.colours", "-", "--force") == 2
    assert capsys.readouterr().err == "error: standard input is empty: an image is expected\n"


def test_options_of_the_backend_are_flags(work: Path, capsys) -> None:
    assert predict("--swapped", "m.colours", "red.png", "--backend", "runs", "--json") == 0
    found = document(capsys)
    assert (found["backend"], found["classes"][0]["name"]) == ("runs", "green")
    assert predict("m.colours", "--help") == 0
    assert "--swapped" in capsys.readouterr().out
    assert predict("--help") == 0
    out, _ = capsys.readouterr()
    assert "--swapped" not in out
    assert "segplug predict model.onnx photo.jpg" in out


def test_colours_and_legends(work: Path) -> None:
    def painted(*more: str) -> Image.Image:
        assert predict("m.colours", "red.png", "--force", *more) == 0
        return Image.open("predictions/red_painted.png")

    assert painted().width > 8
    assert painted("--legend", "below").height > 6
    plain = painted("--legend", "none", "--opacity", "1")
    assert plain.size == (8, 6)
    assert plain.getpixel((0, 0)) == (255, 0, 0)
    Path("colours.txt").write_text("1 2 3\n4 5 6\n7 8 9\n")
    assert painted("--legend", "none", "--opacity", "1", "--palette", "colours.txt").getpixel((0, 0)) == (
        1,
        2,
        3,
    )


def test_an_unreadable_image_stops_the_run_or_is_skipped(work: Path, capsys) -> None:
    Path("text.png").write_text("a note")
    assert predict("m.colours", "red.png", "text.png") == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "the image text.png is text, not an image" in err
    assert written() == ["red_labels.png", "red_painted.png"]
    assert predict("m.colours", "text.png", "red.png", "--on-error", "skip", "--force") == 0
    assert "skipped: the image text.png is text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("none.colours red.png", "there is no file none.colours"),
        ("m.colours none.png", "there is no file none.png"),
        ("m.colours", "nothing to predict"),
        ("red.png red.png", "no installed backend opens red.png"),
        ("m.colours red.png --backend none", "no target 'none'"),
        ("m.colours red.png red.png", "named more than once"),
        ("m.colours empty", "there is no image in empty (looked for .png"),
        ("m.colours photos --output photos", "the output folder photos holds the images"),
        ("m.colours photos/a.png --output .", "the output folder . holds the images"),
        ("m.colours photos/a.png photos/more/a.png other/a.png", "3 images have the name a.png"),
        ("m.colours red.png --checkpoint w.pth", "--checkpoint is for a config; m.colours is none"),
        ("m.colours red.png --camera 0", "--camera and images exclude each other"),
        ("m.colours --camera 99999999999", "is not in the range 0<=x<=99"),
        ("m.colours red.png --palette none", "palette"),
        ("m.colours red.png --swaped", "Did you mean '--swapped'?"),
        ("m.colours red.png --output red.png", "is a file"),
        (f"m.colours red.png long/{'n' * 250}.png", "_painted.png cannot be written: File name too long"),
        ("m.colours note.mp4", "the video note.mp4 is damaged, or of a format that FFmpeg does not read"),
    ],
)
def test_what_is_wrong_is_one_line(work: Path, capsys, arguments: str, reason: str) -> None:
    Path("empty").mkdir()
    Path("other").mkdir()
    Path("note.mp4").write_text("a note")
    Path("long").mkdir()
    Path("long", f"{'n' * 250}.png").touch()
    Image.open("red.png").save("other/a.png")
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    code = predict(*arguments.split())
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert code == (1 if "note.mp4" in arguments else 2)
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


def test_results_are_replaced_only_where_that_is_asked_for(work: Path, capsys) -> None:
    Path("predictions").mkdir()
    Path("predictions/red_labels.png").write_text("mine")
    assert predict("m.colours", "red.png") == 2
    assert "red_labels.png already exists (add --force" in capsys.readouterr().err
    assert written() == ["red_labels.png"]
    assert predict("m.colours", "red.png", "--force") == 0
    assert labels("predictions/red_labels.png").shape == (6, 8)


def test_an_interrupted_call_is_continued(work: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    save, done = Segmentation.save, []

    def interrupted(self: Segmentation, *arguments: Any, **keywords: Any) -> Any:
        done.append(self.name)
        files = save(self, *arguments, **keywords)
        if len(done) == 2:
            raise KeyboardInterrupt
        return files

    monkeypatch.setattr(Segmentation, "save", interrupted)
    assert predict("m.colours", "photos") == 130
    capsys.readouterr()
    assert len(written()) == 4
    first = os.stat("predictions/a_labels.png").st_mtime_ns
    assert predict("m.colours", "photos") == 2
    assert "already exists" in capsys.readouterr().err
    assert predict("m.colours", "photos", "--resume", "--json") == 0
    found = document(capsys)
    assert done[2:] == ["photos/b.jpg", "photos/more/a.png"]
    assert (len(found["images"]), found["run"]["resumed"]) == (3, 1)
    assert found["images"][0]["name"] == "photos/a.png"
    assert sum(entry["pixels"] for entry in found["images"][0]["classes"]) == 20 * 30
    assert sum(entry["pixels"] for entry in found["classes"]) == 3 * 20 * 30
    assert os.stat("predictions/a_labels.png").st_mtime_ns == first
    assert predict("m.colours", "photos", "--resume") == 2
    assert "already exists" in capsys.readouterr().err


def test_a_video_is_painted(work: Path, capsys) -> None:
    av = pytest.importorskip("av")
    with av.open("clip.mkv", "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv444p"
        for colour in ((200, 10, 20), (10, 200, 20), (10, 20, 200)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    assert predict("m.colours", "clip.mkv", "red.png", "--opacity", "1", "--json") == 0
    found = document(capsys)
    assert written() == ["clip_painted.mp4", "red_labels.png", "red_painted.png"]
    (video,) = found["videos"]
    assert (video["frames"], video["height"], video["width"]) == (3, 48, 64)
    assert [entry["pixels"] for entry in video["classes"]] == [48 * 64] * 3
    with av.open("predictions/clip_painted.mp4") as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert [frame[24, 32].argmax() for frame in frames] == [0, 1, 2]
    assert predict("m.colours", "clip.mkv") == 2
    assert predict("m.colours", "clip.mkv", "--force") == 0
    out, _ = capsys.readouterr()
    assert "clip.mkv: 3 frames of 48x64" in out
    assert "wrote predictions/clip_painted.mp4" in out


def test_a_camera_is_painted_until_ctrl_c(work: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")

    class StandIn:
        """Stands in for OpenCV's camera: after the third frame, Ctrl-C is pressed."""

        def __init__(self, number: int) -> None:
            self.frames = 0

        def isOpened(self) -> bool:
            return True

        def read(self) -> tuple[bool, np.ndarray]:
            self.frames += 1
            if self.frames == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return True, np.full((48, 64, 3), (20, 10, 200), np.uint8)

        def release(self) -> None:
            pass

    assert threading.current_thread() is threading.main_thread()
    monkeypatch.setattr("cv2.VideoCapture", StandIn)
    before = signal.getsignal(signal.SIGINT)
    assert predict("m.colours", "--camera", "0", "--json") == 0
    assert signal.getsignal(signal.SIGINT) is before
    (video,) = document(capsys)["videos"]
    assert video["frames"] >= 3
    assert video["classes"][0]["name"] == "red"
    with av.open("predictions/camera0_painted.mp4") as file:
        assert len(list(file.decode(video=0))) == video["frames"]


def test_infer_takes_a_model_without_its_backend(work: Path, capsys) -> None:
    command = ["infer", "m.colours", "--input-img", "red.png", "--show-dir", "painted"]
    for words in (command, ["run", *command]):
        assert run_command_line([*words]) == 0
        out, _ = capsys.readouterr()
        assert out.startswith("backend: also (runs open it, too)\n")
    Path("runs").write_text("a file of the name of a backend")
    assert run_command_line(["infer", "runs", *command[1:]]) == 0
    assert capsys.readouterr().out.startswith("runs is a backend here; the file of this name is ./runs\n")
    assert run_command_line(["infer", "m.colours", "--help"]) == 0
    assert "--swapped" in capsys.readouterr().out
    for word, reason in (
        ("none", "no target 'none'"),
        ("./none", "there is no file"),
        ("red.png", "opens red.png"),
    ):
        assert run_command_line(["infer", word, "--eval", "mIoU"]) == 2
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("--report m.colours", "m.colours is an input"),
        ("--report p.html --palette p.html", "p.html is an input"),
        ("--report red.png", "red.png is an input"),
        ("--report photos/a.png", "photos/a.png does not end in .html"),
        ("--show-dir out --color photos/../out", "--color and --show-dir write files of the same names"),
    ],
)
def test_infer_writes_over_no_input_and_no_other_output(work: Path, capsys, flags: str, reason: str) -> None:
    Path("p.html").write_text("#ff0000\n#00ff00\n#0000ff\n")
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    assert run_command_line(["infer", "m.colours", "--input-img", "red.png", "--force", *flags.split()]) == 2
    assert reason in capsys.readouterr().err
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before
