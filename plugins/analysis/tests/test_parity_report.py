"""The report of ``analyze parity``: numbers, warnings and broken backends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from analysis_support.parity_toys import (  # noqa: F401 (fixtures)
    NPU,
    POINTS,
    Toys,
    images_fixture,
    install_fixture,
    parity_fixture,
    table,
    toys_fixture,
)
from PIL import Image
from segplug_analysis.difference_picture import difference_picture
from segplug_analysis.parity.compare import Agreement
from segplug_analysis.parity.image_sizes import size_in_header, size_of_image
from segplug_analysis.parity.numbers import RunNumbers

from segplug.api import Segplug
from segplug.errors import DatasetError, DeviceError, PluginError, UsageError
from segplug.preprocessing import Decoding
from segplug.progress import QuietReporter
from segplug.reports.cells import cell_text
from segplug.results import AnalyzeReport
from segplug.runtime.reading import read_image
from segplug.scores import RunReport

Parity = Callable[..., AnalyzeReport]


def test_differences_are_backend_less_pytorch_in_points_and_percent(toys: Toys, parity: Parity) -> None:
    report = parity(precision=("fp16",))
    (run,) = report.data["runs"]
    (row,) = table(report, "Difference from PyTorch")
    for metric in ("mIoU", "mAcc", "aAcc"):
        points = 100 * (run["scores"][metric] - report.data["reference"]["scores"][metric])
        assert points
        assert run["difference_points"][metric] == row[f"{metric} points"] == pytest.approx(points)
    agreement = run["agreement"]
    share = agreement["pixels_differing"] / agreement["pixels"]
    assert row["labels differ %"] == pytest.approx(100 * share)
    assert agreement["share"] == pytest.approx(1 - share)
    worst, shown = run["worst"][0], table(report, "Images that differ most")[0]
    assert shown["differing %"] == pytest.approx(100 * worst["pixels_differing"] / worst["pixels"])
    speeds = table(report, "Speed of the scoring run")
    assert [row["backend"] for row in speeds] == ["pytorch fp32", "toyengine fp16"]
    assert speeds[1]["engine ms/image"] == run["engine_ms_per_image"]


def test_few_differing_pixels_are_not_shown_as_0() -> None:
    few = Agreement(900_000_000, 4, scored_pixels=800_000_000, scored_differing=4, images_differing=1)
    none = replace(few, differing=0)
    assert [cell_text(100 * one.differing_share) for one in (few, none)] == ["4.44e-07", "0.0000"]


@pytest.mark.parametrize("resumed", [0, 3])
def test_times_are_of_the_images_that_ran(resumed: int) -> None:
    ran = RunReport(
        images=4,
        resumed=resumed,
        skipped=(),
        scores=None,
        seconds=2.0,
        engine_seconds=0.5,
        warnings=(),
    )
    numbers = RunNumbers.of(ran)
    assert numbers.engine_ms_per_image == pytest.approx(500 / (4 - resumed))
    assert numbers.images_per_second == pytest.approx((4 - resumed) / 2)
    assert not numbers.reused


def test_device_and_threads_get_to_the_engine(toys: Toys, parity: Parity) -> None:
    report = parity(device="cpu:0", threads=2)
    assert json.loads((toys.folder / "opened").read_text()) == ["cpu:0", 2]
    assert (report.data["device"], report.data["threads"]) == ("cpu:0", 2)
    assert report.data["reference"]["device"] == report.data["runs"][0]["device"] == "cpu:0"


def test_each_backend_runs_on_its_own_device_unless_one_is_named(
    install: Callable[..., Toys], parity: Parity
) -> None:
    toys = install(infer={**POINTS["infer"], **NPU})

    report = parity(backend=("acme", "toyengine"))

    assert [row["device"] for row in table(report, "Speed of the scoring run")] == ["cpu", "npu:0", "cpu"]
    assert report.data["device"] is None
    assert report.data["reference"]["device"] == "cpu"
    assert [run["device"] for run in report.data["runs"]] == ["npu:0", "cpu"]
    assert [run["compared"] for run in report.data["runs"]] == [True, True]
    (built,) = (entry for entry in toys.log() if entry["hook"] == "build")
    assert built["device"] is None
    assert not any("the reference, runs on" in note for note in report.notes)


def test_pytorch_runs_on_its_own_device_if_it_cannot_use_the_named_one(
    install: Callable[..., Toys], parity: Parity
) -> None:
    install(infer={**POINTS["infer"], **NPU})

    report = parity(backend=("acme",), device="npu:0")

    assert [row["device"] for row in table(report, "Speed of the scoring run")] == ["cpu", "npu:0"]
    assert "warning: PyTorch, the reference, runs on cpu: it cannot use npu:0" in report.notes
    with pytest.raises(UsageError, match="'npu:0' is no device"):
        parity(backend=("acme", "pytorch"), device="npu:0")
    with pytest.raises(UsageError, match="infer onnxruntime has no device 'npu:0'"):
        parity(backend=("acme", "onnxruntime"), device="npu:0")
    with pytest.raises(DeviceError, match="there is no NPU cpu"):
        parity(backend=("acme",), device="cpu")


def test_warnings_are_in_the_report_once(toys: Toys, parity: Parity, images: Path) -> None:
    path = str(images / "masks" / "0.png")
    mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    mask[0, 0] = 77
    cv2.imwrite(path, mask)
    reporter = QuietReporter()

    report = parity(session=Segplug(reporter=reporter))

    said = [note for note in report.notes if note.startswith("warning: masks hold values")]
    assert len(said) == 1  # both runs warned of it
    assert len([warning for warning in reporter.warnings if warning.startswith("masks hold")]) == 2
    assert said[0] in parity(resume=True).notes


def test_a_data_set_of_ignored_masks_has_no_scores(toys: Toys, parity: Parity, images: Path) -> None:
    for path in (images / "masks").iterdir():
        cv2.imwrite(str(path), np.full((32, 64), 255, np.uint8))
    report = parity()
    json.dumps(report.data, allow_nan=False)
    assert report.data["runs"][0]["scores"]["mIoU"] is None
    assert report.data["runs"][0]["difference_points"]["mIoU"] is None
    assert any("the masks have only the ignored value 255" in note for note in report.notes)


@pytest.mark.parametrize(
    ("hook", "point", "reason"),
    [
        ("infer", {"broken": "toy_parity:broken"}, "broken is broken: KeyError: 'no such key'"),
        (
            "build_engine",
            {"toyengine": "toy_parity:broken_maker"},
            "toyengine is broken: IndexError: list index out of range",
        ),
    ],
)
def test_a_broken_plugin_is_listed_and_the_others_are_compared(
    install: Callable[..., Toys], parity: Parity, hook: str, point: dict[str, str], reason: str
) -> None:
    install(**{hook: {**POINTS[hook], **point}})
    broken = "broken" if hook == "infer" else "toyengine"
    other = "toyengine" if hook == "infer" else "onnxruntime"

    report = parity(backend=(broken, other))

    first, second = report.data["runs"]
    assert (first["compared"], first["reason"]) == (False, reason)
    assert second["compared"]
    assert table(report, "Not compared") == [{"backend": f"{broken} fp32", "reason": reason}]
    with pytest.raises(PluginError, match=f"nothing could be compared: {broken} fp32: {broken} is broken"):
        parity(backend=(broken,))


def test_a_data_set_that_is_damaged_meanwhile_stops_the_report(
    toys: Toys, parity: Parity, images: Path
) -> None:
    (toys.folder / "ruin").write_text(str(images / "images" / "2.png"))  # after the reference has run
    with pytest.raises(DatasetError) as caught:
        parity()
    assert "nothing could be compared" not in str(caught.value)
    assert "2.png" in str(caught.value)


def test_each_label_map_is_painted_under_its_own_name() -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    content: Any = difference_picture(
        black,
        np.zeros((64, 64), np.uint8),
        np.ones((64, 64), np.uint8),
        palette=((255, 0, 0), (0, 0, 255)),
        name="x.png",
        backend="toyengine fp16",
    )
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    upper, lower = (picture[int(share * height), int(0.75 * width)] for share in (0.35, 0.8))
    assert upper[2] > 100 > upper[0]  # PyTorch's: red, as BGR
    assert lower[0] > 100 > lower[2]


def test_sizes_from_headers_are_those_of_the_decoded_images(tmp_path: Path) -> None:
    class Files:
        def image_path(self, index: int) -> Path:
            return tmp_path / f"{index}.jpg"

        def read_image(self, index: int, decoding: Decoding) -> Any:
            return read_image(self.image_path(index), decoding)

    sizes = Image.new("RGB", (30, 20))
    sizes.save(tmp_path / "0.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    sizes.save(tmp_path / "1.jpg", exif=turned)
    (tmp_path / "2.jpg").write_bytes(b"no picture")
    files: Any = Files()
    colour = Decoding()
    assert [size_in_header(files, index, colour) for index in range(3)] == [(20, 30), (30, 20), None]
    assert [size_of_image(files, index, colour) for index in range(2)] == [(20, 30), (30, 20)]
    assert size_in_header(object(), 0, colour) is None  # type: ignore[arg-type]
    unturned = Decoding(color="color_ignore_orientation")
    assert size_in_header(files, 1, unturned) == size_of_image(files, 1, unturned) == (20, 30)


def test_a_tiff_of_many_bands_is_not_opened_with_pillow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bands = np.zeros((20, 30, 13), np.uint16)
    tifffile.imwrite(tmp_path / "bands.tif", bands, photometric="minisblack", planarconfig="contig")
    Image.new("RGB", (30, 20)).save(tmp_path / "colours.png")

    class Files:
        def image_path(self, index: int) -> Path:
            return tmp_path / ("bands.tif", "colours.png")[index]

    files: Any = Files()
    decoding = Decoding(library="bands", color="unchanged")
    assert [size_in_header(files, index, decoding) for index in range(2)] == [None, (20, 30)]
    assert not caplog.records
    size_in_header(files, 0, Decoding(color="unchanged"))
    assert "samples per pixel" in caplog.text  # what Pillow prints
