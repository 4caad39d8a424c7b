"""The picture and the table of what segplug takes: what the rows and the plugins say, and readable."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
import torch
from matplotlib.font_manager import FontProperties, findfont
from PIL import ImageFont
from segplug_smp.architectures import ARCHITECTURES

from matrix.rows import MODES as MATRIX_MODES
from matrix.sources import SOURCES
from scripts.breadth import __main__ as command
from scripts.breadth.facts import (
    ECOSYSTEMS,
    FORMATS,
    MODES,
    ROOT,
    RUNTIMES,
    SERVERS,
    Ecosystem,
    declared_targets,
)
from scripts.breadth.picture import WIDTH, describe, draw, held
from scripts.breadth.table import COLUMNS, markdown
from segplug.cli.root import root
from segplug.reports.inline_svg import inline_svg

SVG = "{http://www.w3.org/2000/svg}"
README = (ROOT / "README.md").read_text(encoding="utf-8")
WIDE_FONT = "DejaVu Sans"
"""Wider than what most browsers show: texts that fit in it fit in others."""


@pytest.fixture(scope="module")
def drawing() -> ElementTree.Element:
    return ElementTree.fromstring(draw())


def rows_of(name: str) -> list[dict[str, object]]:
    return json.loads((ROOT / "docs" / "support-matrix" / f"{name}.json").read_text(encoding="utf-8"))


def words(drawing: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in drawing.iter(f"{SVG}text")]


def test_the_picture_and_the_table_in_the_repository_are_those_of_the_rows() -> None:
    assert command.PICTURE.read_text(encoding="utf-8") == draw()
    assert command.with_table(README) == README
    assert README.count(markdown()) == 1


def test_the_picture_shows_every_source_of_the_matrix_with_its_count(
    drawing: ElementTree.Element,
) -> None:
    counted = {kind.rows: kind for kind in ECOSYSTEMS if kind.rows}
    assert list(counted) == list(SOURCES)
    for name, kind in counted.items():
        count = len({str(row["config"]).partition("(")[0] for row in rows_of(name)})
        assert held(kind) == f"{count} {kind.holds}"
        assert {kind.name, held(kind)} <= set(words(drawing))


def test_the_matrix_has_every_architecture_of_smp() -> None:
    """Each of its families has rows, as test_matrix tests: so the count of architectures is 12."""
    configs = {case.config for case in SOURCES["smp"].families.values()}
    assert {config.partition("(")[0] for config in configs} == set(ARCHITECTURES)


def test_the_table_counts_the_exports_that_passed() -> None:
    assert MODES == MATRIX_MODES
    for kind in ECOSYSTEMS:
        (line,) = (line for line in markdown().splitlines() if line.startswith(f"| [{kind.name}]"))
        rows = [row for row in rows_of(kind.rows) if row["mode"] in MODES] if kind.rows else []
        for mode in MODES if rows else ():
            of_mode = [row["passed"] for row in rows if row["mode"] == mode]
            assert re.search(rf"{sum(of_mode)} of {len(of_mode)} [a-z0-9, ]*\b{mode}", line)
        assert bool(rows) != bool(kind.proof)


def test_the_picture_counts_all_exports(drawing: ElementTree.Element) -> None:
    rows = [row for name in SOURCES for row in rows_of(name) if row["mode"] in MODES]
    passed = sum(bool(row["passed"]) for row in rows)
    assert f"{passed} of {len(rows)} measured exports agree with the network" in words(drawing)


def test_every_target_of_the_plugins_is_in_the_picture() -> None:
    of_boxes = [target for box in (*FORMATS, *RUNTIMES, *SERVERS) for target in box.targets]
    shown = {target for kind in ECOSYSTEMS for target in kind.targets} | set(of_boxes)
    assert shown == declared_targets()
    assert len(of_boxes) == len(set(of_boxes))


def test_the_formats_have_the_suffixes_of_their_makers() -> None:
    manifests = (json.loads(file.read_text()) for file in ROOT.glob("plugins/*/src/*/segplug.json"))
    suffixes = {
        f"{provider['hook']}:{provider['target']}": provider.get("suffix")
        for manifest in manifests
        for provider in manifest["providers"]
    }
    for box in FORMATS:
        assert {suffixes[target] for target in box.targets} == {box.name}


def test_the_texts_fit_in_a_wide_font_and_can_be_read_on_a_phone(drawing: ElementTree.Element) -> None:
    boxes = [
        tuple(float(element.get(name, "")) for name in ("x", "y", "width", "height"))
        for element in drawing.iter(f"{SVG}rect")
    ]
    for element in drawing.iter(f"{SVG}text"):
        size = float(element.get("font-size", ""))
        assert size * 380 / WIDTH >= 10
        weight = "bold" if element.get("font-weight") else "normal"
        font = ImageFont.truetype(findfont(FontProperties(family=WIDE_FONT, weight=weight)), 100)
        length = font.getlength(element.text or "") * size / 100
        x, y = (float(element.get(name, "")) for name in ("x", "y"))
        left = x - {"start": 0.0, "middle": length / 2, "end": length}[element.get("text-anchor", "start")]
        around = [box for box in boxes if box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]]
        inner = min(around, key=lambda box: box[2] * box[3])
        assert inner[0] + 2 <= left
        assert left + length <= inner[0] + inner[2] - 2, element.text


def test_no_model_and_its_count_meet_in_one_line(drawing: ElementTree.Element) -> None:
    bold = ImageFont.truetype(findfont(FontProperties(family=WIDE_FONT, weight="bold")), 100)
    normal = ImageFont.truetype(findfont(FontProperties(family=WIDE_FONT)), 100)
    sizes = {element.text: float(element.get("font-size", "")) for element in drawing.iter(f"{SVG}text")}
    for kind in ECOSYSTEMS:
        lengths = (
            bold.getlength(kind.name) * sizes[kind.name] / 100,
            normal.getlength(held(kind)) * sizes[held(kind)] / 100,
        )
        assert sum(lengths) + 10 <= WIDTH - 2 * 24


def test_the_picture_is_told_to_people_who_cannot_see_it(drawing: ElementTree.Element) -> None:
    assert drawing.get("role") == "img"
    assert drawing.get("aria-labelledby") == "title description"
    assert drawing.findtext(f"{SVG}desc") == describe()
    for text in words(drawing):
        if "," not in text and text not in ("segplug", "exported as", "run by", "served by"):
            assert text in describe()
    (alt,) = re.findall(r'<img src="docs/images/breadth.svg"[^>]* alt="([^"]+)"', README)
    assert len(alt) > 100


def test_the_picture_has_colours_for_light_and_dark_and_as_a_part_of_a_page(
    drawing: ElementTree.Element,
) -> None:
    rules = drawing.findtext(f"{SVG}style") or ""
    assert "prefers-color-scheme: dark" in rules
    classes = {name for element in drawing.iter() for name in element.get("class", "").split()}
    assert classes
    assert all(f".{name} {{" in rules for name in classes)
    page = inline_svg(draw(for_page=True).encode(), "picture", "what it shows")
    assert page is not None
    for name in ("back", "fore", "dim", "line", "soft", "accent"):
        assert f"var(--{name})" in page
    assert "#1d2127" not in page


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", ECOSYSTEMS, ids=lambda kind: kind.name)
def test_the_command_of_each_kind_of_model_parses(
    kind: Ecosystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder or a file is a model by what it holds.
    torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 4, 1)), tmp_path / "NET.pt")
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "FOLDER" / "config.json").write_text(
        json.dumps({"_model_class": "Unet"})
        if kind.rows == "smp"
        else json.dumps({"architectures": ["SegformerForSemanticSegmentation"], "model_type": "segformer"})
    )
    monkeypatch.chdir(tmp_path)
    command_: click.Command = root
    arguments = shlex.split(kind.command)[1:]
    context = click.Context(root, info_name="segplug")
    while isinstance(command_, click.Group):
        name, found, arguments = command_.resolve_command(context, arguments)
        assert found is not None, name
        command_ = found
        context = click.Context(command_, parent=context, info_name=name)
    command_.make_context(command_.name, arguments)


def test_the_table_has_a_link_for_each_kind() -> None:
    lines = markdown().splitlines()
    assert all(line.count("|") == len(COLUMNS) + 1 for line in lines)
    for kind in ECOSYSTEMS:
        folder, _, anchor = kind.link.partition("#")
        text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
        headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"(?m)^##+ (.+)$", text)}
        assert not anchor or anchor in headings
