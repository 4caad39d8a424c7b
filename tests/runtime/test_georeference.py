"""Label maps lie where their images lie."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from segplug.dataset import DatasetInfo, LabelFormat
from segplug.engine import EngineSpec
from segplug.errors import MissingDependencyError
from segplug.model import ModelMeta
from segplug.runtime.georeference import encode_label_tif
from segplug.runtime.pictures import LabelMapSink
from segplug.runtime.pipeline import run
from segplug.testing import ArrayDataset, FunctionEngine

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("tifffile")

LABELS = np.arange(24, dtype=np.uint8).reshape(4, 6)


@pytest.fixture(params=["rasterio", "tifffile"])
def library(request, monkeypatch):
    """Which library writes; without rasterio, tifffile does."""
    if request.param == "tifffile":
        monkeypatch.setitem(sys.modules, "rasterio", None)


def _image(path, *, shape=(4, 6), **place):
    gcps, rpcs = place.pop("gcps", None), place.pop("rpcs", None)
    settings = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 2, "dtype": "float32"}
    with rasterio.open(path, "w", **settings, **place) as file:
        if gcps is not None:
            file.gcps = gcps
        if rpcs is not None:
            file.rpcs = rpcs
        file.write(np.zeros((2, *shape), np.float32))
    return path


def _read(content):
    with rasterio.MemoryFile(content) as memory, memory.open() as file:
        assert file.compression.name == "deflate"
        return {
            "labels": file.read(1),
            "crs": file.crs,
            "transform": file.transform,
            "gcps": file.gcps,
            "rpcs": file.rpcs,
            "nodata": file.nodata,
        }


@pytest.mark.usefixtures("library")
def test_the_coordinate_system_and_the_transform_are_kept(tmp_path):
    transform = rasterio.transform.from_origin(400000, 5300000, 10, 20)
    source = _image(tmp_path / "a.tif", crs="EPSG:32633", transform=transform)
    read = _read(encode_label_tif(LABELS, source=source, ignored=255))
    assert read["crs"].to_epsg() == 32633
    assert read["transform"] == transform
    assert np.array_equal(read["labels"], LABELS)
    assert read["labels"].dtype == np.uint8
    assert read["nodata"] == 255


@pytest.mark.usefixtures("library")
def test_ground_control_points_and_rpcs_are_kept(tmp_path):
    points = [
        rasterio.control.GroundControlPoint(row, col, 10 + col, 50 - row, 0)
        for row, col in ((0, 0), (0, 5), (3, 0))
    ]
    source = _image(tmp_path / "a.tif", gcps=(points, rasterio.crs.CRS.from_epsg(4326)))
    found, system = _read(encode_label_tif(LABELS, source=source, ignored=None))["gcps"]
    assert system.to_epsg() == 4326
    assert [(point.row, point.col, point.x, point.y) for point in found] == [
        (point.row, point.col, point.x, point.y) for point in points
    ]
    rpcs = rasterio.rpc.RPC(
        **{
            f"{axis}_{kind}": 1.0
            for axis in ("height", "lat", "line", "long", "samp")
            for kind in ("off", "scale")
        },
        **{f"{axis}_{part}_coeff": [0.5] * 20 for axis in ("line", "samp") for part in ("num", "den")},
    )
    source = _image(tmp_path / "b.tif", rpcs=rpcs)
    assert _read(encode_label_tif(LABELS, source=source, ignored=None))["rpcs"].line_num_coeff == [0.5] * 20


@pytest.mark.usefixtures("library")
def test_an_image_that_does_not_say_where_it_lies_gives_a_plain_file(tmp_path, recwarn):
    np.save(tmp_path / "a.npy", LABELS)
    transform = rasterio.transform.from_origin(400000, 5300000, 10, 10)
    other = _image(tmp_path / "other.tif", shape=(5, 6), crs="EPSG:32633", transform=transform)
    plain = _image(tmp_path / "plain.tif")
    recwarn.clear()
    wide = LABELS.astype(np.uint16) + 300
    for source in (None, tmp_path / "a.npy", tmp_path / "missing.tif", other, plain):
        content = encode_label_tif(wide, source=source, ignored=65535)
        assert not recwarn
        read = _read(content)
        recwarn.clear()
        assert read["crs"] is None
        assert read["transform"].is_identity
        assert np.array_equal(read["labels"], wide)
        assert read["labels"].dtype == np.uint16
        assert read["nodata"] == 65535


@pytest.mark.usefixtures("library")
def test_an_ignored_label_that_the_type_does_not_have_is_no_nodata_value():
    for ignored in (None, 65535, -1):
        assert _read(encode_label_tif(LABELS, source=None, ignored=ignored))["nodata"] is None


def test_a_world_file_counts_with_rasterio(tmp_path):
    source = _image(tmp_path / "a.tif")
    (tmp_path / "a.tfw").write_text("10\n0\n0\n-10\n400005\n5299995\n")
    read = _read(encode_label_tif(LABELS, source=source, ignored=255))
    assert read["transform"] == rasterio.transform.from_origin(400000, 5300000, 10, 10)


def test_without_both_libraries_the_command_is_named(monkeypatch):
    for name in ("rasterio", "tifffile"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"segplug\[tiff\]"):
        encode_label_tif(LABELS, source=None, ignored=None)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("channels", "ignored", "ids", "nodata"),
    [
        (3, 255, None, 255),
        (300, 255, None, None),  # 255 is a class: its pixels are no gap
        (300, 65535, None, 65535),
        (3, 255, {0: 7, 1: 8, 2: 9, 255: 0}, 0),
        (3, 255, {0: 7, 1: 8, 2: 0, 255: 0}, None),
    ],
)
def test_the_nodata_value_is_never_that_of_a_class(tmp_path, channels, ignored, ids, nodata):
    meta = ModelMeta("m", in_channels=1, out_channels=channels)
    numbers = np.arange(channels, dtype=np.float32)[:, None, None]
    engine = FunctionEngine(EngineSpec(meta, "logits"), lambda batch: -np.abs(batch - numbers))
    form = None if ids is None else LabelFormat(ids=ids)
    info = DatasetInfo("one", (), has_masks=False, ignore_index=ignored, label_format=form)
    labels = np.minimum(np.arange(256, dtype=np.uint16).reshape(16, 16, 1), channels - 1)
    dataset = ArrayDataset([labels], info=info)
    run(engine, dataset, [LabelMapSink(tmp_path, suffix=".tif")])
    read = _read((tmp_path / "0000.tif").read_bytes())
    assert read["nodata"] == nodata
    expected = labels[:, :, 0] if ids is None else np.array([ids[i] for i in range(3)])[labels[:, :, 0]]
    assert np.array_equal(read["labels"], expected)
