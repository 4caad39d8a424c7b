"""``convert_weights stdc``: STDC1 and STDC2 of the official repository for mmseg's STDCNet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from segplug.errors import CheckpointError
from segplug_converters import Converter, Layout, Operation, Shapes, Variant, drop
from segplug_converters.convolutions import CONVOLUTIONAL, NamedShape, check_network, conv_module, module
from segplug_converters.rules import Move, Rule, first_if_equal

__all__ = ["provider"]

_BLOCKS = {1: (2, 2, 2), 2: (4, 5, 3)}
"""STDC1 and STDC2: blocks in each of the three stages, which come after two convolutions."""

_FIRST = 2
"""The official number of the first block, and mmseg's number of the first stage."""

_CONVOLUTIONS = ("0", "1", "2", "3")
"""The numbers of the convolutions in a block."""

_BLOCK_WORDS = ("u", "v", "w")
"""For each stage, the variable for the official numbers of its blocks."""

_OUTSIDE_STAGES: tuple[Rule, ...] = (
    *conv_module("features.0.conv", "features.0.bn", "stages.0"),
    *conv_module("features.1.conv", "features.1.bn", "stages.1"),
    *conv_module(
        "conv_last.conv", "conv_last.bn", "final_conv", optional="the last convolution", optional_target=True
    ),
    drop("x<n>.<*>", "the same tensors as features.*"),
    drop("fc.<*>", "the classifier"),
    drop("bn.<*>", "the classifier"),
    drop("linear.<*>", "the classifier"),
)


def _concatenating(stage: int, word: str, first: int) -> Iterator[Rule]:
    """The rules of a stage whose blocks concatenate the outputs of their convolutions ("cat")."""
    theirs, ours = f"features.<{word}>.conv_list.<k>", f"stages.{stage}.<{word}-{first}>.layers.<k>"
    yield from conv_module(f"{theirs}.conv", f"{theirs}.bn", ours)
    strided = f"features.{first}.avd_layer"
    yield from conv_module(f"{strided}.0", f"{strided}.1", f"stages.{stage}.0.downsample")


def _adding(stage: int, word: str, first: int) -> Iterator[Rule]:
    """The rules of a stage whose blocks also add their input ("add"); ``word``: all but its first block."""
    theirs, ours = f"features.<{word}>.conv_list.<k>", f"stages.{stage}.<{word}-{first}>.layers.<k>"
    yield from conv_module(f"{theirs}.conv", f"{theirs}.bn", ours)
    theirs, ours = f"features.{first}", f"stages.{stage}.0"
    yield from conv_module(f"{theirs}.conv_list.0.conv", f"{theirs}.conv_list.0.bn", f"{ours}.layers.0.0")
    yield from conv_module(f"{theirs}.conv_list.<l>.conv", f"{theirs}.conv_list.<l>.bn", f"{ours}.layers.<l>")
    yield from conv_module(f"{theirs}.skip.0", f"{theirs}.skip.1", f"{ours}.skip.0")
    yield from conv_module(f"{theirs}.skip.2", f"{theirs}.skip.3", f"{ours}.skip.1")
    strided = f"{theirs}.avd_layer"
    for once in conv_module(f"{strided}.0", f"{strided}.1", f"{ours}.downsample"):
        (name,) = once.targets
        again = name.replace("downsample", "layers.0.1")
        yield Move(once.sources, (name, again), _TWICE, optional=once.optional)


_TWICE = Operation("renamed", "to two names", lambda tensors: [tensors[0]] * 2, first_if_equal)
"""mmseg's block holds the strided convolution twice."""


def _layout(size: int, *, adding: bool) -> Layout:
    kind = ", type add" if adding else ""
    ranges = pairwise(accumulate(_BLOCKS[size], initial=_FIRST))
    words = {"k": _CONVOLUTIONS, "l": _CONVOLUTIONS[1:]}
    rules: list[Rule] = [*_OUTSIDE_STAGES]
    for stage, (word, (first, after)) in enumerate(zip(_BLOCK_WORDS, ranges, strict=True), _FIRST):
        words[word] = tuple(map(str, range(first + adding, after)))
        rules += _adding(stage, word, first) if adding else _concatenating(stage, word, first)
    return Layout(
        name=f"stdc{size}-add" if adding else f"stdc{size}",
        description=f"the official STDC{size}{kind}, alone or in a segmentation network",
        anchors=(("features.0.conv.weight", "stages.0.conv.weight"),),
        words={**CONVOLUTIONAL, **words},
        rules=tuple(rules),
    )


def describe(shapes: Shapes) -> Variant:
    """Read from the blocks whether it is STDC1 or STDC2, and the widths."""
    adding = "stages.2.0.skip.0.conv.weight" in shapes
    blocks = tuple(shapes.count(f"stages.{stage}.<n>.layers.1.conv.weight") for stage in (2, 3, 4))
    if blocks not in _BLOCKS.values():
        listed = ", ".join(map(str, blocks))
        raise CheckpointError(f"mmseg has no STDCNet with {listed} blocks in its stages")
    size = next(size for size, known in _BLOCKS.items() if known == blocks)
    channels = [shapes.of(f"stages.{stage}.conv.weight")[0] for stage in (0, 1)]
    # A block's convolutions after the first have a quarter, an eighth and an eighth of its channels.
    channels += [4 * shapes.of(f"stages.{stage}.0.layers.1.conv.weight")[0] for stage in (2, 3, 4)]
    final = "final_conv.conv.weight" in shapes
    before = shapes.of("stages.0.conv.weight")[1]
    network = _network(size, (before, *channels), adding=adding, final=final)
    check_network(shapes, f"STDC{size}", network)
    settings = {
        "type": "STDCNet",
        "stdc_type": f"STDCNet{size}",
        "in_channels": before,
        "channels": channels,
        "bottleneck_type": "add" if adding else "cat",
        "norm_cfg": {"type": "BN"},
        "act_cfg": {"type": "ReLU"},
        "num_convs": len(_CONVOLUTIONS),
        "with_final_conv": final,
    }
    notes = (_FINAL_CONV,) if final else ()
    return Variant(f"STDC{size}", settings, notes)


def _network(size: int, channels: Sequence[int], *, adding: bool, final: bool) -> Iterator[NamedShape]:
    """The tensors of mmseg's network; ``channels`` are those of the image and of each stage's output."""
    for stage in range(_FIRST):
        yield from module(f"stages.{stage}", channels[stage + 1], channels[stage], 3)
    for stage, count in enumerate(_BLOCKS[size], _FIRST):
        before, after = channels[stage : stage + 2]
        yield from _block(f"stages.{stage}.0", before, after, adding=adding, strided=True)
        for block in range(1, count):
            yield from _block(f"stages.{stage}.{block}", after, after, adding=adding, strided=False)
    if final:
        yield from module("final_conv", max(_LEAST_OF_LAST, channels[-1]), channels[-1], 1)


_LEAST_OF_LAST = 1024
"""The least channels of the last convolution: more only if the last stage has more."""


def _block(name: str, before: int, after: int, *, adding: bool, strided: bool) -> Iterator[NamedShape]:
    half = after // 2
    yield from module(f"{name}.layers.0{'.0' if strided and adding else ''}", half, before, 1)
    widths = (half, after // 4, after // 8, after // 8)
    for place, (wider, narrower) in zip(_CONVOLUTIONS[1:], pairwise(widths), strict=True):
        yield from module(f"{name}.layers.{place}", narrower, wider, 3)
    if strided:
        yield from module(f"{name}.downsample", half, 1, 3)
    if strided and adding:
        yield from module(f"{name}.layers.0.1", half, 1, 3)
        yield from module(f"{name}.skip.0", before, 1, 3)
        yield from module(f"{name}.skip.1", after, before, 1)


_FINAL_CONV = (
    "with_final_conv=True makes mmseg's last output that of conv_last; with mmseg's own configs, which do "
    "not set it, the last output is that of the last block"
)

provider = Converter(
    family="STDC",
    about="STDC1 and STDC2 of the official repository for mmseg's STDCNet.",
    layouts=tuple(_layout(size, adding=adding) for adding in (False, True) for size in _BLOCKS),
    describe=describe,
)
