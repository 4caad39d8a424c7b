"""Every converter imports fast, and its help lists its layouts."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution

import pytest
from segplug_converters import Converter, Layout, Variant
from segplug_converters.rules import Move

from segplug.cli.root import run_command_line
from segplug.providers import WeightConverter
from segplug.registry.discovery import entries
from segplug.registry.facts import facts_of
from segplug.registry.registry import Registry

TARGETS = (
    "beit",
    "mit",
    "mobilenet-v2",
    "mobilenet-v3",
    "resnet",
    "stdc",
    "swin",
    "twins",
    "vit",
    "vit-jax",
)
ONE_WAY = {
    "beit": {"mae", "mae-transformers", "mae-transformers-5"},
    "mobilenet-v3": {"torchvision-lraspp"},
    "vit": {
        f"{library}-{kind}"
        for library in ("timm", "transformers", "transformers-5")
        for kind in ("distilled", "no-bias")
    },
    "vit-jax": {"google"},
}
"""The layouts that weights cannot be converted back to."""

HEAVY = "{'torch', 'numpy', 'safetensors', 'transformers', 'timm', 'mmcv', 'mmseg', 'cv2'}"


def layouts_of(target: str) -> tuple[Layout, ...]:
    converter = Registry().provider("convert_weights", target).plugin
    assert isinstance(converter, Converter)
    assert converter.layouts
    return converter.layouts


def test_the_distribution_has_these_targets() -> None:
    points = distribution("segplug-converters").entry_points
    assert sorted(point.name for point in points) == sorted(TARGETS)
    assert {point.group for point in points} == {"segplug.convert_weights"}


@pytest.mark.parametrize("target", TARGETS)
def test_a_converter_imports_no_library(target: str) -> None:
    (point,) = distribution("segplug-converters").entry_points.select(name=target)
    code = f"import sys, {point.module}; found = {HEAVY} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("target", TARGETS)
def test_the_line_of_a_listing_names_the_frameworks_network(target: str) -> None:
    (entry,) = (
        entry
        for entry in entries("convert_weights")
        if (entry.distribution, entry.target) == ("segplug-converters", target)
    )
    assert entry.status == "available", entry.reason
    assert "for mmseg's" in entry.facts.about


@pytest.mark.parametrize("target", TARGETS)
def test_the_help_lists_every_layout(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["run", "convert_weights", target, "--help"]) == 0
    paragraphs = ["".join(text.split()) for text in capsys.readouterr().out.split("\n\n")]
    for layout in layouts_of(target):
        assert f"{layout.name}: {layout.description}.".replace(" ", "") in paragraphs
        assert layout.description[-1] not in ".:", "the help adds the full stop"


@pytest.mark.parametrize("target", TARGETS)
def test_notes_are_texts_without_a_full_stop(target: str) -> None:
    for layout in layouts_of(target):
        assert isinstance(layout.notes, tuple)
        for note in layout.notes:
            assert len(note.split()) > 3, f"{layout.name}: {note!r}"
            assert note[-1] not in ".:", "notes are parts of a list"


@pytest.mark.parametrize("target", TARGETS)
def test_all_other_layouts_can_be_converted_back_to(target: str) -> None:
    layouts = layouts_of(target)
    assert {layout.name for layout in layouts if layout.one_way} == ONE_WAY.get(target, set())
    for layout in layouts:
        operations = [rule.operation for rule in layout.rules if isinstance(rule, Move)]
        assert operations
        assert layout.one_way or all(operation.backward is not None for operation in operations)


@pytest.mark.parametrize("target", TARGETS)
def test_layouts_have_different_names(target: str) -> None:
    names = [layout.name for layout in layouts_of(target)]
    assert len(names) == len(set(names))


def test_a_converter_without_a_line_for_listings_has_that_of_its_family() -> None:
    layouts = layouts_of("vit-jax")
    converter = Converter(family="AcmeNet", layouts=layouts, describe=lambda shapes: Variant("A", {}))
    facts = facts_of("convert_weights", "acmenet", converter, WeightConverter)
    assert facts.about == "Convert AcmeNet backbones to mmseg's names."
