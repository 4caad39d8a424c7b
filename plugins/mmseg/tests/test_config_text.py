"""A config written out loads again to the same settings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.config_text import as_python

from segplug import Segplug
from segplug.errors import ModelError

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


def configs() -> list[Path]:
    import_mmseg()
    import mmseg

    return sorted(Path(mmseg.__file__).parent.glob(".mim/configs/*/*.py"))


def assert_loads_again(path: Path, target: Path) -> None:
    from mmcv import Config

    target.write_text(Segplug().config_text(path))
    assert "_base_ =" not in target.read_text()
    expected, found = Config.fromfile(str(path)), Config.fromfile(str(target))
    assert found._cfg_dict == expected._cfg_dict
    assert str(found._cfg_dict) == str(expected._cfg_dict)  # types and order, too


def test_configs_of_mmseg_load_again(tmp_path):
    for path in configs()[::40]:
        assert_loads_again(path, tmp_path / "c.py")


@pytest.mark.slow
def test_all_configs_of_mmseg_load_again(tmp_path):
    assert len(configs()) > 600
    for path in configs():
        assert_loads_again(path, tmp_path / "c.py")


def test_overrides_are_written_out(tmp_path):
    base = tmp_path / "base.py"
    base.write_text("model = dict(type='A', depth=1)\n")
    path = tmp_path / "c.py"
    path.write_text("_base_ = ['base.py']\nlr = 0.1\n")
    text = Segplug().config_text(path, cfg_options={"model.depth": "50", "model.stages": "[1,2]"})
    assert executed(text) == {"lr": 0.1, "model": {"type": "A", "depth": 50, "stages": [1, 2]}}
