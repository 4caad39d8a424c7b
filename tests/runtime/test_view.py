"""Pictures of images of any channels and type, to look at."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from segplug.engine import EngineSpec
from segplug.errors import UsageError
from segplug.model import ModelMeta
from segplug.preprocessing import Decoding
from segplug.runtime.drawing import PictureSettings
from segplug.runtime.paint import Painter
from segplug.runtime.pipeline import run
from segplug.runtime.side_by_side import show_side_by_side
from segplug.runtime.sinks import PaintSink
from segplug.runtime.view import Viewer
from segplug.testing import ArrayDataset, FunctionEngine

BGR, FILE = Decoding(color="unchanged"), Decoding("bands", "unchanged")


def _image(channels: int, dtype: str = "uint8", size=(20, 30)) -> np.ndarray:
    rng = np.random.default_rng(channels)
    return rng.integers(0, 200, (*size, channels)).astype(dtype)


def test_a_photograph_is_shown_as_it_is() -> None:
    image = _image(3)
    assert Viewer(BGR)(image) is image


@pytest.mark.parametrize(
    ("decoding", "channels", "bands", "shown"),
    [
        # the blue, green and red channel of the picture
        (BGR, 3, (1, 2, 3), (0, 1, 2)),
        (BGR, 3, (3, 2, 1), (2, 1, 0)),
        (BGR, 3, (1, 1, 2), (1, 2, 2)),
        (BGR, 3, (1,), (2, 2, 2)),
        (BGR, 4, None, (0, 1, 2)),
        (BGR, 4, (4,), (3, 3, 3)),
        (BGR, 4, (4, 1, 2), (1, 2, 3)),
        (BGR, 1, None, (0, 0, 0)),
        (BGR, 2, None, (0, 0, 0)),
        (FILE, 3, None, (2, 1, 0)),
        (FILE, 4, (4, 3, 2), (1, 2, 3)),
        (FILE, 13, None, (2, 1, 0)),
        (FILE, 13, (13, 1, 7), (6, 0, 12)),
        (FILE, 13, (13,), (12, 12, 12)),
        (FILE, 2, None, (0, 0, 0)),
        (FILE, 1, (1,), (0, 0, 0)),
        (Decoding(loader="LoadBands"), 3, None, (2, 1, 0)),
    ],
)
def test_bands_are_numbered_as_in_the_file(decoding, channels, bands, shown) -> None:
    image = _image(channels)
    picture = Viewer(decoding, bands, channels=channels)(image)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert np.array_equal(picture, image[:, :, list(shown)])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_other_types_are_stretched_between_their_percentiles(dtype: str) -> None:
    image = _image(4, dtype, (40, 50)) * np.array(37, dtype)
    image[0, 0], image[0, 1] = image.min() - np.array(9, dtype) * (dtype != "uint16"), 30000
    kept = image.copy()
    picture = Viewer(FILE, (3, 2, 4))(image)
    chosen = image[:, :, [3, 1, 2]].astype(np.float64)
    low, high = np.percentile(chosen, (2, 98))
    expected = np.clip((chosen - low) * (255 / (high - low)), 0, 255)
    assert np.abs(picture - expected).max() <= 0.51
    assert (picture == 0).any()
    assert (picture == 255).any()
    assert np.array_equal(image, kept)


def test_large_images_are_stretched_by_a_sample_of_their_pixels() -> None:
    image = np.random.default_rng(0).normal(0, 1, (1500, 1400, 1)).astype(np.float32)
    picture = Viewer(FILE)(image)
    low, high = np.percentile(image, (2, 98))
    expected = np.clip((image - low) * (255 / (high - low)), 0, 255)
    assert np.abs(picture[:, :, :1] - expected).mean() < 2


@pytest.mark.parametrize("value", [0.0, 7.25])
def test_a_constant_image_is_black(value: float) -> None:
    assert not Viewer(FILE)(np.full((5, 6, 3), value, np.float32)).any()


def test_undefined_values_are_shown_as_the_darkest() -> None:
    image = _image(3, "float32")
    image[2, 3, 1] = np.nan
    image[4, 5] = np.inf
    picture = Viewer(FILE)(image)
    assert picture[2, 3, 1] == 0
    assert picture[4, 5].tolist() == [0, 0, 0]
    assert not Viewer(FILE)(np.full((5, 6, 3), np.nan, np.float32)).any()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pixels_without_data_are_black_and_do_not_count(dtype: str) -> None:
    image = _image(3, dtype)
    holes = np.zeros(image.shape, bool)
    holes[:5] = True
    image[:5] = 250
    masked = np.ma.MaskedArray(image, holes)
    for decoding, bands in ((BGR, None), (FILE, (2, 1, 3)), (FILE, (2,))):
        picture = Viewer(decoding, bands)(masked)
        assert type(picture) is np.ndarray
        assert not picture[:5].any()
        assert np.array_equal(picture[5:], Viewer(decoding, bands)(image[5:]))


@pytest.mark.parametrize("bands", [(), (1, 2), (1, 2, 3, 4)])
def test_one_or_three_bands_are_shown(bands: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=rf"^{len(bands)} bands are given \(give one \(grey\) or three"):
        Viewer(FILE, bands)


@pytest.mark.parametrize(
    ("channels", "bands", "said"),
    [
        (4, (1, 2, 5), "band 5 is not there: there are bands 1 to 4"),
        (4, (0,), "band 0 is not there: there are bands 1 to 4"),
        (1, (2,), "band 2 is not there: there is only band 1"),
        (3, (3, -1, 1), "band -1 is not there: there are bands 1 to 3"),
    ],
)
def test_a_band_that_is_not_there_is_one_line(channels: int, bands: tuple[int, ...], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        Viewer(FILE, bands, channels=channels)
    assert str(raised.value) == said
    with pytest.raises(UsageError) as raised:
        Viewer(FILE, bands)(_image(channels))
    assert str(raised.value) == said


def _engine(channels: int, decoding: Decoding, **fields) -> FunctionEngine:
    meta = ModelMeta("m", in_channels=channels, out_channels=channels, decoding=decoding, **fields)
    return FunctionEngine(EngineSpec(meta, "logits", backend="test"), lambda batch: batch.copy())


def test_painted_images_show_the_bands_that_are_asked_for(tmp_path) -> None:
    image = _image(5, "uint16") * np.uint16(100)
    palette = tuple((40 * i, 10, 255 - 40 * i) for i in range(5))
    engine = _engine(5, FILE, palette=palette)
    run(engine, ArrayDataset([image]), [PaintSink(tmp_path, PictureSettings(opacity=0.25, bands=(5, 1, 3)))])
    expected = Painter(palette, opacity=0.25)(Viewer(FILE, (5, 1, 3))(image), image.argmax(2))
    assert np.array_equal(cv2.imread(str(tmp_path / "0000.png")), expected)


def test_a_band_that_is_not_there_is_refused_before_any_work(tmp_path) -> None:
    engine = _engine(2, FILE)
    with pytest.raises(UsageError, match="band 3 is not there: there are bands 1 to 2"):
        run(
            engine, ArrayDataset([_image(2)]), [PaintSink(tmp_path / "out", PictureSettings(bands=(1, 2, 3)))]
        )
    assert not engine.shapes
    assert not (tmp_path / "out").exists()


def test_other_bands_are_another_run(tmp_path) -> None:
    keys = {
        PaintSink(tmp_path, PictureSettings(bands=bands)).key for bands in (None, (1, 2, 3), (3, 2, 1), (1,))
    }
    assert len(keys) == 4


class Window:
    def __init__(self) -> None:
        self.shown: list = []
        self.closed = False

    def show(self, picture, title) -> None:
        self.shown.append((picture, title))

    def close(self) -> None:
        self.closed = True


def test_the_class_of_a_model_of_one_class_has_its_colour_side_by_side() -> None:
    """Label 0 is the rest, and black, as in every other picture."""
    meta = ModelMeta("m", classes=("road",), palette=((9, 99, 199),), out_channels=1)
    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), lambda batch: batch[:, :1] - 100)
    window, image = Window(), np.zeros((4, 6, 3), np.uint8)
    image[:2] = 200
    show_side_by_side(window, [engine], [("a.png", image)])
    expected = Painter(((0, 0, 0), (9, 99, 199)))(image, (image[:, :, 0] > 100).astype(np.uint8))
    assert np.array_equal(window.shown[0][0], expected)


def test_engines_side_by_side_show_bands() -> None:
    window, image = Window(), _image(4, "float32")
    colours = ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12))
    engines = [_engine(4, FILE), _engine(4, FILE)]
    show_side_by_side(window, engines, [("a.tif", image)], colours, (4, 3, 1))
    expected = Painter(colours)(Viewer(FILE, (4, 3, 1))(image), image.argmax(2))
    ((picture, title),) = window.shown
    assert np.array_equal(picture, np.hstack([expected, expected]))
    assert title == "a.tif: test | test"
    assert window.closed
