"""``convert_weights resnet``: ResNet and ResNeXt of torchvision and timm for mmseg's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from segplug.errors import CheckpointError
from segplug_converters import Converter, Layout, Rule, Shapes, Variant, drop, move
from segplug_converters.convolutions import CONVOLUTIONAL, NamedShape, check_network, convolution, norm
from segplug_converters.names import Words

__all__ = ["provider"]

_BLOCK = ("layer<s>.<i>.conv1.weight", "layer<s>.<i>.conv1.weight")

# The first stage may have no downsampling. So stages with one have their own variables: <d> where it is a
# convolution, <a> where an average pooling comes before the convolution.
_DOWNSAMPLINGS = (
    ("layer<d>.0.downsample.0.weight", "layer<d>.0.downsample.0.weight"),
    ("layer<a>.0.downsample.2.weight", "layer<a>.0.downsample.2.weight"),
)

_WORDS: Words = {**CONVOLUTIONAL, "c": ("1", "2")}


def _keep(conv: str, bn: str, *, optional: str = "") -> tuple[Rule, ...]:
    """A convolution and its normalisation, which have the same names in mmseg."""
    weight = f"{conv}.weight"
    return (move(weight, weight, optional=optional), *norm(bn, bn, optional=optional))


_BLOCKS: tuple[Rule, ...] = (
    *_keep("layer<s>.<i>.conv<c>", "layer<s>.<i>.bn<c>"),
    *_keep("layer<s>.<i>.conv3", "layer<s>.<i>.bn3", optional="third convolutions"),
    *_keep("layer<d>.0.downsample.0", "layer<d>.0.downsample.1", optional="downsamplings"),
    *_keep("layer<a>.0.downsample.1", "layer<a>.0.downsample.2", optional="downsamplings after a pooling"),
    drop("fc.<n>.<*>", "the projection of MoCo v2's training"),
    drop("fc.<*>", "the classifier"),
    drop("projection_head.<*>", "the projection of SwAV's training"),
    drop("prototypes.<*>", "the prototypes of SwAV's training"),
)

_POOLING = (
    "timm's networks that blur or average before each stride (resnetblur*, resnetaa*) have the same tensors "
    "as the others, but other features, which mmseg's backbone cannot compute"
)

TORCHVISION = Layout(
    name="torchvision",
    description="ResNet and ResNeXt of torchvision, and timm's with one convolution before the stages",
    anchors=(_BLOCK, *_DOWNSAMPLINGS),
    words=_WORDS,
    rules=(*_keep("conv1", "bn1"), *_BLOCKS),
    notes=(
        "mmseg's names are the same: only heads are dropped",
        "torchvision's segmentation networks use dilation: for a backbone of one, set strides=(1, 2, 1, 1), "
        "dilations=(1, 1, 2, 4), contract_dilation=True",
        _POOLING,
    ),
)

DEEP_STEM = Layout(
    name="timm-deep-stem",
    description="timm's ResNet and ResNeXt with three convolutions before the stages: *c, *d, *s",
    anchors=(("conv1.0.weight", "stem.0.weight"), _BLOCK, *_DOWNSAMPLINGS),
    words=_WORDS,
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
"""Convolutions in a block and blocks in each stage: mmseg's depth."""

_WIDTH = 64
"""Channels of the stem, and of the first stage's blocks inside, by default."""

_COLOURS = 3
"""Channels of an image, by default."""

_WIDER = 4
"""A block of three convolutions expands its channels by this factor."""


def describe(shapes: Shapes) -> Variant:
    """Read depth, stem, downsampling and groups from the blocks."""
    convolutions = 3 if "layer1.0.conv3.weight" in shapes else 2
    blocks = tuple(shapes.count(f"layer{stage}.<n>.conv1.weight") for stage in range(1, 5))
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
    network = dict(_network(settings, blocks, convolutions, deep=deep, averaged=averaged))
    check_network(shapes, name, network.items())
    superfluous = [each for each in _FIRST_DOWNSAMPLINGS if each in shapes and each not in network]
    if superfluous:
        raise CheckpointError(
            f"mmseg's {name} has no {superfluous[0]}: it downsamples from its second stage on"
        )
    notes = () if deep else (f"{_ONE_CONVOLUTION} type='{kind}'",)
    return Variant(name, settings, notes if convolutions == 2 else (*notes, _STYLE))


_FIRST_DOWNSAMPLINGS = ("layer1.0.downsample.0.weight", "layer1.0.downsample.1.weight")

_ONE_CONVOLUTION = (
    "most of mmseg's segmentation configs build ResNetV1c, whose stem has three convolutions: for these "
    "weights, the backbone needs"
)

_STYLE = (
    "style='pytorch' (the stride in a block's second convolution) is assumed: a network with the stride in "
    "the first one, as in Caffe, has the same tensors and needs style='caffe'"
)


def _network(
    settings: Mapping[str, Any], blocks: tuple[int, ...], convolutions: int, *, deep: bool, averaged: bool
) -> Iterator[NamedShape]:
    """The tensors of mmseg's network with these settings."""
    planes = settings.get("base_channels", _WIDTH)
    groups = settings.get("groups", 1)
    inside = groups * settings["base_width"] if groups > 1 else planes
    before = settings.get("stem_channels", _WIDTH)
    yield from _stem(settings.get("in_channels", _COLOURS), before, deep=deep)
    for stage, count in enumerate(blocks):
        after = planes * 2**stage * (_WIDER if convolutions == 3 else 1)
        for block in range(count):
            name, width = f"layer{stage + 1}.{block}", inside * 2**stage
            sizes = [(width, before, 3), (after, width, 3)]
            if convolutions == 3:
                sizes = [(width, before, 1), (width, width // groups, 3), (after, width, 1)]
            for number, each in enumerate(sizes, 1):
                yield from convolution(f"{name}.conv{number}", f"{name}.bn{number}", *each)
            if block == 0 and (stage > 0 or before != after):
                at = 1 if averaged else 0
                yield from convolution(
                    f"{name}.downsample.{at}", f"{name}.downsample.{at + 1}", after, before, 1
                )
            before = after


def _stem(colours: int, after: int, *, deep: bool) -> Iterator[NamedShape]:
    if not deep:
        yield from convolution("conv1", "bn1", after, colours, 7)
        return
    half = after // 2
    for place, sizes in zip((0, 3, 6), ((half, colours), (half, half), (after, half)), strict=True):
        yield from convolution(f"stem.{place}", f"stem.{place + 1}", *sizes, 3)


def _block_settings(shapes: Shapes, convolutions: int, depth: int) -> tuple[str, str, dict[str, Any]]:
    """mmseg's type, the published name, and the settings of widths."""
    planes = shapes.of(f"layer1.0.conv{convolutions}.weight")[0] // (_WIDER if convolutions == 3 else 1)
    width, per_group, _, _ = shapes.of(f"layer1.0.conv{convolutions - 1}.weight")
    settings = {} if planes == _WIDTH else {"base_channels": planes}
    if convolutions == 2:
        return "ResNet", f"ResNet-{depth}", settings
    groups = width // per_group
    if groups > 1:
        settings |= {"groups": groups, "base_width": per_group}
        return "ResNeXt", f"ResNeXt-{depth} {groups}x{per_group}d", settings
    if width != planes:
        raise CheckpointError(
            f"it is a wide ResNet: its first blocks have {width} channels inside, mmseg's ResNet has {planes}"
        )
    return "ResNet", f"ResNet-{depth}", settings


def _stem_settings(shapes: Shapes, *, deep: bool) -> dict[str, Any]:
    """The settings of the stem that are not mmseg's defaults.

    Raises:
        CheckpointError: the first two convolutions of a deep stem are not half as wide as the third.
    """
    width = shapes.of("stem.6.weight" if deep else "conv1.weight")[0]
    if deep:
        widths = [shapes.of("stem.0.weight")[0], shapes.of("stem.3.weight")[0], width]
        if widths != [width // 2, width // 2, width]:
            listed = ", ".join(map(str, widths))
            raise CheckpointError(
                f"it has a stem of {listed} channels; mmseg's has {width // 2} in the first two"
            )
    colours = shapes.of("stem.0.weight" if deep else "conv1.weight")[1]
    settings = {} if width == _WIDTH else {"stem_channels": width}
    return settings if colours == _COLOURS else {"in_channels": colours, **settings}


provider = Converter(
    family="ResNet",
    about="ResNet and ResNeXt of torchvision and timm for mmseg's.",
    layouts=(TORCHVISION, DEEP_STEM),
    describe=describe,
)
