"""One image from Python: paths, arrays and Pillow images give the same, and the result shows itself."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segplug import Segmentation, Segplug
from segplug.api.segmentation import shares_text
from segplug.engine import EngineSpec
from segplug.errors import NonfiniteError, ShapeError, UsageError
from segplug.model import ModelMeta
from segplug.preprocessing import Decoding, Flip, usual_steps
from segplug.runtime.reading import decode_image, given_image
from segplug.testing import FunctionEngine

COLOURS = ModelMeta(
    name="m",
    classes=("red", "green", "blue"),
    palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)),
    out_channels=3,
    preprocessing=usual_steps((0.0,) * 3, (1.0,) * 3, channel_order="rgb"),
)
"""Gives each pixel the label of its largest colour."""

RED = (200, 10, 20)

BACKEND = """
    import numpy as np
    from segplug import Backend, EngineSpec, hookimpl
    from segplug.options import NoOptions
    from segplug.testing import FunctionEngine
    from tests.api.test_predict import COLOURS

    class Runs(Backend[NoOptions]):
        '''Runs.'''
        hook_version = 2
        reads = ("colours",)

        @hookimpl
        def infer(self, request):
            return FunctionEngine(EngineSpec(COLOURS, "logits", backend="acme (cpu)"), np.copy)

    runs = Runs()
"""


def test_a_class_s_mask_is_found_by_name_and_by_number() -> None:
    found = Segplug().predict(engine(), photo())
    assert np.array_equal(found.class_mask("green"), found.labels == 1)
    assert np.array_equal(found.class_mask(1), found.labels == 1)
    assert found.class_mask("green").dtype == bool
    for which, message in (
        ("blu", "no class is called 'blu' .there are red, green, blue"),
        (3, "there is no class 3: they are numbered from 0 to 2"),
        (-1, "there is no class -1"),
    ):
        with pytest.raises(UsageError, match=message):
            found.class_mask(which)
    same = COLOURS.replace(classes=("red", "red", "blue"))
    with pytest.raises(UsageError, match=r"several classes are called 'red' .give its number, from 0 to 2"):
        Segplug().predict(engine(same), photo()).class_mask("red")


@pytest.mark.parametrize("copies", [1, 3])
def test_a_pixel_s_classes_have_a_mask_each(copies: int) -> None:
    """Of bit masks of 8 and of 16 bits; unknown pixels have no class."""
    names = tuple(f"{colour} {number}" for number in range(copies) for colour in COLOURS.classes)
    meta = COLOURS.replace(
        classes=names, palette=(), out_channels=3 * copies, activation="sigmoid", preprocessing=()
    )

    def above(batch: np.ndarray) -> np.ndarray:
        return np.concatenate([batch - 100] * copies, axis=1)

    image = photo()
    image[0] = 255, 255, 0
    masked = np.ma.MaskedArray(image, np.zeros(image.shape, bool))
    masked[-1] = np.ma.masked
    found = Segplug().predict(engine(meta, above), masked, array_order="bgr")
    assert found.labels[-1, 0] == (255 if copies == 1 else 65535)
    for number, name in enumerate(names):
        expected = image[..., number % 3] > 100
        expected[-1] = False
        assert np.array_equal(found.class_mask(name), expected)
        assert np.array_equal(found.class_mask(number), expected)
    assert found.class_mask(0)[0].all()
    assert found.class_mask(1)[0].all()
    shares = {entry.name: entry.share for entry in found.legend}
    assert shares["red 0"] == found.class_mask(0).mean()
    assert shares["unknown"] == 1 / 6
    assert shares_text(found.legend) in repr(found)


def engine(meta: ModelMeta = COLOURS, function=np.copy, output="logits") -> FunctionEngine:
    return FunctionEngine(EngineSpec(meta, output), function)


def photo(height: int = 6, width: int = 8) -> np.ndarray:
    """Red above, green below; RGB."""
    image = np.full((height, width, 3), RED, np.uint8)
    image[height // 2 :] = RED[1], RED[0], RED[2]
    return image


def predict(image, what=None, **keywords) -> Segmentation:
    return Segplug().predict(what or engine(), image, **keywords)


def test_a_path_an_array_and_a_pillow_image_are_one_image(tmp_path: Path) -> None:
    image = photo()
    Image.fromarray(image).save(tmp_path / "a.png")
    results = [
        predict(tmp_path / "a.png"),
        predict(str(tmp_path / "a.png")),
        predict(image),
        predict(image[:, :, ::-1], array_order="bgr"),
        predict(Image.open(tmp_path / "a.png")),
        predict(Image.fromarray(image).convert("RGBA")),
        predict(np.dstack([image, np.zeros((6, 8, 1), np.uint8)])),
    ]
    wanted = np.repeat([[0], [1]], 3, axis=0).repeat(8, axis=1)
    for result in results:
        assert np.array_equal(result.labels, wanted)
        assert np.array_equal(result.image, image), "what is painted over is RGB"
        assert tuple(result.painted[0, 0]) == ((200 + 255) // 2, 5, 10)
    assert [result.name for result in results] == [*["a.png"] * 2, *["array"] * 2, "a.png", *["array"] * 2]


def test_a_pillow_image_is_turned_as_its_file_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(photo()).save(tmp_path / "a.png", exif=exif)
    upright = predict(tmp_path / "a.png")
    assert upright.labels.shape == (8, 6)
    assert np.array_equal(predict(Image.open(tmp_path / "a.png")).labels, upright.labels)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "CMYK"])
def test_other_modes_of_pillow_become_colours(mode: str) -> None:
    picture = Image.new("RGB", (8, 6), (255, 255, 255)).convert(mode)
    assert np.array_equal(predict(picture).image, np.full((6, 8, 3), 255))


def test_grey_and_colours_become_each_other() -> None:
    grey = np.full((6, 8), 77, np.uint8)
    assert np.array_equal(predict(grey).image, np.full((6, 8, 3), 77))
    meta = ModelMeta(name="g", classes=("a", "b"), out_channels=2, in_channels=1)
    meta = meta.replace(decoding=Decoding(color="grayscale"))
    greys = engine(meta, lambda batch: np.concatenate([batch, 100 - batch], axis=1))
    expected = round(0.299 * RED[0] + 0.587 * RED[1] + 0.114 * RED[2])
    for image, order in ((photo(), "rgb"), (photo()[:, :, ::-1], "bgr")):
        assert predict(image, greys, array_order=order).image[0, 0, 0] == expected
    assert predict(Image.fromarray(photo()), greys).image[0, 0, 0] == expected


@pytest.mark.parametrize("library", ["opencv", "pillow"])
@pytest.mark.parametrize(
    ("color", "mode"),
    # LA only as colours: unchanged, OpenCV makes four channels of its two
    [
        ("color", "LA"),
        *((color, mode) for color in ("color", "unchanged") for mode in ["RGB", "L", "RGBA", "P", "1"]),
    ],
)
def test_a_picture_is_read_as_its_file_is(library: str, color: str, mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 4 if "A" in mode else 3), np.uint8)
    picture = Image.fromarray(noise).convert(mode)
    content = io.BytesIO()
    picture.save(content, format="PNG")
    decoding = Decoding(library=library, color=color)
    read = decode_image(content.getvalue(), "a.png", decoding)
    assert np.array_equal(given_image(picture, decoding), read)


def test_other_models_take_what_their_files_have() -> None:
    meta = ModelMeta(name="t", classes=tuple("abcd"), out_channels=4, in_channels=4)
    bands = engine(meta.replace(decoding=Decoding(library="bands", color="unchanged")))
    image = np.random.default_rng(0).normal(size=(5, 7, 4)).astype(np.float32)
    holes = np.ma.MaskedArray(image, np.zeros_like(image, bool))
    holes[2, 3] = np.ma.masked
    assert np.array_equal(predict(image, bands).labels, image.argmax(axis=2))
    assert predict(holes, bands).labels[2, 3] == 255
    with pytest.raises(UsageError, match="not as BGR"):
        predict(image, bands, array_order="bgr")
    unchanged = engine(meta.replace(decoding=Decoding(color="unchanged")))
    assert np.array_equal(predict(image, unchanged).labels, image[:, :, [2, 1, 0, 3]].argmax(axis=2))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.ones((6, 8, 3), np.float32), r"8-bit pixels .*\(image \* 255\)"),
        (np.full((6, 8, 3), 40_000, np.uint16), r"8-bit pixels .*values are 40000 to 40000: scale them"),
        (np.full((6, 8, 3), 200, np.uint16), r"8-bit pixels .*\(image.astype\('uint8'\)\)"),
        (np.full((6, 8, 3), 300), "8-bit pixels"),
        (np.zeros((3, 6, 8), np.uint8), "looks like"),
        (np.zeros((1, 6, 8, 3), np.uint8), "not one of shape"),
        (np.zeros((0, 8, 3), np.uint8), "not one of shape"),
        (np.zeros((6, 8, 5), np.uint8), "not of 5 channels"),
        (Image.new("I;16", (8, 6)), "mode I;16"),
        (None, "an image is expected, not an object of builtins.NoneType"),
        ([["a"]], "an image is expected"),
    ],
)
def test_what_is_no_image_of_the_model_is_refused(image, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        predict(image)


def test_the_backend_is_found_and_the_model_opened(install_plugin, tmp_path: Path) -> None:
    install_plugin("acme", {"segplug.infer": {"runs": "acme:runs"}}, acme=BACKEND)
    (tmp_path / "m.colours").write_text("a network")
    result = predict(photo(), tmp_path / "m.colours")
    assert result.backend == "acme (cpu)"
    with Segplug().open(tmp_path / "m.colours") as opened:
        assert np.array_equal(predict(photo(), opened).labels, result.labels)
        assert not opened.closed
        with pytest.raises(UsageError, match="threads is for opening a model"):
            predict(photo(), opened, threads=2)
    assert opened.closed
    with pytest.raises(UsageError, match=r"takes a loaded model, not .*load_model"):
        predict(photo(), "config.py")
    with pytest.raises(UsageError, match=r"say which backend reaches the server.*http"):
        predict(photo(), "http://127.0.0.1:1")


def test_logits_are_those_that_the_labels_are_taken_from() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (7, 9, 3), np.uint8)
    assert predict(noise).logits is None
    result = predict(noise, logits=True)
    assert result.scores == "logits"
    assert np.array_equal(result.logits, noise.astype(np.float32).transpose(2, 0, 1))
    assert np.array_equal(result.logits.argmax(axis=0), result.labels)
    views = ((*COLOURS.preprocessing, Flip()), COLOURS.preprocessing)
    averaged = predict(noise, engine(COLOURS.replace(tta=views)), logits=True)
    assert averaged.scores == "probabilities"
    assert np.allclose(averaged.logits.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(averaged.labels, result.labels)
    alone = predict(noise, engine(COLOURS.replace(tta=views)), logits=True, tta=False)
    assert np.array_equal(alone.logits, result.logits)
    labels = engine(function=lambda batch: batch.argmax(axis=1), output="labels")
    with pytest.raises(UsageError, match="logits needs the scores of every class"):
        predict(noise, labels, logits=True)


def test_scores_that_are_not_finite() -> None:
    def broken(batch: np.ndarray) -> np.ndarray:
        batch = batch.copy()
        batch[:, :, 0, 0] = np.nan
        return batch

    with pytest.raises(NonfiniteError, match="of the image array"):
        predict(photo(), engine(function=broken))
    result = predict(photo(), engine(function=broken), allow_nonfinite=True)
    assert result.labels[0, 0] == result.unknown == 255
    assert {entry.name: entry.pixels for entry in result.legend} == {"green": 24, "red": 23, "unknown": 1}


def test_an_image_that_the_engine_does_not_take(tmp_path: Path) -> None:
    def refuses(batch: np.ndarray) -> np.ndarray:
        raise ShapeError("too small")

    with pytest.raises(ShapeError, match="too small"):
        predict(photo(), engine(function=refuses))


@pytest.mark.parametrize("colours", [5, [(1, 2)] * 3, [(1, 2, 3), (1, 2)] * 2, [(0, 0, 256)] * 3, np.eye(3)])
def test_what_are_no_colours_is_refused(colours) -> None:
    with pytest.raises(UsageError, match="a palette is one RGB colour for each class"):
        predict(photo(), palette=colours)


def test_an_order_of_colours_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no order of colours 'xyz'"):
        predict(photo(), array_order="xyz")


def test_colours_are_chosen() -> None:
    assert predict(photo(), palette=((9, 9, 9),) * 3).legend[0].colour == (9, 9, 9)
    assert predict(photo(), palette="distinct").legend[0].colour != (255, 0, 0)
    with pytest.raises(UsageError, match=r"1 colours? for 3 classes"):
        predict(photo(), palette=((9, 9, 9),))
    assert tuple(predict(photo(), opacity=1).painted[0, 0]) == (255, 0, 0)
    table = np.array([(9, 8, 7), (6, 5, 4), (3, 2, 1)], np.uint8)
    assert np.array_equal(predict(photo(), palette=table).colours.palette, table)


def test_a_result_is_written_once(tmp_path: Path) -> None:
    result = predict(photo(30, 40))
    files = result.save(tmp_path / "new" / "folder", name="a")
    assert files.painted == tmp_path / "new" / "folder" / "a_painted.png"
    with Image.open(files.labels) as labels:
        assert labels.mode == "P"
        assert np.array_equal(np.asarray(labels), result.labels)
        assert labels.getpalette()[:9] == [255, 0, 0, 0, 255, 0, 0, 0, 255]
    with Image.open(files.painted) as painted:
        assert painted.width > 40, "the legend is beside it"
        assert np.array_equal(np.asarray(painted)[:30, :40], result.painted)
    with pytest.raises(UsageError, match="already exists"):
        result.save(files.painted.parent, name="a")
    result.save(files.painted.parent, name="a", legend=None, force=True)
    with Image.open(files.painted) as painted:
        assert painted.size == (40, 30)
    with pytest.raises(UsageError, match="is no name of a file"):
        result.save(tmp_path, name="../a")
    assert result.save(tmp_path).labels == tmp_path / "array_labels.png"


def test_a_notebook_shows_the_picture_and_the_legend() -> None:
    meta = COLOURS.replace(classes=("<b>red</b>", "green", "blue"))
    result = predict(photo(), engine(meta))
    assert repr(result) == "<Segmentation of array: 6x8, <b>red</b> 50.0 %, green 50.0 %>"
    page = result._repr_html_()
    assert "&lt;b&gt;red&lt;/b&gt; 50.0 %" in page
    assert "<b>" not in page
