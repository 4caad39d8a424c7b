"""``analyze flops`` on families whose work hook-based counters miss."""

from __future__ import annotations

from pathlib import Path

import pytest
from segplug_mmseg.compat import import_mmseg

from segplug import Segplug


@pytest.mark.parametrize(
    "name",
    [
        "ccnet/ccnet_r50-d8_512x512_80k_ade20k.py",
        "cgnet/cgnet_680x680_60k_cityscapes.py",
        "dpt/dpt_vit-b16_512x512_160k_ade20k.py",
        "point_rend/pointrend_r50_512x512_160k_ade20k.py",
        "psanet/psanet_r50-d8_512x512_80k_ade20k.py",
        "swin/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K.py",
        "twins/twins_pcpvt-s_fpn_fpnhead_8x4_512x512_80k_ade20k.py",
    ],
    ids=lambda name: name.partition("/")[0],
)
def test_nothing_is_left_uncounted_in(name):
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    report = Segplug().analyze("flops", configs / name, shape=(128, 160))
    assert report.data["macs"] > 0
    assert report.data["not_counted"] == []
    assert not any("NOT counted" in note or "really computed" in note for note in report.notes)
