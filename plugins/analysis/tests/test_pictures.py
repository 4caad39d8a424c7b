"""What all pictures share."""

from __future__ import annotations

import itertools

import matplotlib
import pytest
from segplug_analysis.pictures import (
    INK,
    encode,
    font_notes,
    line_looks,
    new_figure,
    page_styled,
    page_svg,
    picture_kind,
    plain_text,
    styled,
)

from segplug.errors import UsageError


def figure():
    made = new_figure(2, 2)
    made.subplots().plot([1, 2], [3, 4])
    return made


@pytest.mark.parametrize(("kind", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_equal_figures_give_equal_files(kind, magic):
    content = encode(figure(), kind)
    assert content.startswith(magic)
    assert content == encode(figure(), kind)


def test_a_style_is_gone_with_its_context():
    before = dict(matplotlib.rcParams)
    with styled("darkgrid"):
        assert matplotlib.rcParams["axes.grid"]
    assert dict(matplotlib.rcParams) == before


def test_twenty_lines_look_different_and_ten_have_colours_of_their_own():
    looks = line_looks(20)
    assert len({(look.color, str(look.linestyle)) for look in looks}) == 20
    assert len({look.color for look in looks[:10]}) == 10


def rgb_linear(colour):
    values = matplotlib.colors.to_rgb(colour)
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def as_deuteranope(colour):
    """Machado, Oliveira and Fernandes' matrix for a reader without green cones."""
    matrix = ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969))
    linear = rgb_linear(colour)
    seen = (
        max(0.0, sum(weight * value for weight, value in zip(row, linear, strict=True))) for row in matrix
    )
    return tuple(value ** (1 / 2.2) for value in seen)


def test_a_colour_blind_reader_tells_lines_apart():
    for one, other in itertools.combinations(line_looks(10), 2):
        distance = sum(
            (a - b) ** 2 for a, b in zip(as_deuteranope(one.color), as_deuteranope(other.color), strict=True)
        )
        assert distance**0.5 > 0.1 or one.linestyle != other.linestyle, (one, other)


def luminance(colour):
    red, green, blue = rgb_linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_line_stands_out_from_white_and_from_a_dark_page():
    for look in line_looks(10):
        assert 1.05 / (luminance(look.color) + 0.05) > 2, look
        assert (luminance(look.color) + 0.05) / (luminance("#15181c") + 0.05) > 3, look


def test_a_picture_for_a_page_has_the_colours_of_the_page_and_its_texts_as_text():
    with page_styled():
        made = new_figure(2, 2)
        axes = made.subplots()
        axes.plot([1, 2], [3, 4])
        axes.set_xlabel(plain_text("<i> & $x$"))
        svg = page_svg(made).decode()
    assert ">&lt;i&gt; &amp; $x$</text>" in svg
    assert "fill: currentColor" in svg
    assert "stroke: var(--line, #ccc)" in svg
    assert "#ffffff" not in svg
    assert INK not in svg


def test_the_name_of_a_picture_says_its_format(tmp_path):
    assert picture_kind(tmp_path / "a.SVG") == "svg"
    with pytest.raises(UsageError, match=r"name it \.png, \.svg or \.pdf"):
        picture_kind(tmp_path / "a.jpeg")


@pytest.mark.parametrize("text", [r"a $\foo$ b", "cost $a^$", "5 $", r"\$ and \\$", "_base", "$"])
def test_texts_are_drawn_as_they_are(text):
    drawn = matplotlib.text.Text(text=plain_text(text))
    assert drawn._preprocess_math(drawn.get_text()) == (text, False)


def test_a_name_that_is_no_unicode_can_be_drawn():
    assert plain_text("run\udcff") == "run?"


def with_title(title):
    with styled("white"):
        made = figure()
        made.suptitle(title)
        return encode(made, "png")


@pytest.mark.filterwarnings("error")
def test_characters_without_a_glyph_are_a_note_and_no_warning():
    letters = "\ue123\ue124"  # in no font: they mean nothing
    assert with_title(letters).startswith(b"\x89PNG")
    (note,) = font_notes(["loss", letters])
    assert note.endswith(f"no installed font has: {letters}")
    assert font_notes(["loss", "loss μ, é"]) == []


@pytest.fixture
def chinese_font(tmp_path, monkeypatch):
    """A font of a common name, with the one character that the test needs."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from matplotlib import font_manager

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    glyphs = (".notdef", "han")
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord("\ue123"): "han"})
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "SimHei", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "font.ttf")
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    manager.addfont(tmp_path / "font.ttf")


def test_an_installed_font_lends_the_characters_that_the_usual_one_lacks(chinese_font):
    missing = with_title("\ue124")
    assert font_notes(["\ue123"]) == []
    assert with_title("\ue123") != missing
