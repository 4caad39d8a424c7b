"""Pictures of results: parts side by side, the legend, label maps with a palette."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from segplug.cli import pictures
from segplug.dataset import DatasetInfo
from segplug.engine import EngineSpec
from segplug.errors import UsageError
from segplug.legend import LegendEntry, count_labels, legend_entries
from segplug.model import ModelMeta
from segplug.palette import LabelColours, distinct_palette, label_colours, named_palette
from segplug.runtime import fonts
from segplug.runtime.drawing import PARTS, PictureSettings
from segplug.runtime.indexed_png import indexed_png
from segplug.runtime.legend_picture import with_legend
from segplug.runtime.paint import Painter
from segplug.runtime.pipeline import run
from segplug.runtime.sinks import ColourMapSink, PaintSink
from segplug.testing.engines import ArrayDataset, FunctionEngine

CLASSES = ("a", "b", "c")
PALETTE = ((1, 2, 3), (250, 0, 9), (7, 77, 177))
META = ModelMeta("m", classes=CLASSES, palette=PALETTE, out_channels=3)
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
LABELS = IMAGE.argmax(axis=2).astype(np.uint8)
MASK = np.where(np.arange(60) < 20, (LABELS + 1) % 3, LABELS).astype(np.uint8)
MASK[:, 50:] = 255


def _run(sink, meta=META, masks=(MASK,), **info):
    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), lambda batch: batch.copy())
    described = DatasetInfo("d", CLASSES, has_masks=bool(masks), **info)
    run(engine, ArrayDataset([IMAGE], masks or None, described), [sink])


def test_parts_lie_side_by_side(tmp_path):
    parts = ("difference", "image", "prediction", "truth")
    _run(PaintSink(tmp_path, PictureSettings(opacity=0.4, parts=parts)))
    difference, image, prediction, truth = np.hsplit(cv2.imread(str(tmp_path / "0000.png")), 4)
    paint = Painter(PALETTE, opacity=0.4)
    assert np.array_equal(image, IMAGE)
    assert np.array_equal(prediction, paint(IMAGE, LABELS))
    assert np.array_equal(truth, paint(IMAGE, MASK))
    assert (difference[:, :20] == (0, 94, 213)).all()
    left_out, right = difference[:, 50:].astype(int), difference[:, 20:50].astype(int)
    assert left_out.max() < right.min()
    assert (right[..., :1] == right).all()  # grey


def test_a_legend_leaves_the_pixels_of_the_picture(tmp_path):
    for legend_place in ("right", "below"):
        _run(PaintSink(tmp_path / legend_place, PictureSettings(legend=legend_place)))
    _run(PaintSink(tmp_path / "none"))
    plain = cv2.imread(str(tmp_path / "none" / "0000.png"))
    assert plain.shape == IMAGE.shape
    for legend_place, larger in (("right", 1), ("below", 0)):
        picture = cv2.imread(str(tmp_path / legend_place / "0000.png"))
        assert np.array_equal(picture[:40, :60], plain)
        assert picture.shape[larger] > plain.shape[larger]
        for colour in PALETTE:
            assert (picture == colour[::-1]).all(axis=2).sum() > 100  # the square in the legend


def test_the_command_line_offers_every_part() -> None:
    assert pictures._PARTS == PARTS


def test_the_legend_of_a_label_map_has_what_occurs_the_largest_first():
    labels = np.array([[1, 1, 1, 1, 1], [2, 2, 2, 255, 7]], np.uint8)
    colours = LabelColours(PALETTE)
    assert legend_entries(META.classes, colours, count_labels(labels)) == (
        LegendEntry(1, "b", (250, 0, 9), 5, 0.5),
        LegendEntry(2, "c", (7, 77, 177), 3, 0.3),
        LegendEntry(7, "class 7", (0, 0, 0), 1, 0.1),
        LegendEntry(255, "unknown", (0, 0, 0), 1, 0.1),
    )
    assert [entry.colour for entry in META.legend()] == list(PALETTE)
    assert {entry.share for entry in META.legend()} == {None}


def test_the_legend_of_a_background_says_that_it_is_not_painted():
    background, thing = legend_entries((), label_colours((), 2))
    assert (background.name, background.painted) == ("background", False)
    assert (thing.name, thing.painted, thing.colour) == ("class 1", True, distinct_palette(1)[0])


def test_large_label_maps_are_counted_in_blocks(monkeypatch):
    monkeypatch.setattr("segplug.legend._BLOCK", 7)
    assert np.array_equal(count_labels(LABELS), np.bincount(LABELS.ravel()))


@pytest.mark.parametrize("place", ["right", "below"])
@pytest.mark.parametrize("count", [1, 30, 300])
def test_every_entry_of_a_legend_is_drawn(count, place):
    names = tuple(f"class with a rather long name that nobody reads {number}" for number in range(count))
    palette = tuple((255, number // 128, number % 128) for number in range(count))
    entries = legend_entries(names, LabelColours(palette))
    picture = with_legend(IMAGE, entries, place=place)
    found = {*(picture @ np.array([1, 256, 65536])).ravel().tolist()}
    assert {blue + 256 * green + 65536 * red for red, green, blue in palette} <= found


def test_an_odd_name_is_drawn_without_an_error():
    entries = (LegendEntry(0, "a\n\x1b\u202e\udcff猫🐈", (1, 2, 3)),)
    assert with_legend(IMAGE, entries).shape[1] > IMAGE.shape[1]
    assert with_legend(IMAGE, ()) is IMAGE


def test_a_name_that_no_font_can_draw_is_a_number(monkeypatch):
    monkeypatch.setattr("segplug.runtime.fonts._FONTS", ("no-such-font.ttf",))
    for cached in (fonts.font_for, fonts._of_system):
        cached.cache_clear()
    drawn, plain = (
        with_legend(IMAGE, (LegendEntry(4, name, (1, 2, 3)), LegendEntry(5, "tree", (4, 5, 6))))
        for name in ("猫", "class 4")
    )
    assert np.array_equal(drawn, plain)
    for cached in (fonts.font_for, fonts._of_system):
        cached.cache_clear()


@pytest.mark.parametrize("labels", [np.zeros((3, 3), np.uint8), LABELS, np.full((2, 2), 255, np.uint8)])
def test_a_png_with_a_palette_has_the_labels_as_values(labels):
    picture = Image.open(io.BytesIO(indexed_png(labels, PALETTE)))
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), labels)
    colours = np.array([*PALETTE, *[(0, 0, 0)] * 253], np.uint8)
    assert np.array_equal(np.asarray(picture.convert("RGB")), colours[labels])


@pytest.mark.parametrize(
    ("labels", "palette", "unknown"),
    [
        (np.array([[0, 256]], np.uint16), PALETTE, 255),
        (np.array([[0, 5]], np.uint16), distinct_palette(257), 255),
        (np.array([[0, 5]], np.uint8), PALETTE, 65535),
    ],
)
def test_more_than_256_values_are_16_bits(labels, palette, unknown):
    picture = Image.open(io.BytesIO(indexed_png(labels, palette, unknown=unknown)))
    assert picture.mode == "I;16"
    assert np.array_equal(np.asarray(picture), labels)


def test_coloured_label_maps_keep_the_labels(tmp_path):
    _run(ColourMapSink(tmp_path, palette="cityscapes"))
    picture = Image.open(tmp_path / "0000.png")
    assert np.array_equal(np.asarray(picture), LABELS)
    colours = np.array(named_palette("cityscapes", 3), np.uint8)
    assert np.array_equal(np.asarray(picture.convert("RGB")), colours[LABELS])


def test_a_palette_file_that_changed_is_not_mixed_with_the_older_one(tmp_path):
    file = tmp_path / "p.txt"
    keys = set()
    for text in ("1 2 3\n" * 3, "4 5 6\n" * 3):
        file.write_text(text)
        keys |= {
            PaintSink(tmp_path / "p", PictureSettings(palette=str(file))).key,
            ColourMapSink(tmp_path, palette=str(file)).key,
        }
    assert len(keys) == 4


def test_what_cannot_be_shown_is_refused_before_the_run(tmp_path):
    with pytest.raises(UsageError, match="has no masks, so there is no truth and no difference to show"):
        _run(PaintSink(tmp_path, PictureSettings(parts=("image", "truth", "difference"))), masks=())
    with pytest.raises(UsageError, match="a picture shows some of image, truth"):
        PaintSink(tmp_path, PictureSettings(parts=("mask",)))
    with pytest.raises(UsageError, match="a legend is right or below, not left"):
        PaintSink(tmp_path, PictureSettings(legend="left"))
    with pytest.raises(UsageError, match="the palette potsdam has 6 colours, too few for 7 classes"):
        seven = META.replace(classes=tuple("abcdefg"), palette=(), out_channels=7)
        engine = FunctionEngine(EngineSpec(seven, "logits", backend="test"), lambda batch: batch)
        run(engine, ArrayDataset([IMAGE]), [PaintSink(tmp_path, PictureSettings(palette="potsdam"))])
    with pytest.raises(UsageError, match="at most 256 colours, and there are 300 labels"):
        many = META.replace(classes=tuple(map(str, range(300))), palette=(), out_channels=300)
        engine = FunctionEngine(EngineSpec(many, "logits", backend="test"), lambda batch: batch)
        run(engine, ArrayDataset([IMAGE]), [ColourMapSink(tmp_path)])
    assert not list(tmp_path.iterdir())
