"""``analyze confusion`` with ignored labels, pixels without data, many classes and one class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segplug import Segplug
from segplug.results import AnalyzeReport
from segplug.runtime.score import count

SIZE = (20, 30)
CLASSES = ("sky", "road", "car")


def labels_of(seed: int, classes: int, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(seed).integers(0, classes, SIZE).astype(dtype)


def write_data(folder: Path, mask: Any, image: Any = None, suffix: str = ".png") -> Path:
    """A data set of one image."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    Image.fromarray(mask).save(folder / "masks" / "a.png")
    if image is None:
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "images" / f"a{suffix}")
    return folder


def analyze(
    results: Path, dataset: Path, classes: tuple[str, ...] = CLASSES, **options: Any
) -> AnalyzeReport:
    given = {"dataset_options": {"classes": classes, **options}}
    return Segplug().analyze("confusion", results, dataset=str(dataset), **given)


def saved(path: Path, labels: Any, name: str = "a.png") -> Path:
    np.savez(path, **{name: labels})
    return path


def test_unknown_pixels_are_missed(tmp_path: Path) -> None:
    mask, labels = labels_of(0, 3), labels_of(1, 3)
    mask[0] = labels[:, :4] = 255
    data = write_data(tmp_path / "data", mask)

    report = analyze(saved(tmp_path / "run.npz", labels), data)

    counts, _ = count(labels, mask, num_classes=3, ignore_index=255, name="a")
    assert report.data["not_predicted_pixels"] == [
        int(((mask == label) & (labels == 255)).sum()) for label in range(3)
    ]
    assert np.trace(report.data["pixels"]) == counts.intersect.sum()
    rows = next(table for table in report.tables if table.title == "classes").rows
    assert [row[1:3] for row in rows] == list(zip(counts.label, counts.prediction, strict=True))
    missed = sum(report.data["not_predicted_pixels"])
    assert any(f"{missed} pixels are predicted as the ignored label" in note for note in report.notes)
    share = np.sum(report.data["normalized"], axis=1)
    assert (share < 1).all()


def test_pixels_without_data_are_ignored(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    mask, labels = labels_of(0, 3), labels_of(1, 3)
    data = write_data(tmp_path / "data", mask, image=())
    bands = np.random.default_rng(2).integers(1, 1000, (4, *SIZE)).astype(np.uint16)
    bands[:, :, -5:] = 0
    labels[:, -5:] = labels[:3] = 255  # without data, and unknown
    form = {"driver": "GTiff", "height": SIZE[0], "width": SIZE[1], "count": 4, "dtype": "uint16"}
    form["transform"] = rasterio.Affine(2.0, 0.0, 0.0, 0.0, -2.0, 0.0)
    with rasterio.open(data / "images" / "a.tif", "w", nodata=0, **form) as file:
        file.write(bands)

    report = analyze(saved(tmp_path / "run.npz", labels, "a.tif"), data)

    assert np.sum(report.data["pixels"]) == 17 * 25
    assert sum(report.data["not_predicted_pixels"]) == 3 * 25


@pytest.mark.parametrize("ignored", [255, 77])
def test_label_maps_with_a_georeference_are_read(tmp_path: Path, ignored: int) -> None:
    from segplug.runtime.georeference import encode_label_tif

    mask, labels = labels_of(0, 3), labels_of(1, 3)
    labels[0] = ignored
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "a.tif").write_bytes(encode_label_tif(labels, source=None, ignored=ignored))

    report = analyze(maps, write_data(tmp_path / "data", mask), ignore_index=ignored)

    assert sum(report.data["not_predicted_pixels"]) == SIZE[1]
    assert np.trace(report.data["pixels"]) == (labels == mask).sum()


def test_more_classes_than_a_byte_has(tmp_path: Path) -> None:
    mask, labels = labels_of(0, 300, np.uint16), labels_of(1, 300, np.uint16)
    labels[5:] = mask[5:]
    mask[0] = labels[1] = 65535
    data = write_data(tmp_path / "data", mask)
    names = tuple(f"class{number}" for number in range(300))
    expected = np.zeros((300, 300), int)
    kept = (mask != 65535) & (labels != 65535)
    np.add.at(expected, (mask[kept], labels[kept]), 1)

    report = analyze(saved(tmp_path / "run.npz", labels), data, names)
    assert report.data["pixels"] == expected.tolist()
    assert sum(report.data["not_predicted_pixels"]) == SIZE[1]

    maps = tmp_path / "maps"
    maps.mkdir()
    Image.fromarray(labels).save(maps / "a.png")
    assert analyze(maps, data, names).data["pixels"] == report.data["pixels"]


def test_one_class_has_a_background(tmp_path: Path) -> None:
    mask, labels = labels_of(0, 2), labels_of(1, 2)
    data = write_data(tmp_path / "data", mask)

    report = analyze(saved(tmp_path / "run.npz", labels), data, ("vessel",))

    assert report.data["classes"] == ["background", "vessel"]
    assert report.data["pixels"] == [
        [int(((mask == true) & (labels == found)).sum()) for found in (0, 1)] for true in (0, 1)
    ]
