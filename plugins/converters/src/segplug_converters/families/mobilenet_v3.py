"""``convert_weights mobilenet-v3``: torchvision's MobileNetV3, large and small, for mmseg's MobileNetV3."""

from __future__ import annotations

from dataclasses import dataclass

from segplug.errors import CheckpointError
from segplug_converters import Converter, Layout, Shapes, Variant, drop, move
from segplug_converters.convolutions import CONVOLUTIONAL, conv_module
from segplug_converters.rules import Rule

__all__ = ["provider"]


@dataclass(frozen=True)
class _Arch:
    """What the two architectures differ in; block ``n`` is ``features.n`` and ``layer<n>`` on either side."""

    name: str
    channels: tuple[int, ...]
    """Of the outputs of block 1, 2, ..."""
    last: int
    """Channels of the convolution behind the blocks."""
    excited: frozenset[int]
    """Blocks with squeeze and excitation."""


_LARGE = _Arch(
    "large",
    (16, 24, 24, 40, 40, 40, 80, 80, 80, 80, 112, 112, 160, 160, 160),
    960,
    frozenset({4, 5, 6, 11, 12, 13, 14, 15}),
)
_SMALL = _Arch(
    "small",
    (16, 24, 24, 40, 40, 40, 48, 48, 96, 96, 96),
    576,
    frozenset({1, 4, 5, 6, 7, 8, 9, 10, 11}),
)


def _rules(arch: _Arch, features: str) -> tuple[Rule, ...]:
    """The table, where ``features`` stands before the numbers; see :func:`_words` for the variables."""
    theirs, after = f"{features}<a>.block", len(arch.channels) + 1
    first = f"{features}1.block"
    linear = 2 if 1 in arch.excited else 1
    return (
        *conv_module(f"{features}0.0", f"{features}0.1", "layer0"),
        *conv_module(f"{first}.0.0", f"{first}.0.1", "layer1.depthwise_conv"),
        *(_excitation(f"{first}.1", "layer1") if 1 in arch.excited else ()),
        *conv_module(f"{first}.{linear}.0", f"{first}.{linear}.1", "layer1.linear_conv"),
        *conv_module(f"{theirs}.0.0", f"{theirs}.0.1", "layer<a>.expand_conv"),
        *conv_module(f"{theirs}.1.0", f"{theirs}.1.1", "layer<a>.depthwise_conv"),
        *_excitation(f"{features}<e>.block.2", "layer<e>"),
        *conv_module(f"{features}<e>.block.3.0", f"{features}<e>.block.3.1", "layer<e>.linear_conv"),
        *conv_module(f"{features}<n>.block.2.0", f"{features}<n>.block.2.1", "layer<n>.linear_conv"),
        *conv_module(f"{features}{after}.0", f"{features}{after}.1", f"layer{after}"),
        drop("classifier.<*>", "the classifier"),
    )


def _excitation(theirs: str, ours: str) -> tuple[Rule, ...]:
    return (move(f"{theirs}.fc<f>.<p>", f"{ours}.se.conv<f>.conv.<p>"),)


def _words(arch: _Arch) -> dict[str, tuple[str, ...]]:
    """a: all blocks but the first, which does not expand; e: with excitation; n: without."""
    blocks = range(2, len(arch.channels) + 1)
    return {
        "a": tuple(map(str, blocks)),
        "e": tuple(str(block) for block in blocks if block in arch.excited),
        "n": tuple(str(block) for block in blocks if block not in arch.excited),
        "f": ("1", "2"),
    }


_PADDING = (
    "mmseg pads strided convolutions as TensorFlow does, torchvision the same on all sides: features are the "
    "same only where height and width are one more than a multiple of 8 (513, not 512)"
)


def _layout(arch: _Arch, *, features: str = "features.", name: str, what: str, one_way: str = "") -> Layout:
    return Layout(
        name=name,
        what=what,
        anchors=((f"{features}1.block.0.0.weight", "layer1.depthwise_conv.conv.weight"),),
        words={**CONVOLUTIONAL, **_words(arch)},
        rules=_rules(arch, features),
        notes=(_PADDING,),
        one_way=one_way,
    )


_LAYOUTS = (
    _layout(_LARGE, name="torchvision-large", what="torchvision's mobilenet_v3_large"),
    _layout(_SMALL, name="torchvision-small", what="torchvision's mobilenet_v3_small"),
    _layout(
        _LARGE,
        features="",
        name="torchvision-lraspp",
        what="mobilenet_v3_large within torchvision's segmentation networks (LR-ASPP, DeepLabV3)",
        one_way="they are a part of a segmentation network, whose other parts are not there",
    ),
)


def describe(shapes: Shapes) -> Variant:
    """Large or small, from the number of blocks; mmseg has one width of each."""
    arch = _LARGE if "layer16.conv.weight" in shapes else _SMALL
    for block, channels in enumerate(arch.channels, 1):
        _check_width(f"layer{block}", shapes.of(f"layer{block}.linear_conv.conv.weight")[0], channels)
    last = len(arch.channels) + 1
    _check_width(f"layer{last}", shapes.of(f"layer{last}.conv.weight")[0], arch.last)
    return Variant(
        f"MobileNetV3-{arch.name}",
        {"type": "MobileNetV3", "arch": arch.name, "norm_cfg": {"type": "BN", "eps": 0.001}},
        (
            "torchvision's normalisation has eps=0.001: set it in the backbone's norm_cfg, as mmseg does",
            _DILATED,
        ),
    )


_DILATED = (
    "mmseg's backbone has a stride of 8 and dilates its last blocks: its features are those of torchvision's "
    "network with the same strides and dilations, not those that the classifier was trained on"
)


def _check_width(layer: str, found: int, known: int) -> None:
    if found != known:
        raise CheckpointError(
            f"a MobileNetV3 of another width: {layer} has {found} channels, mmseg's has {known}",
            hint="a reduced tail does not fit either: mmseg's last layer stays as wide as it is",
        )


provider = Converter(family="MobileNetV3", layouts=_LAYOUTS, describe=describe)
