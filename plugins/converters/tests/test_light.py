"""Every converter is cheap to import, says what it reads, and documents its layouts."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution

import pytest

from segplug.registry.discovery import about, entries
from segplug.registry.registry import Registry

POINTS = [
    point for point in distribution("segplug-converters").entry_points if point.group.startswith("segplug.")
]
ENTRIES = [entry for entry in entries("convert_weights") if entry.distribution == "segplug-converters"]

HEAVY = "{'torch', 'numpy', 'safetensors', 'transformers', 'timm', 'mmcv', 'mmseg', 'cv2'}"


def test_the_targets_are_those_that_are_promised() -> None:
    promised = {"vit", "swin", "mit", "beit", "stdc", "twins", "vit-jax"}
    promised |= {"resnet", "mobilenet-v2", "mobilenet-v3"}
    assert {point.name for point in POINTS} == promised


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_converter_imports_no_library(point) -> None:  # type: ignore[no-untyped-def]
    code = f"import sys, {point.module}; found = {HEAVY} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.target)
def test_a_listing_and_the_help_say_what_it_reads(entry) -> None:  # type: ignore[no-untyped-def]
    line = about(entry)
    assert "mmseg's" in line, line
    provider = Registry().load(entry)
    for layout in provider.plugin.layouts:  # type: ignore[attr-defined]
        assert f"{layout.name}: {layout.what}" in provider.help
        assert layout.what[-1] not in ".:", "the help puts the full stop"
        assert all(isinstance(note, str) for note in layout.notes)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.target)
def test_a_layout_with_an_operation_of_one_way_says_that_it_has_no_way_back(entry) -> None:  # type: ignore[no-untyped-def]
    for layout in Registry().load(entry).plugin.layouts:  # type: ignore[attr-defined]
        operations = [rule.operation for rule in layout.rules if hasattr(rule, "operation")]
        if any(operation.backward is None for operation in operations):
            assert layout.one_way, layout.name


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.target)
def test_the_names_of_layouts_are_told_apart(entry) -> None:  # type: ignore[no-untyped-def]
    names = [layout.name for layout in Registry().load(entry).plugin.layouts]  # type: ignore[attr-defined]
    assert len(names) == len(set(names))
