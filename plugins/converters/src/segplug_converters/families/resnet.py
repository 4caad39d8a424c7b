"""``convert_weights resnet``: ResNet and ResNeXt of torchvision and timm for mmseg's."""

from __future__ import annotations

from typing import Any

from segplug.errors import CheckpointError
from segplug_converters import Converter, Layout, Rule, Shapes, Variant, drop, move
from segplug_converters.convolutions import CONVOLUTIONAL, norm

__all__ = ["provider"]

_BLOCK = ("layer<s>.<i>.conv1.weight", "layer<s>.<i>.conv1.weight")

# A variable of its own for each kind of thing that only some blocks have: a third convolution (c), a
# downsampling (d), one behind an average pooling (a). So each is either there as a whole or missed.
_IN_BLOCKS = (
    ("layer<s>.<i>.conv<c>.weight", "layer<s>.<i>.conv<c>.weight"),
    ("layer<s>.<d>.downsample.0.weight", "layer<s>.<d>.downsample.0.weight"),
    ("layer<s>.<a>.downsample.2.weight", "layer<s>.<a>.downsample.2.weight"),
)

_BLOCKS: tuple[Rule, ...] = (
    move("layer<s>.<i>.conv<c>.weight", "layer<s>.<i>.conv<c>.weight"),
    *norm("layer<s>.<i>.bn<c>", "layer<s>.<i>.bn<c>"),
    move("layer<s>.<d>.downsample.0.weight", "layer<s>.<d>.downsample.0.weight"),
    *norm("layer<s>.<d>.downsample.1", "layer<s>.<d>.downsample.1"),
    move("layer<s>.<a>.downsample.1.weight", "layer<s>.<a>.downsample.1.weight"),
    *norm("layer<s>.<a>.downsample.2", "layer<s>.<a>.downsample.2"),
    drop("fc.<*>", "the classifier"),
)

_POOLING = (
    "timm's networks that blur or average before each stride (resnetblur*, resnetaa*) have the same tensors "
    "as those that do not, but other features, which mmseg's backbone cannot compute"
)

TORCHVISION = Layout(
    name="torchvision",
    what="ResNet and ResNeXt of torchvision, and timm's with one convolution before the stages",
    anchors=(_BLOCK, *_IN_BLOCKS),
    words=CONVOLUTIONAL,
    rules=(move("conv1.weight", "conv1.weight"), *norm("bn1", "bn1"), *_BLOCKS),
    notes=(
        "mmseg's names are the same: nothing but the classifier goes",
        "torchvision's segmentation networks dilate: for a backbone out of one, set strides=(1, 2, 1, 1), "
        "dilations=(1, 1, 2, 4), contract_dilation=True",
        _POOLING,
    ),
)

DEEP_STEM = Layout(
    name="timm-deep-stem",
    what="timm's ResNet and ResNeXt with three convolutions before the stages: *c, *d, *s",
    anchors=(("conv1.0.weight", "stem.0.weight"), _BLOCK, *_IN_BLOCKS),
    words=CONVOLUTIONAL,
    rules=(
        move("conv1.0.weight", "stem.0.weight"),
        *norm("conv1.1", "stem.1"),
        move("conv1.3.weight", "stem.3.weight"),
        *norm("conv1.4", "stem.4"),
        move("conv1.6.weight", "stem.6.weight"),
        *norm("bn1", "stem.7"),
        *_BLOCKS,
    ),
    notes=(_POOLING,),
)

_DEPTHS: dict[tuple[int, tuple[int, ...]], int] = {
    (2, (2, 2, 2, 2)): 18,
    (2, (3, 4, 6, 3)): 34,
    (3, (3, 4, 6, 3)): 50,
    (3, (3, 4, 23, 3)): 101,
    (3, (3, 8, 36, 3)): 152,
}
"""Convolutions in a block and blocks in each stage, to what mmseg calls the depth."""


def describe(shapes: Shapes) -> Variant:
    """Depth, stem, downsampling and groups, from the blocks."""
    convolutions = 3 if "layer1.0.conv3.weight" in shapes else 2
    blocks = tuple(shapes.count(f"layer{stage}.<n>.conv1.weight") for stage in range(1, 5))
    _check_whole(shapes, blocks, convolutions)
    if (convolutions, blocks) not in _DEPTHS:
        listed = ", ".join(map(str, blocks))
        raise CheckpointError(
            f"mmseg has no ResNet with {listed} blocks of {convolutions} convolutions in its stages"
        )
    depth = _DEPTHS[convolutions, blocks]
    deep, averaged = "stem.0.weight" in shapes, "layer2.0.downsample.2.weight" in shapes
    kind, name, extra = _block_settings(shapes, convolutions, depth)
    if kind == "ResNet" and deep:
        kind, name = ("ResNetV1d", f"{name}-d") if averaged else ("ResNetV1c", f"{name}-c")
    else:
        extra |= {key: True for key, there in (("deep_stem", deep), ("avg_down", averaged)) if there}
    settings = {
        "type": kind,
        "depth": depth,
        **extra,
        **_stem_settings(shapes, deep=deep),
        "strides": [1, 2, 2, 2],
        "dilations": [1, 1, 1, 1],
        "style": "pytorch",
        "norm_cfg": {"type": "BN"},
    }
    notes = () if deep else (f"{_ONE_CONVOLUTION} type='{kind}'",)
    return Variant(name, settings, notes)


_ONE_CONVOLUTION = (
    "most of mmseg's segmentation configs build ResNetV1c, whose stem has three convolutions: for these "
    "weights, the backbone needs"
)


def _check_whole(shapes: Shapes, blocks: tuple[int, ...], convolutions: int) -> None:
    """Every block has all its convolutions, and every stage that needs it its downsampling.

    Raises:
        CheckpointError: one is not there.
    """
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            for convolution in range(1, convolutions + 1):
                shapes.of(f"layer{stage}.{block}.conv{convolution}.weight")
        before = shapes.of(f"layer{stage}.0.conv1.weight")[1]
        after = shapes.of(f"layer{stage}.0.conv{convolutions}.weight")[0]
        if stage > 1 or before != after:
            averaged = f"layer{stage}.0.downsample.2.weight" in shapes
            shapes.of(f"layer{stage}.0.downsample.{1 if averaged else 0}.weight")


def _block_settings(shapes: Shapes, convolutions: int, depth: int) -> tuple[str, str, dict[str, Any]]:
    """mmseg's type, the name that people know, and the settings of widths."""
    planes = shapes.of(f"layer1.0.conv{convolutions}.weight")[0] // (4 if convolutions == 3 else 1)
    width, per_group, _, _ = shapes.of(f"layer1.0.conv{convolutions - 1}.weight")
    settings = {} if planes == 64 else {"base_channels": planes}
    if convolutions == 2:
        return "ResNet", f"ResNet-{depth}", settings
    groups = width // per_group
    if groups > 1:
        settings |= {"groups": groups, "base_width": per_group}
        return "ResNeXt", f"ResNeXt-{depth} {groups}x{per_group}d", settings
    if width != planes:
        raise CheckpointError(
            f"a wide ResNet: its first blocks have {width} channels inside, mmseg's ResNet has {planes}"
        )
    return "ResNet", f"ResNet-{depth}", settings


def _stem_settings(shapes: Shapes, *, deep: bool) -> dict[str, Any]:
    """The setting of the stem's width, where it is not mmseg's own.

    Raises:
        CheckpointError: the first two convolutions of a deep stem are not half as wide as the third.
    """
    width = shapes.of("stem.6.weight" if deep else "conv1.weight")[0]
    if deep:
        widths = [shapes.of("stem.0.weight")[0], shapes.of("stem.3.weight")[0], width]
        if widths != [width // 2, width // 2, width]:
            listed = ", ".join(map(str, widths))
            raise CheckpointError(f"a stem of {listed} channels; mmseg's has {width // 2} in the first two")
    return {} if width == 64 else {"stem_channels": width}


provider = Converter(family="ResNet", layouts=(TORCHVISION, DEEP_STEM), describe=describe)
