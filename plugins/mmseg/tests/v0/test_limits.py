"""Which sizes real networks of mmseg take."""

from __future__ import annotations

import pytest
from segplug_mmseg.loader import provider

from segplug.model import InputLimits
from segplug.requests import LoadModelRequest
from segplug.testing import make_request


@pytest.mark.parametrize(
    ("config", "limits"),
    [
        ("unet/fcn_unet_s5-d16_64x64_40k_drive.py", InputLimits((16, 16), multiple_of=16)),
        pytest.param(
            "mobilenet_v3/lraspp_m-v3s-d8_scratch_512x1024_320k_cityscapes.py",
            InputLimits((385, 385)),
            marks=pytest.mark.slow,
        ),
        ("erfnet/erfnet_fcn_4x4_512x1024_160k_cityscapes.py", InputLimits((5, 5))),
    ],
)
def test_mmsegs_networks(mim_configs, config, limits):
    model = provider.load_model(make_request(LoadModelRequest, config=str(mim_configs / config)))
    assert model.input_limits() == limits
