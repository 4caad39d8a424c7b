"""What sizes a network takes, asked of networks whose limits are known."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.limits import find_input_limits
from segplug_mmseg.loader import provider
from torch import nn

from segplug.model import InputLimits
from segplug.requests import LoadModelRequest


class Only(nn.Module):
    """Takes what a rule says."""

    def __init__(self, rule) -> None:
        super().__init__()
        self.rule = rule
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(x.shape[2:]))
        assert self.rule(*x.shape[2:])
        return x


@pytest.mark.parametrize(
    ("rule", "limits"),
    [
        (lambda h, w: True, InputLimits((1, 1))),
        (lambda h, w: min(h, w) >= 37, InputLimits((37, 37))),
        (lambda h, w: min(h, w) >= 385, InputLimits((385, 385))),
        (lambda h, w: h % 16 == w % 16 == 0, InputLimits((16, 16), multiple_of=16)),
        (lambda h, w: h % 32 == w % 32 == 0 and min(h, w) > 200, InputLimits((224, 224), multiple_of=32)),
        (lambda h, w: (h // 8 > 1) == (w // 8 > 1), InputLimits((16, 16))),
        (lambda h, w: (h, w) == (640, 480), InputLimits((640, 480), maximum=(640, 480))),
        (lambda h, w: (h, w) == (64, 64), InputLimits((64, 64), maximum=(64, 64))),
        (lambda h, w: h // 16 == w // 16 == 8, InputLimits((128, 128), maximum=(128, 128))),
        (lambda h, w: False, None),
    ],
)
def test_limits_are_found(rule, limits):
    assert find_input_limits(Only(rule), (640, 480)) == limits


def test_few_and_small_images_are_tried():
    network = Only(lambda h, w: True)
    find_input_limits(network, (2048, 1024))
    assert len(network.seen) < 24
    assert max(map(max, network.seen)) <= 128


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_an_error_that_is_no_refusal_is_not_taken_for_one(error):
    class Broken(nn.Module):
        def forward(self, x):
            raise error

    with pytest.raises(type(error)):
        find_input_limits(Broken(), None)


def test_nothing_larger_than_the_nominal_size_is_tried_where_no_square_is_taken():
    network = Only(lambda h, w: (h, w) == (96, 160))
    assert find_input_limits(network, (96, 160)) == InputLimits((96, 160), maximum=(96, 160))
    assert max(map(max, network.seen)) <= 160


@pytest.mark.parametrize(
    ("config", "limits"),
    [
        ("unet/fcn_unet_s5-d16_64x64_40k_drive.py", InputLimits((16, 16), multiple_of=16)),
        ("mobilenet_v3/lraspp_m-v3s-d8_scratch_512x1024_320k_cityscapes.py", InputLimits((385, 385))),
        ("erfnet/erfnet_fcn_4x4_512x1024_160k_cityscapes.py", InputLimits((5, 5))),
    ],
)
def test_mmsegs_networks(mim_configs, config, limits):
    model = provider.load_model(LoadModelRequest(str(mim_configs / config)))
    assert model.input_limits() == limits
