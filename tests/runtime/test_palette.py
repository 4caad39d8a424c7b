"""Palettes by name, from files, and colours that are well told apart."""

from __future__ import annotations

import json

import pytest

from scripts import distinct_colours
from segplug.errors import UsageError
from segplug.palette import PALETTE_NAMES, distinct_palette, named_palette, random_palette

RED_AND_GREEN = ((255, 0, 0), (0, 128, 7))

MMSEG = {
    "ade20k": "ADE20KDataset",
    "cityscapes": "CityscapesDataset",
    "coco_stuff": "COCOStuffDataset",
    "isaid": "iSAIDDataset",
    "loveda": "LoveDADataset",
    "pascal_context": "PascalContextDataset",
    "pascal_context_59": "PascalContextDataset59",
    "pascal_voc": "PascalVOCDataset",
    "potsdam": "PotsdamDataset",
}


def test_the_palettes_of_data_sets_are_mmsegs(mmseg):
    from mmseg.datasets import DATASETS

    assert {*PALETTE_NAMES} - {*MMSEG} == {"distinct", "camvid"}
    for name, kind in MMSEG.items():
        colours = tuple(tuple(colour) for colour in DATASETS.get(kind).PALETTE)
        assert named_palette(name, len(colours)) == colours


def test_camvids_palette_has_its_eleven_classes():
    palette = named_palette("camvid", 11)
    assert (palette[0], palette[3], palette[10]) == ((128, 128, 128), (128, 64, 128), (0, 128, 192))


def test_a_palette_with_too_few_colours_is_refused():
    with pytest.raises(UsageError, match="the palette cityscapes has 19 colours, too few for 20 classes"):
        named_palette("cityscapes", 20)
    assert named_palette("cityscapes", 2) == ((128, 64, 128), (244, 35, 232))


def test_distinct_colours_are_those_that_the_script_computes():
    assert distinct_palette(256) == distinct_colours.compute()
    assert distinct_palette(300)[256:] == distinct_palette(44)
    assert distinct_palette(3) == distinct_palette(256)[:3]


@pytest.mark.parametrize("count", [11, 19, 60, 150])
def test_distinct_colours_are_farther_apart_than_random_ones_in_each_view(count):
    for view in distinct_colours.VIEWS.values():
        ours = distinct_colours.smallest(distinct_palette(count), view)
        assert ours > 2 * distinct_colours.smallest(random_palette(count), view)
        assert ours > 2.4
        black = distinct_colours.distances(distinct_palette(count), (0, 0, 0), view)
        assert black.min() > 25


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", "# my classes\n255 0 0 red thing\n\n0 128 7\n"),
        ("commas.txt", "255,0,0\n0, 128, 7, green\n"),
        ("hex.txt", "#ff0000 red\r\n008007\r\n"),
        ("numbers.json", json.dumps([[255, 0, 0], [0, 128, 7]])),
        ("texts.json", json.dumps(["#ff0000", "#008007"])),
        ("class_dict.csv", 'name,r,g,b\nred,255,0,0\n"green, dark",0,128,7\n'),
        ("words.csv", "\ufeffRed,Green,Blue\n255,0,0\n0,128,7\n"),
        ("my.gpl", "GIMP Palette\nName: mine\nColumns: 2\n#\n255   0   0\tred\n  0 128   7\tUntitled\n"),
    ],
)
def test_a_palette_file_has_one_of_a_few_forms(tmp_path, name, text):
    file = tmp_path / name
    file.write_bytes(text.encode())
    assert named_palette(str(file), 2) == RED_AND_GREEN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "has no colours"),
        (b"# nothing\n", "has no colours"),
        (b"255 0 0\nred\n", "line 2 of the palette .* is no colour: red"),
        (b"255 0 256\n", "line 1 of the palette .* is no colour: .255, 0, 256"),
        (b"255 0\n", "line 1 of the palette .* is no colour: 255 0"),
        (b"#ff00\n", "has no colours"),
        (b"[[1, 2]]", "colour 0 of the palette .* is no colour: .1, 2"),
        (b"[[1, 2, true]]", "colour 0 of the palette .* is no colour"),
        (b'{"road": [1, 2, 3]}', "is no list of colours"),
        (b"[1,", "is no JSON"),
        (b"r" * 200_000 + b"\n1,2,3\n", "line 1 of the palette .* is no colour: rrr"),
        (b"r,g,b\n1,2\n", "row 1 of the palette .* is no colour"),
        (b"\xff\xfe", "is no text in UTF-8"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, text, message):
    file = tmp_path / "palette"
    file.write_bytes(text)
    with pytest.raises(UsageError, match=message) as error:
        named_palette(str(file), 1)
    assert "R G B or #rrggbb" in str(error.value.hint)


def test_a_name_that_is_no_palette_lists_those_that_are(tmp_path):
    with pytest.raises(
        UsageError, match="there is no palette citiscapes: neither a name nor a file"
    ) as error:
        named_palette("citiscapes", 1)
    assert "distinct, ade20k" in str(error.value.hint)
    with pytest.raises(UsageError, match="it is a folder"):
        named_palette(str(tmp_path), 1)
