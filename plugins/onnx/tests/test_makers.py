"""ONNX files of Ultralytics, optimum-onnx and mmdeploy run without a flag, as their own programs run them.

Expected labels come from each program's arithmetic, written out here. The README has the numbers of the
comparison with the programs themselves.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from onnx_support import mmdeploy_file, optimum_file, scores_of, ultralytics_file
from PIL import Image

from segplug import Segplug
from segplug.errors import UsageError
from segplug.progress import QuietReporter

NAMES = ("road", "sky", "tree", "car")
SIZES = [(120, 161), (161, 120), (64, 96), (33, 301), (963, 80)]


class _Notes(QuietReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def photo(tmp_path: Path):
    """A smooth colour image of a size, as a PNG file."""

    def make(size: tuple[int, int]) -> Path:
        small = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        path = tmp_path / f"{size[0]}x{size[1]}.png"
        cv2.imwrite(str(path), cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC))
        return path

    return make


def _letterboxed(image: np.ndarray, size: tuple[int, int], divisor: int | None):
    """Ultralytics' input ``(3, H, W)``, and the place (top, left, height, width) of the image in it."""
    factor = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(round(edge * factor), 1) for edge in image.shape[:2])
    inside = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    rest = [size[0] - height, size[1] - width]
    if divisor is not None:
        rest = [edge % divisor for edge in rest]
    top, left = rest[0] // 2, rest[1] // 2
    grey = np.full((height + rest[0], width + rest[1], 3), 114, np.uint8)
    grey[top : top + height, left : left + width] = inside
    return grey[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(255), (
        top,
        left,
        height,
        width,
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("scores", [False, True])
def test_ultralytics(tmp_path: Path, photo, size, dynamic: bool, scores: bool) -> None:
    path = ultralytics_file(tmp_path / "m.onnx", dynamic=dynamic, scores=scores)
    image = photo(size)
    found = Segplug().predict(path, image).labels
    network, (top, left, height, width) = _letterboxed(
        cv2.imread(str(image)), (64, 96), 32 if dynamic else None
    )
    output = torch.from_numpy(scores_of(network)[:, top : top + height, left : left + width])[None]
    if scores:
        expected = torch.nn.functional.interpolate(output, size, mode="bilinear", align_corners=False)[
            0
        ].argmax(0)
        assert (found != expected.numpy()).mean() < 1e-3  # near-ties of two interpolations in float32
        return
    labels = output.argmax(1, keepdim=True).float()
    expected = torch.nn.functional.interpolate(labels, size, mode="nearest")[0, 0]
    np.testing.assert_array_equal(found, expected.numpy())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("scores", [False, True])
def test_mmdeploy(tmp_path: Path, photo, size, dynamic: bool, scores: bool) -> None:
    path = mmdeploy_file(tmp_path / "m", dynamic=dynamic, scores=scores)
    image = photo(size)
    found = Segplug().predict(path, image).labels
    height, width = (64, 96)
    if dynamic:
        factor = min(96 / max(size), 64 / min(size))
        height, width = (int(edge * factor + 0.5) for edge in size)
    resized = cv2.resize(cv2.imread(str(image)), (width, height))[:, :, ::-1].astype(np.float32)
    mean, std = (np.array(v) for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    output = scores_of(((resized - mean) / std).transpose(2, 0, 1))
    if scores:
        planes = np.stack([cv2.resize(plane, size[::-1]) for plane in output])
        assert (found != planes.argmax(0)).mean() < 1e-3
        return
    labels = output.argmax(0).astype(np.uint8)
    expected = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)
    assert (found != expected).mean() < 1e-3


def test_mmdeploy_stretches_padding_over_the_image(tmp_path: Path, photo) -> None:
    steps = [{"type": "Resize", "keep_ratio": True, "size": [96, 64]}, {"type": "Pad", "size_divisor": 32}]
    path = mmdeploy_file(tmp_path / "m", dynamic=True, transforms=steps)
    image = photo((120, 161))
    resized = cv2.resize(cv2.imread(str(image)), (86, 64))
    padded = np.zeros((64, 96, 3), np.float32)
    padded[:, :86] = resized
    labels = scores_of(padded.transpose(2, 0, 1)).argmax(0).astype(np.uint8)
    expected = cv2.resize(labels, (161, 120), interpolation=cv2.INTER_NEAREST)
    assert (Segplug().predict(path, image).labels != expected).mean() < 1e-3


@pytest.mark.parametrize("size", SIZES[:3])
@pytest.mark.parametrize("fixed", [(64, 96), None])
def test_optimum(tmp_path: Path, photo, size, fixed, monkeypatch: pytest.MonkeyPatch) -> None:
    # What transformers takes itself depends on whether torchvision can be imported.
    monkeypatch.setattr("segplug_transformers.described.installed_backend", lambda: "pil")
    path = optimum_file(tmp_path / "m", fixed)
    image = photo(size)
    with Segplug().open(path) as engine:
        meta = engine.spec.meta
        found = Segplug().predict(engine, image).labels
    assert (meta.classes, meta.output_stride) == (NAMES, 2)
    resized = np.asarray(Image.open(image).resize((96, 64), Image.Resampling.BILINEAR)) / 255
    mean, std = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    output = scores_of(((resized - mean) / std).astype(np.float32).transpose(2, 0, 1), 2)
    logits = torch.nn.functional.interpolate(torch.from_numpy(output)[None], size, mode="bilinear")[0]
    assert (found != logits.argmax(0).numpy()).mean() < 1e-3


def test_a_line_says_what_was_read_from_where(tmp_path: Path, photo) -> None:
    read = "classes and preprocessing for 64x96 (height x width) are those of"
    files = {
        f"Ultralytics 8.4.190: {read} the metadata in it": ultralytics_file(tmp_path / "u.onnx"),
        f"mmdeploy 1.3.1: {read} deploy.json and pipeline.json beside it; its files name no classes: "
        "--classes gives names": mmdeploy_file(tmp_path / "d"),
        f"optimum-onnx, or a tool that writes such folders: {read} config.json and preprocessor_config.json "
        "beside it": optimum_file(tmp_path / "o"),
    }
    for line, path in files.items():
        reporter = _Notes()
        Segplug(reporter=reporter).predict(path, photo((64, 96)))
        assert reporter.notes == [f"{path.name} was made by {line}"]


def test_the_user_s_flags_count_first(tmp_path: Path, photo) -> None:
    path = ultralytics_file(tmp_path / "m.onnx")
    reporter = _Notes()
    with Segplug(reporter=reporter).open(path, mean=(1.0,), std=(2.0,)) as engine:
        steps = [step.name for step in engine.spec.meta.preprocessing]
        assert (engine.spec.meta.classes, steps) == (NAMES, ["resize", "channel_order", "normalize"])
    assert reporter.notes[0].endswith(
        "classes are those of the metadata in it; --mean --std replace its preprocessing"
    )
    with Segplug().open(mmdeploy_file(tmp_path / "d"), classes=("a", "b", "c", "d")) as engine:
        assert engine.spec.meta.classes == ("a", "b", "c", "d")
    with pytest.raises(UsageError, match=r"--classes names 2 classes, but deploy.json .* says 4"):
        Segplug().predict(tmp_path / "d" / "end2end.onnx", photo((64, 96)), classes=("a", "b"))
    with pytest.raises(UsageError, match="with --std"):
        Segplug().predict(path, photo((64, 96)), mean=(1.0,))
    with pytest.raises(UsageError, match=r"--classes names 2 classes, but .* has 4"):
        Segplug().predict(optimum_file(tmp_path / "o"), photo((64, 96)), classes=("a", "b"))


def test_one_class_of_ultralytics_is_told_from_the_rest(tmp_path: Path) -> None:
    path = ultralytics_file(tmp_path / "m.onnx", names="{0: 'crack'}")
    with Segplug().open(path) as engine:
        meta = engine.spec.meta
    # Two classes: each has a row of its own in a table of scores.
    assert (meta.classes, meta.num_labels, meta.threshold) == (("background", "crack"), 2, 0.5)


def test_names_that_occur_twice_are_told_apart_by_their_labels(tmp_path: Path) -> None:
    path = ultralytics_file(tmp_path / "m.onnx", names="{0: 'a', 1: 'b', 2: 'a', 3: 'c'}")
    with Segplug().open(path) as engine:
        assert engine.spec.meta.classes == ("a (0)", "b", "a (2)", "c")


def test_info_tells_who_made_a_file_and_runs_nothing(tmp_path: Path) -> None:
    files = {
        "Ultralytics 8.4.190": ultralytics_file(tmp_path / "u.onnx"),
        "mmdeploy 1.3.1": mmdeploy_file(tmp_path / "d"),
        "optimum-onnx, or a tool that writes such folders": optimum_file(tmp_path / "o"),
    }
    for name, path in files.items():
        found = Segplug().info(path)
        assert found.details["made by"] == name
        assert len(found.legend) == 4
        facts = dict(found.facts())
        assert facts["input size"] == ("64x96 (height x width)",)
        assert facts["preprocessing"][0].startswith("1. Resize")
        assert found.next[0] == f"segplug predict {path} photo.jpg"
        assert not any("no metadata" in note for note in found.notes)


def test_a_file_of_nobody_needs_its_flags_as_before(tmp_path: Path, photo) -> None:
    path = ultralytics_file(tmp_path / "m.onnx", author=None, task=None)
    assert "made by" not in Segplug().info(path).details
    with pytest.raises(UsageError, match="--output-kind, --mean, --std"):
        Segplug().predict(path, photo((64, 96)))
