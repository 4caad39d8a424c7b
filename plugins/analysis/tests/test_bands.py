"""``analyze serving`` and ``analyze parity`` on images of other channels and types than three of 8 bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from analysis_support.parity_toys import (  # noqa: F401 (fixtures)
    Toys,
    install_fixture,
    toys_fixture,
    write_images,
)
from analysis_support.serving_toys import Served, serve, with_mask
from analysis_support.source_toys import Asked, asked_fixture  # noqa: F401 (fixture)

from segplug.api import Segplug
from segplug.errors import UsageError
from segplug.results import AnalyzeReport
from segplug.serving.answers import Answer

SIZE = (24, 40)


def bands(channels: int, seed: int = 0) -> Any:
    """Smooth grey of 8 bits, or bands of 16 bits."""
    most = 200 if channels == 1 else 300
    coarse = np.random.default_rng(seed).uniform(0, most, (channels, 3, 5))
    image = np.stack([cv2.resize(band, SIZE[::-1]) for band in coarse], axis=2)
    return image.astype(np.uint8 if channels == 1 else np.uint16)


def network(channels: int) -> dict[str, Any]:
    """Options of the toy source: about half of the pixels have label 1."""
    return {"channels": channels, "weight": 1 / channels, "bias": 0.0 if channels == 1 else -1.0}


@contextmanager
def served_model(asked: Asked, channels: int, change: Any = None) -> Iterator[Served]:
    session = Segplug()
    model = session.load_model(asked.config, **network(channels))
    with session.open(model, backend="pytorch") as engine, serve(engine, change_answer=change) as served:
        yield served


def analyze(served: Served, asked: Asked, images: list[Path], channels: int, **options: Any) -> AnalyzeReport:
    given = {"config": str(asked.config), "checkpoint": str(asked.checkpoint), "requests": 2, "warmup": 0}
    return Segplug().analyze(
        "serving",
        url=served.url,
        image=tuple(images),
        concurrency=(1,),
        source_options=network(channels),
        **given,
        **options,
    )


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_served_masks_are_those_of_the_model(asked: Asked, tmp_path: Path, channels: int) -> None:
    files = [tmp_path / f"{seed}.npy" for seed in range(2)]
    for seed, file in enumerate(files):
        np.save(file, bands(channels, seed))
    with served_model(asked, channels) as served:
        report = analyze(served, asked, files, channels)

    assert not report.failures
    for one in report.data["images"]:
        assert (one["height"], one["width"]) == SIZE
        assert one["agreement"]["pixels_differing"] == 0
    assert any("pipeline (2 views): servers run one view" in note for note in report.notes)
    assert [figure.draw()[:2] for figure in report.figures] == [b"\xff\xd8"] * 2
    with served_model(asked, channels) as served, pytest.raises(UsageError, match="band 14 is not there"):
        analyze(served, asked, files, channels, bands=(14,))
    assert served.bodies == []


def test_bands_are_chosen_for_pictures(asked: Asked, tmp_path: Path) -> None:
    image = bands(4)
    image[:, :, 3] = 0
    image[:, 20:, 3] = 1000
    np.save(tmp_path / "a.npy", image)
    with served_model(asked, 4) as served:
        report = analyze(served, asked, [tmp_path / "a.npy"], 4, bands=(4,))
    picture = cv2.imdecode(np.frombuffer(report.figures[0].draw(), np.uint8), cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    left, right = (picture[height // 3, int(share * width)].tolist() for share in (0.1, 0.4))
    assert max(left) < 20
    assert min(right) > 235  # the two halves of the fourth band


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_parity_of_backends(asked: Asked, tmp_path: Path, channels: int) -> None:
    data = tmp_path / "data"
    for part in ("images", "masks"):
        (data / part).mkdir(parents=True)
    for seed in range(2):
        np.save(data / "images" / f"{seed}.npy", bands(channels, seed))
        mask = np.random.default_rng(seed).integers(0, 2, SIZE).astype(np.uint8)
        cv2.imwrite(str(data / "masks" / f"{seed}.png"), mask)

    report = Segplug().analyze(
        *("parity", asked.config, asked.checkpoint),
        backend=("onnxruntime",),
        dataset=str(data),
        work_dir=tmp_path / "work",
        source_options={**network(channels), "stride": 2, "blurs": True},
        approximate=True,
    )

    (run,) = report.data["runs"]
    assert run["agreement"]["pixels"] == 2 * SIZE[0] * SIZE[1]
    assert run["agreement"]["share"] > 0.999
    assert 0 < run["scores"]["aAcc"] < 1
    assert report.data["model"]["views_left_out"] == 2
    assert report.notes[0] == "approximate: the step Blur is left out"
    assert any("mIoU --no-tta` gives them" in note for note in report.notes)
    assert any("pipeline (2 views): PyTorch and the backends run one" in note for note in report.notes)


def test_parity_paints_the_chosen_bands(asked: Asked, toys: Toys, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", (32, 64))
    image = np.zeros((32, 64, 4), np.uint16)
    image[:, 32:, 3] = 1000
    (data / "images" / "0.png").unlink()
    np.save(data / "images" / "0.npy", image)
    options: dict[str, Any] = {
        "backend": ("toyengine",),
        "precision": ("fp16",),
        "dataset": str(data),
        "work_dir": tmp_path / "work",
        "source_options": network(4),
    }
    with pytest.raises(UsageError, match="band 5 is not there: there are bands 1 to 4"):
        Segplug().analyze("parity", asked.config, asked.checkpoint, bands=(5,), **options)

    report = Segplug().analyze("parity", asked.config, asked.checkpoint, bands=(4,), **options)

    picture = cv2.imdecode(np.frombuffer(report.figures[0].draw(), np.uint8), cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    left, right = (picture[height // 3, int(share * width)].tolist() for share in (0.1, 0.4))
    assert max(left) < 20
    assert min(right) > 235


@pytest.mark.parametrize("marked", [True, False])
def test_pixels_without_data_are_marked(asked: Asked, tmp_path: Path, marked: bool) -> None:
    rasterio = pytest.importorskip("rasterio")
    image = bands(4) + 1
    image[:, -6:] = 0
    form = {"driver": "GTiff", "height": SIZE[0], "width": SIZE[1], "count": 4, "dtype": "uint16"}
    form["transform"] = rasterio.Affine(2.0, 0.0, 0.0, 0.0, -2.0, 0.0)
    with rasterio.open(tmp_path / "a.tif", "w", nodata=0, **form) as file:
        file.write(image.transpose(2, 0, 1))

    def unmark(number: int, body: bytes, answer: Answer) -> Answer:
        return with_mask(answer, lambda labels: np.where(labels == 255, 0, labels).astype(np.uint8))

    with served_model(asked, 4, None if marked else unmark) as served:
        report = analyze(served, asked, [tmp_path / "a.tif"], 4)

    wrong = 0 if marked else 6 * SIZE[0]
    assert report.data["images"][0]["agreement"]["pixels_differing"] == wrong
    assert bool(report.failures) != marked
