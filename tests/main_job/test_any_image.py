"""Images of bands, probabilities, views and approximations, on the command line."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from segplug.cli.root import run_command_line

BANDS, SIZE, NODATA = 5, (33, 47), 4
"""Channels and size of the images, and their first rows, which have no data."""

NETS = """
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(5, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))

        def forward(self, images):
            return self.body(images)
"""
OPTIONS = ("--source-options", f"in_channels={BANDS}", "mean=3000", "std=900", "classes=a,b,c")

LOGITS = ("--dynamic", "--output-kind", "logits")

Run = Callable[..., dict[str, Any]]
Fail = Callable[..., str]


@dataclass(frozen=True)
class Bands:
    """Images of five bands of 16 bits, and a network for them whose scores have a stride of 2."""

    folder: Path
    network: torch.nn.Module

    @property
    def model(self) -> tuple[str, ...]:
        return (f"python:{self.folder / 'nets.py'}:Net", "--checkpoint", str(self.folder / "w.pth"), *OPTIONS)

    @property
    def onnx(self) -> str:
        return str(self.folder / "m.onnx")

    @property
    def data(self) -> tuple[str, str]:
        return ("--dataset", str(self.folder / "data"))

    def image(self, number: int) -> np.ndarray:
        return np.load(self.folder / f"{number}.npy")

    def probabilities(self, number: int) -> np.ndarray:
        """(3, H, W), by torch."""
        values = (self.image(number).astype(np.float32) - 3000) / 900
        with torch.no_grad():
            scores = self.network(torch.from_numpy(values)[None])
        scores = F.interpolate(scores, SIZE, mode="bilinear", align_corners=False)
        return scores.softmax(1)[0].numpy()

    def labels(self, number: int) -> np.ndarray:
        labels = self.probabilities(number).argmax(0)
        labels[:NODATA] = 255
        return labels


@pytest.fixture(scope="module")
def bands(tmp_path_factory: pytest.TempPathFactory) -> Bands:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import from_origin

    folder = tmp_path_factory.mktemp("bands")
    (folder / "nets.py").write_text(textwrap.dedent(NETS))
    names: dict[str, Any] = {}
    exec(textwrap.dedent(NETS), names)
    torch.manual_seed(3)
    network = names["Net"]()
    torch.save(network.state_dict(), folder / "w.pth")
    made = Bands(folder, network)
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "data" / kind).mkdir(parents=True)
    place = {"crs": "EPSG:32633", "transform": from_origin(500000, 4600000, 10, 10), "nodata": 0}
    form = {"driver": "GTiff", "height": SIZE[0], "width": SIZE[1], "count": BANDS, "dtype": "uint16"}
    for number in range(3):
        blocks = np.kron(rng.integers(1000, 5000, (BANDS, 7, 10)), np.ones((1, 5, 5)))
        image = blocks[:, : SIZE[0], : SIZE[1]].astype(np.uint16)
        image[:, :NODATA] = 0
        np.save(folder / f"{number}.npy", image)
        with rasterio.open(folder / "data" / "images" / f"{number}.tif", "w", **form, **place) as file:
            file.write(image)
        mask = made.labels(number).astype(np.uint8)
        mask[:NODATA] = 1
        mask[-5:] = (mask[-5:] + 1) % 3
        cv2.imwrite(str(folder / "data" / "masks" / f"{number}.png"), mask)
    assert run_command_line(["run", "export", "onnx", *made.model, *LOGITS, "--output", made.onnx]) == 0
    return made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> dict[str, Any]:
        words = [str(argument) for argument in arguments]
        assert run_command_line([*words, "--json"]) == 0, capsys.readouterr().err
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return call


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Fail:
    """Runs a command that must fail, and returns its only line."""

    def call(*arguments: object, code: int = 1) -> str:
        assert run_command_line([str(argument) for argument in arguments]) == code
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err.strip()

    return call


def test_bands_are_scored_alike_on_every_engine(bands: Bands, run: Run) -> None:
    expected = 1 - 5 / (SIZE[0] - NODATA)  # the last rows are wrong, the first have no data
    for backend, model in (("pytorch", bands.model), ("onnxruntime", (bands.onnx,))):
        document = run("run", "infer", backend, *model, *bands.data, "--eval", "mIoU")
        assert document["scores"]["aAcc"] == pytest.approx(expected, abs=2e-3)
        assert (document["views"], document["views_left_out"], document["approximations"]) == (0, 0, [])


def test_label_maps_keep_the_place_of_their_images(bands: Bands, run: Run, tmp_path: Path) -> None:
    import rasterio

    maps = tmp_path / "maps"
    run(
        "run",
        "infer",
        "onnxruntime",
        bands.onnx,
        *bands.data,
        "--format-only",
        maps,
        "--label-suffix",
        ".tif",
    )
    assert sorted(path.name for path in maps.iterdir()) == ["0.tif", "1.tif", "2.tif"]
    for number in range(3):
        with (
            rasterio.open(maps / f"{number}.tif") as written,
            rasterio.open(bands.folder / "data" / "images" / f"{number}.tif") as image,
        ):
            assert (written.crs, written.transform) == (image.crs, image.transform)
            assert (written.count, written.nodata) == (1, 255)
            assert (written.read(1) != bands.labels(number)).mean() < 0.002


def test_probabilities_and_unknown_labels(bands: Bands, run: Run, tmp_path: Path) -> None:
    sure, raw = tmp_path / "sure", tmp_path / "raw.npz"
    where = (*bands.data, "--out", raw, "--unknown-below", "0.5", "--confidence", sure)
    run("run", "infer", "onnxruntime", bands.onnx, *where)
    with np.load(raw) as labels:
        for number in range(3):
            best = bands.probabilities(number).max(0)
            np.testing.assert_allclose(np.load(sure / f"{number}.npy"), best, atol=1e-4)
            expected = np.where(best < 0.5, 255, bands.labels(number))
            assert 0.05 < (expected[NODATA:] == 255).mean() < 0.95
            assert (labels[f"{number}.tif"] != expected).mean() < 0.002


@pytest.mark.parametrize(("flags", "shown"), [((), (3, 2, 1)), (("--bands", 5, 1, 4), (4, 1, 5))])
def test_painted_images_show_the_bands_that_are_asked_for(
    bands: Bands, run: Run, tmp_path: Path, flags: tuple[object, ...], shown: tuple[int, ...]
) -> None:
    image = bands.folder / "data" / "images" / "0.tif"
    paint = ("--input-img", image, "--show-dir", tmp_path, "--opacity", 0.01, *flags)
    run("run", "infer", "onnxruntime", bands.onnx, *paint)
    painted = cv2.imread(str(tmp_path / "0.tif"))
    assert painted.shape == (*SIZE, 3)
    pixels = bands.image(0)[[band - 1 for band in shown], NODATA:].transpose(1, 2, 0).astype(np.float64)
    low, high = np.percentile(pixels, (2, 98))
    expected = np.clip((pixels - low) * 255 / (high - low), 0, 255)
    assert np.abs(painted[NODATA:] - expected).max() < 5
    assert painted[:NODATA].max() < 5


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--show-dir", "x", "--bands", 6), 2, "error: band 6 is not there: there are bands 1 to 5"),
        (("--show-dir", "x", "--bands", 1, 2), 2, "error: 2 bands are given (give one (grey) or three"),
        (("--show-dir", "x", "--bands", 0), 2, "error: Invalid value for '--bands': 0 is not in the range"),
        (("--out", "x.npz", "--unknown-below", 1.5), 2, "error: Invalid value for '--unknown-below': 1.5 is"),
        (("--out", "x.npz", "--unknown-below", "nan"), 2, "error: Invalid value for '--unknown-below'"),
        (("--format-only", "x", "--label-suffix", ".jpg"), 2, "error: Invalid value for '--label-suffix'"),
        (
            ("--out", "x.npz", "--label-suffix", ".tif"),
            2,
            "error: --label-suffix is the format of label maps",
        ),
        (("--out", "x.npz", "--bands", 1), 2, "error: --bands says what painted images show"),
    ],
)
def test_wrong_flags_are_one_line(
    bands: Bands, fail: Fail, tmp_path: Path, monkeypatch, flags, code, said
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fail("run", "infer", "onnxruntime", bands.onnx, *bands.data, *flags, code=code).startswith(said)
    assert not list(tmp_path.iterdir())


def test_a_photograph_is_no_image_of_bands(bands: Bands, fail: Fail, tmp_path: Path) -> None:
    photograph = tmp_path / "photograph.png"
    cv2.imwrite(str(photograph), np.zeros((20, 30, 3), np.uint8))
    said = fail(
        "run", "infer", "onnxruntime", bands.onnx, "--input-img", photograph, "--out", tmp_path / "x.npz"
    )
    assert "photograph.png has 3 channels, the network takes 5" in said


def test_the_confidence_of_a_file_of_labels_is_refused(
    bands: Bands, run: Run, fail: Fail, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.onnx"
    run("run", "export", "onnx", *bands.model, "--output-kind", "labels", "--dynamic", "--output", labels)
    unknown = ("--out", tmp_path / "x.npz", "--unknown-below", 0.5)
    for what, flags in (("the confidence", ("--confidence", tmp_path / "sure")), ("unknown_below", unknown)):
        said = fail("run", "infer", "onnxruntime", labels, *bands.data, *flags, code=2)
        assert f"{what} needs the scores of every class, but onnxruntime" in said
        assert "gives labels" in said
    run("run", "infer", "onnxruntime", labels, *bands.data, "--format-only", tmp_path / "maps")
    with Image.open(tmp_path / "maps" / "1.png") as written:
        assert (np.asarray(written) != bands.labels(1)).mean() < 0.002


VIEWS = ("data.test.pipeline.1.flip=True", "data.test.pipeline.1.img_ratios=[1.0,1.5]")


def test_views_are_averaged_unless_they_are_left_out(
    shared_project, run: Run, tmp_path: Path, capsys
) -> None:
    config, weights = shared_project.config, ("--checkpoint", shared_project.checkpoint)
    overrides = (*shared_project.data_options, *VIEWS)
    data = ("--dataset", config, *shared_project.data_options, "--eval", "mIoU")
    path = tmp_path / "m.onnx"
    exported = run("run", "export", "onnx", config, *weights, *overrides, *LOGITS, "--output", path)
    assert len(exported["artifact"]["meta"]["tta"]) == 4
    plain = run("run", "infer", "pytorch", config, *weights, *data)["scores"]
    scores = {}
    for flags, views in (((), 4), (("--no-tta",), 0)):
        for backend, model in (("pytorch", (config, *weights, *overrides)), ("onnxruntime", (path,))):
            document = run("run", "infer", backend, *model, *data, *flags)
            assert (document["views"], document["views_left_out"]) == (views, 4 - views)
            scores[backend, views] = document["scores"]["mIoU"]
    for views in (0, 4):
        assert scores["pytorch", views] == pytest.approx(scores["onnxruntime", views], abs=5e-4)
    assert scores["pytorch", 0] == plain["mIoU"]
    assert abs(scores["pytorch", 4] - plain["mIoU"]) > 1e-3

    command = ["run", "infer", "onnxruntime", str(path), *map(str, data)]
    assert run_command_line(command) == 0
    assert "test-time augmentation: the probabilities of 4 views are averaged" in capsys.readouterr().out
    assert run_command_line([*command, "--no-tta"]) == 0
    assert "without the test-time augmentation of the model's pipeline (4 views)" in capsys.readouterr().out


def test_views_of_a_file_of_labels_are_refused(shared_project, run: Run, fail: Fail, tmp_path: Path) -> None:
    config, weights = shared_project.config, ("--checkpoint", shared_project.checkpoint)
    path, overrides = tmp_path / "m.onnx", (*shared_project.data_options, *VIEWS)
    run("run", "export", "onnx", config, *weights, *overrides, "--output-kind", "labels", "--output", path)
    data = ("--dataset", config, *shared_project.data_options, "--eval", "mIoU")
    said = fail("run", "infer", "onnxruntime", path, *data, code=2)
    assert "test-time augmentation (--no-tta leaves it out) needs the scores of every class" in said
    assert run("run", "infer", "onnxruntime", path, *data, "--no-tta")["views_left_out"] == 4


def test_what_cannot_be_expressed_is_an_error_or_an_approximation(
    shared_project, run: Run, fail: Fail, tmp_path: Path, capsys
) -> None:
    config, weights = shared_project.config, ("--checkpoint", shared_project.checkpoint)
    changed = (*shared_project.data_options, "data.test.pipeline.1.transforms.1.type=CLAHE")
    model = (config, *weights, *changed)
    path = tmp_path / "m.onnx"
    for command in (
        ("infer", "pytorch", *model, "--eval", "mIoU"),
        ("export", "onnx", *model, "--output", path),
    ):
        said = fail("run", *command)
        assert "the test pipeline has CLAHE" in said
        assert "--approximate" in said
    assert not path.exists()
    document = run("run", "infer", "pytorch", *model, "--approximate", "--eval", "mIoU")
    assert document["approximations"] == ["CLAHE is left out"]
    exported = run("run", "export", "onnx", *model, "--approximate", "--dynamic", "--output", path)
    assert exported["artifact"]["meta"]["approximations"] == ["CLAHE is left out"]
    data = ("--dataset", config, *shared_project.data_options)
    command = ["run", "infer", "onnxruntime", path, *data, "--eval", "mIoU"]
    assert run(*command)["approximations"] == ["CLAHE is left out"]
    assert run_command_line([str(word) for word in command]) == 0
    assert "approximate: CLAHE is left out" in capsys.readouterr().out
