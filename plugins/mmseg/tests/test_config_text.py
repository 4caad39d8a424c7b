"""A config written out loads again to the same settings."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import pytest
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.config_text import as_python
from segplug_mmseg.installed import installed_mmseg

from segplug import Segplug
from segplug.errors import ModelError

MODULES = {"0.x": "mmcv", "1.x": "mmengine.config"}
AWKWARD = {
    "quotes": 'it\'s "both" and a \\ and a\nline',
    "numbers": [0, -1.5, 1e-8, float("inf"), float("-inf"), True, None],
    "one": ("a",),
    "none": (),
    "nested": {"a": [{"b": ({"type": "X"},)}], "empty": {}, "list": []},
    "names": {"class": 1, "not a name": 2, 3: "three"},
    "chosen": {1, 2},
    "nobody": set(),
    "bytes": b"\x00'",
    "wide": ["x" * 40] * 5,
    "deep": {"key": {"key": {"key": {"key": ["y" * 30] * 4}}}},
}


def executed(text: str) -> dict:
    found: dict = {}
    exec(text, found)
    del found["__builtins__"]
    return found


def test_every_value_comes_back_as_it_was():
    text = as_python(AWKWARD, location="c.py")
    found = executed(text)
    assert found == AWKWARD
    assert list(found) == list(AWKWARD)
    assert [type(value) for value in found.values()] == [type(value) for value in AWKWARD.values()]
    assert max(len(line) for line in text.splitlines()) <= 100


def test_not_a_number():
    assert math.isnan(executed(as_python({"a": float("nan")}, location="c.py"))["a"])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"model": {"norm": print}}, "`model` holds a builtin_function_or_method, which cannot be written"),
        ({"not a name": 1}, "the setting 'not a name' is no Python name"),
        ({"class": 1}, "is no Python name"),
    ],
)
def test_what_cannot_be_written_is_named(settings, reason):
    with pytest.raises(ModelError, match=reason):
        as_python(settings, location="c.py")


def assert_loads_again(path: Path, target: Path) -> None:
    """The text that is written for ``path`` reads as the same settings, their types and order included."""
    import_mmseg()
    config = importlib.import_module(MODULES[installed_mmseg().generation]).Config
    target.write_text(Segplug().config_text(path))
    assert "_base_ =" not in target.read_text()
    # mmpretrain, which some import, imports torchvision.
    expected, found = (config.fromfile(str(file), import_custom_modules=False) for file in (path, target))
    assert found._cfg_dict == expected._cfg_dict
    assert str(found._cfg_dict) == str(expected._cfg_dict)


def configs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*.py") if path.parent.name != "_base_")


def test_configs_of_mmseg_load_again(tmp_path, mim_configs):
    for path in configs(mim_configs)[::40]:
        assert_loads_again(path, tmp_path / "c.py")


@pytest.mark.slow
def test_all_configs_of_mmseg_load_again(tmp_path, mim_configs):
    assert len(configs(mim_configs)) > 600
    for path in configs(mim_configs):
        assert_loads_again(path, tmp_path / "c.py")


def test_overrides_are_written_out(tmp_path):
    base = tmp_path / "base.py"
    base.write_text("model = dict(type='A', depth=1)\n")
    path = tmp_path / "c.py"
    path.write_text("_base_ = ['base.py']\nlr = 0.1\n")
    text = Segplug().config_text(path, cfg_options={"model.depth": "50", "model.stages": "[1,2]"})
    assert executed(text) == {"lr": 0.1, "model": {"type": "A", "depth": 50, "stages": [1, 2]}}
