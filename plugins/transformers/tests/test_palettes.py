"""Colours of classes, by the names of the classes and of the data set."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from segplug_transformers.palettes import palette_for, palette_of

from segplug.palette import named_palette

CITYSCAPES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
# As the model cards of two models write the names of ADE20K; the rest does not matter.
ADE = ("wall", "building", "sky", "floor, flooring", "tree", "ceiling", *map(str, range(144)))
ADE_WITH_SYNONYMS = ("Wall", "building, edifice", "sky", "floor", "tree", "ceiling ", *map(str, range(144)))
UNNAMED = tuple(f"LABEL_{label}" for label in range(150))


@pytest.mark.parametrize(
    ("classes", "names", "palette"),
    [
        (CITYSCAPES, (), "cityscapes"),
        (ADE, (), "ade20k"),
        (ADE_WITH_SYNONYMS, ("cityscapes",), "ade20k"),
        (UNNAMED, ("scene_parse_150",), "ade20k"),
        (UNNAMED, ("org/my-data", "org/ADE20K"), "ade20k"),
    ],
)
def test_palettes_of_known_data_sets(classes: tuple[str, ...], names: tuple[str, ...], palette: str) -> None:
    assert palette_for(classes, names) == named_palette(palette, len(classes))


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        ((), ("cityscapes",)),
        (CITYSCAPES[::-1], ("cityscapes",)),  # the names of the classes decide
        (CITYSCAPES[:-1], ("cityscapes",)),
        (("void", *CITYSCAPES[:-1]), ("cityscapes",)),
        (UNNAMED, ()),
        (UNNAMED, ("cityscapes",)),
        (UNNAMED[:19], ("scene_parse_150",)),
    ],
)
def test_no_palette_is_guessed(classes: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert palette_for(classes, names) == ()


def test_palettes_by_the_name_of_the_data_set() -> None:
    assert palette_of("huggan/Pascal-VOC-2012") == palette_of("pascal_voc") == named_palette("pascal_voc", 21)
    assert palette_of("scene_parse_150")[0] == (120, 120, 120)
    assert palette_of("imagenet-1k") == ()


def test_the_palettes_are_for_the_classes_of_mmsegmentation() -> None:
    """The tables are mmsegmentation's: its sources have the same colours for the same classes."""
    spec = importlib.util.find_spec("mmseg")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("mmsegmentation is not installed")
    folder = Path(spec.submodule_search_locations[0], "datasets")
    if not (folder / "ade.py").exists():
        pytest.skip("mmsegmentation 1.x keeps its classes in another way")
    found = 0
    for name in ("ade", "cityscapes", "voc", "pascal_context", "loveda", "coco_stuff", "isaid", "potsdam"):
        tables: dict[str, list[Any]] = {"CLASSES": [], "PALETTE": []}
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in tables:
                tables[node.targets[0].id].append(ast.literal_eval(node.value))  # type: ignore[attr-defined]
        for classes, palette in zip(*tables.values(), strict=True):
            assert palette_for(classes, ()) == tuple(map(tuple, palette)), name
            found += 1
    assert found == 9  # Pascal Context has two
