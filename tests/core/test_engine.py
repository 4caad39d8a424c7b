"""What an engine says that it takes."""

from __future__ import annotations

import pytest

from segplug.engine import Axis, EngineSpec
from segplug.model import InputLimits, ModelMeta


def spec(limits: InputLimits | None, **axes: Axis) -> EngineSpec:
    return EngineSpec(ModelMeta("tiny", input_limits=limits), "logits", **axes)


@pytest.mark.parametrize(
    ("limits", "given", "height", "width"),
    [
        (None, Axis(), Axis(), Axis()),
        (InputLimits((20, 30)), Axis(), Axis(20), Axis(30)),
        (InputLimits((16, 16), multiple_of=16), Axis(8, 640, 12), Axis(16, 640, 48), Axis(16, 640, 48)),
        (InputLimits((64, 96), maximum=(64, 96)), Axis(), Axis.fixed(64), Axis.fixed(96)),
        (InputLimits((20, 30)), Axis.fixed(64), Axis.fixed(64), Axis.fixed(64)),
    ],
)
def test_free_axes_are_narrowed_to_what_the_network_takes(limits, given, height, width):
    narrowed = spec(limits, height=given, width=given)
    assert (narrowed.height, narrowed.width) == (height, width)
