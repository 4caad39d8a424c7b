"""``analyze flops`` on families in which counters based on hooks miss work."""

from __future__ import annotations

from pathlib import Path

import pytest
from segplug_mmseg.compat import import_mmseg

from segplug import Segplug


@pytest.mark.parametrize(
    "name",
    [
        "cgnet/cgnet_680x680_60k_cityscapes.py",
        "point_rend/pointrend_r50_512x512_160k_ade20k.py",
        pytest.param("ccnet/ccnet_r50-d8_512x512_80k_ade20k.py", marks=pytest.mark.slow),
        pytest.param("dpt/dpt_vit-b16_512x512_160k_ade20k.py", marks=pytest.mark.slow),
        pytest.param("psanet/psanet_r50-d8_512x512_80k_ade20k.py", marks=pytest.mark.slow),
        pytest.param(
            "swin/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K.py",
            marks=pytest.mark.slow,
        ),
        pytest.param("twins/twins_pcpvt-s_fpn_fpnhead_8x4_512x512_80k_ade20k.py", marks=pytest.mark.slow),
    ],
    ids=lambda name: name.partition("/")[0],
)
def test_every_operator_is_counted_in(name):
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    report = Segplug().analyze("flops", configs / name, shape=(128, 160))
    assert report.data["macs"] > 0
    assert report.data["not_counted"] == []
    assert not any("NOT counted" in note or "computed with random values" in note for note in report.notes)
