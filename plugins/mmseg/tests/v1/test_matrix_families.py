"""The support matrix of 1.x measures every family that mmsegmentation 1.x carries, or says why not."""

from __future__ import annotations

from matrix.sources import SOURCES

SOURCE = SOURCES["mmseg1"]


def test_every_family_has_a_config_or_is_left_out(mim_configs):
    carried = {folder.name for folder in mim_configs.iterdir() if any(folder.glob("*.py"))} - {"_base_"}
    assert {*SOURCE.families, *SOURCE.left_out} == carried
    for family, case in SOURCE.families.items():
        assert (mim_configs / family / case.config).is_file()


def test_it_can_be_measured_here():
    assert SOURCE.missing() is None
    assert {"mmsegmentation", "onedl-mmsegmentation"} & set(SOURCE.versions("static"))
