"""``convert_weights mobilenet-v2``: torchvision's and timm's MobileNetV2 for mmseg's MobileNetV2."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

from segplug.errors import CheckpointError
from segplug_converters import Converter, Layout, Shapes, Variant, drop
from segplug_converters.convolutions import (
    CONVOLUTIONAL,
    NamedShape,
    check_network,
    conv_module,
    module,
    multiple_of_eight,
)
from segplug_converters.names import Words
from segplug_converters.rules import Rule

__all__ = ["provider"]

_STAGES = ((16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1))
"""Channels at width 1, and blocks, of layer1 to layer7."""

_FIRSTS = tuple(accumulate((blocks for _, blocks in _STAGES), initial=1))
"""torchvision numbers all blocks in one list: the number of each layer's first block, and of the module
after the last block."""

_BLOCK_WORDS = ("t", "u", "v", "w", "x", "y", "z")
"""For each layer, the variable for torchvision's numbers of its blocks."""

_WORDS: Words = {
    **CONVOLUTIONAL,
    "c": ("0", "1"),
    **{
        word: tuple(map(str, range(first, after)))
        for word, (first, after) in zip(_BLOCK_WORDS, pairwise(_FIRSTS), strict=True)
    },
}

_Block = Callable[[str, str], Iterator[Rule]]
"""Gives the rules for a block, from its foreign name and mmseg's."""

_LAST = "the last convolution, which mmseg's backbone lacks"


def _nested(theirs: str, ours: str) -> Iterator[Rule]:
    yield from conv_module(f"{theirs}.conv.<c>.0", f"{theirs}.conv.<c>.1", f"{ours}.conv.<c>")
    yield from conv_module(f"{theirs}.conv.2", f"{theirs}.conv.3", f"{ours}.conv.2")


def _nested_first(theirs: str, ours: str) -> Iterator[Rule]:
    yield from conv_module(f"{theirs}.conv.0.0", f"{theirs}.conv.0.1", f"{ours}.conv.0")
    yield from conv_module(f"{theirs}.conv.1", f"{theirs}.conv.2", f"{ours}.conv.1")


def _flat(theirs: str, ours: str) -> Iterator[Rule]:
    yield from _flat_first(theirs, ours)
    yield from conv_module(f"{theirs}.conv.6", f"{theirs}.conv.7", f"{ours}.conv.2")


def _flat_first(theirs: str, ours: str) -> Iterator[Rule]:
    yield from conv_module(f"{theirs}.conv.0", f"{theirs}.conv.1", f"{ours}.conv.0")
    yield from conv_module(f"{theirs}.conv.3", f"{theirs}.conv.4", f"{ours}.conv.1")


def _rules_of_one_list(first_block: _Block, block: _Block) -> tuple[Rule, ...]:
    """The rules of a network with stem, blocks and last convolution in one list, ``features.0`` to ``18``."""
    rules: list[Rule] = [*conv_module("features.0.0", "features.0.1", "conv1")]
    rules += first_block("features.<t>", "layer1.<t-1>")
    for layer, (word, first) in enumerate(zip(_BLOCK_WORDS[1:], _FIRSTS[1:-1], strict=True), 2):
        rules += block(f"features.<{word}>", f"layer{layer}.<{word}-{first}>")
    last = f"features.{_FIRSTS[-1]}"
    return (*rules, drop(f"{last}.<*>", _LAST), drop("classifier.<*>", "the classifier"))


TORCHVISION = Layout(
    name="torchvision",
    description="torchvision's MobileNetV2",
    anchors=(("features.1.conv.0.0.weight", "layer1.0.conv.0.conv.weight"),),
    words=_WORDS,
    rules=_rules_of_one_list(_nested_first, _nested),
)

FLAT = Layout(
    name="flat",
    description="MobileNetV2 whose blocks are flat lists, as in tonylins/pytorch-mobilenet-v2",
    anchors=(("features.1.conv.0.weight", "layer1.0.conv.0.conv.weight"),),
    words=_WORDS,
    rules=_rules_of_one_list(_flat_first, _flat),
)

TIMM = Layout(
    name="timm",
    description="timm's MobileNetV2",
    anchors=(
        ("conv_stem.weight", "conv1.conv.weight"),
        ("blocks.<s>.<i>.conv_pwl.weight", "layer<s+1>.<i>.conv.2.conv.weight"),
    ),
    words=_WORDS,
    rules=(
        *conv_module("conv_stem", "bn1", "conv1"),
        *conv_module("blocks.0.0.conv_dw", "blocks.0.0.bn1", "layer1.0.conv.0"),
        *conv_module("blocks.0.0.conv_pw", "blocks.0.0.bn2", "layer1.0.conv.1"),
        *conv_module("blocks.<s>.<i>.conv_pw", "blocks.<s>.<i>.bn1", "layer<s+1>.<i>.conv.0"),
        *conv_module("blocks.<s>.<i>.conv_dw", "blocks.<s>.<i>.bn2", "layer<s+1>.<i>.conv.1"),
        *conv_module("blocks.<s>.<i>.conv_pwl", "blocks.<s>.<i>.bn3", "layer<s+1>.<i>.conv.2"),
        drop("conv_head.<*>", _LAST),
        drop("bn2.<*>", _LAST),
        drop("classifier.<*>", "the classifier"),
    ),
)

_WIDTHS = (
    *(1.0, 0.75, 0.35, 0.25),
    *(tenths / 10 for tenths in range(1, 41)),
    *(percent / 100 for percent in range(5, 401)),
)
"""Width factors to try. Several can give the same channels: those in common use come first."""


def describe(shapes: Shapes) -> Variant:
    """Read the width factor from the channels of all layers."""
    counts = tuple(shapes.count(f"layer{layer}.<n>.conv.1.conv.weight") for layer in range(1, 8))
    if counts != tuple(blocks for _, blocks in _STAGES):
        raise CheckpointError(
            f"mmseg has no MobileNetV2 with {', '.join(map(str, counts))} blocks in its layers"
        )
    channels = [shapes.of("conv1.conv.weight")[0], shapes.of("layer1.0.conv.1.conv.weight")[0]]
    channels += [shapes.of(f"layer{layer}.0.conv.2.conv.weight")[0] for layer in range(2, 8)]
    width = next((each for each in _WIDTHS if _channels(each) == channels), None)
    if width is None:
        listed = ", ".join(map(str, channels))
        raise CheckpointError(f"no width factor gives a MobileNetV2 of {listed} channels")
    name = "MobileNetV2" if width == 1 else f"MobileNetV2 x{width:g}"
    check_network(shapes, name, _network(channels))
    return Variant(
        name,
        {
            "type": "MobileNetV2",
            "widen_factor": width,
            "strides": [1, 2, 2, 2, 1, 2, 1],
            "dilations": [1, 1, 1, 1, 1, 1, 1],
            "norm_cfg": {"type": "BN"},
            "act_cfg": {"type": "ReLU6"},
        },
        (_DILATED,),
    )


_DILATED = (
    "mmseg's segmentation configs set other strides and dilations for the last layers: the weights fit, but "
    "the features are not those that the classifier was trained on"
)


def _channels(width: float) -> list[int]:
    """The channels of mmseg's stem and layers at a width factor."""
    return [multiple_of_eight(full * width) for full in (32, *(full for full, _ in _STAGES))]


def _network(channels: Sequence[int]) -> Iterator[NamedShape]:
    """The tensors of mmseg's network with these channels of the stem and the layers."""
    before = channels[0]
    yield from module("conv1", before, 3, 3)
    for layer, (after, (_, blocks)) in enumerate(zip(channels[1:], _STAGES, strict=True), 1):
        for block in range(blocks):
            inside = before if layer == 1 else _EXPANSION * before
            widen = [] if layer == 1 else [(inside, before, 1)]
            for place, sizes in enumerate([*widen, (inside, 1, 3), (after, inside, 1)]):
                yield from module(f"layer{layer}.{block}.conv.{place}", *sizes)
            before = after


_EXPANSION = 6
"""A block expands its channels by this factor inside; the first block does not."""


provider = Converter(
    family="MobileNetV2",
    about="torchvision's and timm's MobileNetV2 for mmseg's MobileNetV2.",
    layouts=(TORCHVISION, FLAT, TIMM),
    describe=describe,
)
