"""Which sizes a network takes, of networks whose limits are known."""

from __future__ import annotations

import pytest
import torch
from segplug_torch.limits import find_input_limits
from torch import nn

from segplug.model import InputLimits, ModelMeta


def limits_of(network: nn.Module, size: tuple[int, int] | None, **meta) -> InputLimits | None:
    return find_input_limits(network, ModelMeta("net", input_size=size, **meta))


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
    assert limits_of(Only(rule), (640, 480)) == limits


def test_few_and_small_images_are_tried():
    network = Only(lambda h, w: True)
    limits_of(network, (2048, 1024))
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
        limits_of(Broken(), None)


def test_nothing_larger_than_the_nominal_size_is_tried_where_no_square_is_taken():
    network = Only(lambda h, w: (h, w) == (96, 160))
    assert limits_of(network, (96, 160)) == InputLimits((96, 160), maximum=(96, 160))
    assert max(map(max, network.seen)) <= 160


def test_a_size_at_which_the_logits_have_another_is_not_taken():
    class Rounding(nn.Module):
        """Halves its map, and doubles it: an odd size comes back larger."""

        def forward(self, x):
            return nn.functional.interpolate(x[:, :, ::2, ::2], scale_factor=2)

    assert limits_of(Rounding(), (640, 480)) == InputLimits((2, 2), multiple_of=2)


class Patches(nn.Module):
    """Embeds whole patches of 4 x 4, of images of five channels: what is left over is not in the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(5, 2, 4, stride=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.embed(x)


def test_scores_have_the_size_that_their_stride_says():
    meta = {"in_channels": 5, "output_stride": 4}
    assert limits_of(Patches(), (64, 64), **meta) == InputLimits((4, 4), multiple_of=4)
    halved = nn.Conv2d(5, 2, 3, stride=2, padding=1)
    assert limits_of(halved, (64, 64), in_channels=5, output_stride=2) == InputLimits((1, 1))
    assert limits_of(halved, (64, 64), in_channels=5, output_stride=1) is None
    assert limits_of(halved, (64, 64), in_channels=3, output_stride=2) is None


def test_scores_of_one_size_say_nothing_of_the_inputs():
    class OneSize(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            height, width = x.shape[2:]
            assert height % 8 == width % 8 == 0
            return nn.functional.interpolate(x, (40, 56), mode="bilinear")

    assert limits_of(OneSize(), (64, 64), output_size=(40, 56)) == InputLimits((8, 8), multiple_of=8)
    assert limits_of(OneSize(), (64, 64), output_size=(56, 40)) is None
    assert limits_of(OneSize(), (64, 64)) is None
