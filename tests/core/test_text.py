"""What a terminal would obey, or not show, is escaped; ordinary text stays."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from segplug.model import ModelMeta, Provenance
from segplug.text import counted, encodable_data, in_bytes, is_encodable, printable, printable_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\x00b\x7f\x9bc", r"a\x00b\x7f\x9bc"),
        ("back\bspace\rstart", r"back\x08space\rstart"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\u2066isolated\u2069", r"\u2066isolated\u2069"),
        ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("name\udcff.png", r"name\xff.png"),
        ("half\ud83d", r"half\ud83d"),
    ],
)
def test_what_is_invisible_or_obeyed_becomes_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain ASCII, with C:\\paths",
        "Straße, naïve, ½ 3 µm, no-break\u00a0space",
        "路面 道路 도로 дорога δρόμος",
        "שלום عليكم",
        "می\u200cشود",  # spelt with a joiner
        "👩\u200d👩\u200d👧 ❤\ufe0f",
        "two\nlines\tand a tab",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert printable(text) == text


def test_a_line_stays_one_line() -> None:
    assert printable_line("a.png\nerror: forged\tx") == r"a.png\nerror: forged\tx"


def test_no_character_of_unicode_is_left_that_controls_the_terminal() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    left = {
        character
        for character in printable_line(every)
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character)
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    }
    assert left == set()
    assert len(printable(every)) > 1_000_000
    printable(every).encode("utf-8")


def test_data_can_be_written_as_utf_8() -> None:
    data = {"a\udcff": ["b\udcfe", 1, None, {"c": "straße"}]}
    assert encodable_data(data) == {r"a\xff": [r"b\xfe", 1, None, {"c": "straße"}]}
    assert not is_encodable("a\udcff")
    meta = ModelMeta("m\udcff", provenance=Provenance(config="c\udcff.py"))
    assert meta.name == r"m\xff"
    assert meta.provenance.config == "c\udcff.py"
    meta.to_json().encode("utf-8")
    assert meta.to_dict()["provenance"]["config"] == r"c\xff.py"


def test_counted_nouns() -> None:
    assert [counted(count, "image") for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert [counted(count, "class", "classes") for count in (1, 3)] == ["1 class", "3 classes"]


def test_sizes_for_people() -> None:
    assert [in_bytes(size) for size in (1, 999, 1000, 2_345_678)] == [
        "1 byte",
        "999 bytes",
        "1.0 kB",
        "2.3 MB",
    ]
