"""``convert_weights mobilenet-v3``: torchvision's MobileNetV3, large and small, for mmseg's MobileNetV3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from segplug.errors import CheckpointError
from segplug_converters import Converter, Layout, Shapes, Variant, drop, move
from segplug_converters.convolutions import (
    CONVOLUTIONAL,
    NamedShape,
    check_network,
    conv_module,
    module,
    multiple_of_eight,
)
from segplug_converters.rules import Rule

__all__ = ["provider"]


class _Block(NamedTuple):
    kernel: int
    inside: int
    """Channels of the depthwise convolution."""
    channels: int
    """Channels of the output."""
    has_se: bool
    """Whether the block has squeeze-and-excitation."""


@dataclass(frozen=True)
class _Arch:
    """The differences of the two architectures. Block ``n`` is torchvision's ``features.n`` and mmseg's
    ``layer<n>``.
    """

    name: str
    blocks: tuple[_Block, ...]
    """Block 1, 2, ..."""
    last: int
    """Channels of the convolution after the blocks."""

    @property
    def se_blocks(self) -> frozenset[int]:
        """The numbers of the blocks with squeeze-and-excitation."""
        return frozenset(number for number, block in enumerate(self.blocks, 1) if block.has_se)


_LARGE = _Arch(
    "large",
    (
        _Block(3, 16, 16, False),
        _Block(3, 64, 24, False),
        _Block(3, 72, 24, False),
        _Block(5, 72, 40, True),
        _Block(5, 120, 40, True),
        _Block(5, 120, 40, True),
        _Block(3, 240, 80, False),
        _Block(3, 200, 80, False),
        _Block(3, 184, 80, False),
        _Block(3, 184, 80, False),
        _Block(3, 480, 112, True),
        _Block(3, 672, 112, True),
        _Block(5, 672, 160, True),
        _Block(5, 960, 160, True),
        _Block(5, 960, 160, True),
    ),
    960,
)
_SMALL = _Arch(
    "small",
    (
        _Block(3, 16, 16, True),
        _Block(3, 72, 24, False),
        _Block(3, 88, 24, False),
        _Block(5, 96, 40, True),
        _Block(5, 240, 40, True),
        _Block(5, 240, 40, True),
        _Block(5, 120, 48, True),
        _Block(5, 144, 48, True),
        _Block(5, 288, 96, True),
        _Block(5, 576, 96, True),
        _Block(5, 576, 96, True),
    ),
    576,
)

_STEM = 16
"""Channels of the first convolution."""

_SQUEEZED = 4
"""Squeeze-and-excitation reduces its channels by this factor inside."""


def _rules(arch: _Arch, features: str) -> tuple[Rule, ...]:
    """The rules. ``features`` is the name before the block numbers; :func:`_words` explains the variables."""
    theirs, after = f"{features}<a>.block", len(arch.blocks) + 1
    first = f"{features}1.block"
    linear = 2 if 1 in arch.se_blocks else 1
    return (
        *conv_module(f"{features}0.0", f"{features}0.1", "layer0"),
        *conv_module(f"{first}.0.0", f"{first}.0.1", "layer1.depthwise_conv"),
        *(_se_rules(f"{first}.1", "layer1") if 1 in arch.se_blocks else ()),
        *conv_module(f"{first}.{linear}.0", f"{first}.{linear}.1", "layer1.linear_conv"),
        *conv_module(f"{theirs}.0.0", f"{theirs}.0.1", "layer<a>.expand_conv"),
        *conv_module(f"{theirs}.1.0", f"{theirs}.1.1", "layer<a>.depthwise_conv"),
        *_se_rules(f"{features}<e>.block.2", "layer<e>"),
        *conv_module(f"{features}<e>.block.3.0", f"{features}<e>.block.3.1", "layer<e>.linear_conv"),
        *conv_module(f"{features}<n>.block.2.0", f"{features}<n>.block.2.1", "layer<n>.linear_conv"),
        *conv_module(f"{features}{after}.0", f"{features}{after}.1", f"layer{after}"),
        drop("classifier.<*>", "the classifier"),
    )


def _se_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    return (move(f"{theirs}.fc<f>.<p>", f"{ours}.se.conv<f>.conv.<p>"),)


def _words(arch: _Arch) -> dict[str, tuple[str, ...]]:
    """The values of the variables.

    ``a``: all blocks but the first, which does not expand; of these, ``e`` with and ``n`` without
    squeeze-and-excitation, whose two convolutions are ``f``.
    """
    blocks = range(2, len(arch.blocks) + 1)
    return {
        "a": tuple(map(str, blocks)),
        "e": tuple(str(block) for block in blocks if block in arch.se_blocks),
        "n": tuple(str(block) for block in blocks if block not in arch.se_blocks),
        "f": ("1", "2"),
    }


_PADDING = (
    "mmseg pads strided convolutions as TensorFlow does, torchvision equally on all sides: features are the "
    "same only if height and width are one more than a multiple of 8 (513, not 512)"
)


def _layout(
    arch: _Arch, *, features: str = "features.", name: str, description: str, one_way: str = ""
) -> Layout:
    return Layout(
        name=name,
        description=description,
        anchors=((f"{features}1.block.0.0.weight", "layer1.depthwise_conv.conv.weight"),),
        words={**CONVOLUTIONAL, **_words(arch)},
        rules=_rules(arch, features),
        notes=(_PADDING,),
        one_way=one_way,
    )


_LAYOUTS = (
    _layout(_LARGE, name="torchvision-large", description="torchvision's mobilenet_v3_large"),
    _layout(_SMALL, name="torchvision-small", description="torchvision's mobilenet_v3_small"),
    _layout(
        _LARGE,
        features="",
        name="torchvision-lraspp",
        description="mobilenet_v3_large within torchvision's segmentation networks (LR-ASPP, DeepLabV3)",
        one_way="its files hold a whole segmentation network, whose other parts are missing",
    ),
)


def describe(shapes: Shapes) -> Variant:
    """Read from the number of blocks whether it is large or small; mmseg has one width of each."""
    arch = _LARGE if "layer16.conv.weight" in shapes else _SMALL
    for number, block in enumerate(arch.blocks, 1):
        found = shapes.of(f"layer{number}.linear_conv.conv.weight")[0]
        _check_width(f"layer{number}", found, block.channels)
    last = len(arch.blocks) + 1
    _check_width(f"layer{last}", shapes.of(f"layer{last}.conv.weight")[0], arch.last)
    name = f"MobileNetV3-{arch.name}"
    check_network(shapes, name, _network(arch))
    return Variant(
        name,
        {"type": "MobileNetV3", "arch": arch.name, "norm_cfg": {"type": "BN", "eps": 0.001}},
        (
            "torchvision's normalisation has eps=0.001: set it in the backbone's norm_cfg, as mmseg's "
            "configs do",
            _DILATED,
        ),
    )


_DILATED = (
    "mmseg's backbone has a stride of 8 and dilates its last blocks: its features are those of torchvision's "
    "network with the same strides and dilations, not those that the classifier was trained on"
)


def _network(arch: _Arch) -> Iterator[NamedShape]:
    """The tensors of mmseg's network."""
    yield from module("layer0", _STEM, 3, 3)
    before = _STEM
    for number, block in enumerate(arch.blocks, 1):
        name = f"layer{number}"
        if block.inside != before:
            yield from module(f"{name}.expand_conv", block.inside, before, 1)
        yield from module(f"{name}.depthwise_conv", block.inside, 1, block.kernel)
        if block.has_se:
            squeezed = multiple_of_eight(block.inside // _SQUEEZED)
            yield from _with_bias(f"{name}.se.conv1.conv", squeezed, block.inside)
            yield from _with_bias(f"{name}.se.conv2.conv", block.inside, squeezed)
        yield from module(f"{name}.linear_conv", block.channels, block.inside, 1)
        before = block.channels
    yield from module(f"layer{len(arch.blocks) + 1}", arch.last, before, 1)


def _with_bias(name: str, after: int, before: int) -> Iterator[NamedShape]:
    yield f"{name}.weight", (after, before, 1, 1)
    yield f"{name}.bias", (after,)


def _check_width(layer: str, found: int, known: int) -> None:
    if found != known:
        raise CheckpointError(
            f"it is a MobileNetV3 of another width: {layer} has {found} channels, mmseg's has {known}",
            hint="a reduced tail does not fit either: mmseg's last layer has a fixed width",
        )


provider = Converter(
    family="MobileNetV3",
    about="torchvision's MobileNetV3, large and small, for mmseg's MobileNetV3.",
    layouts=_LAYOUTS,
    describe=describe,
)
