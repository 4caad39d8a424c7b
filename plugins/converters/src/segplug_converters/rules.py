"""Rules: how the names of one layout become mmseg's. A layout's rules read like the table they are.

::

    rules = (
        move("cls_token", "cls_token"),
        move("blocks.<i>.norm<n>.<p>", "layers.<i>.ln<n>.<p>"),
        join(("blocks.<i>.q.<p>", "blocks.<i>.kv.<p>"), "layers.<i>.in_proj_<p>", merge(1, 2)),
        share("bias_table", "layers.<i>.bias_table"),
        make("layers.<i>.index", "layers.<i>.table", "the network's own constant", index_of),
        drop("head.<*>", "the classifier"),
    )

See :mod:`segplug_converters.names` for what stands in angle brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segplug_converters.operations import RENAME, Operation

if TYPE_CHECKING:
    import torch

__all__ = ["Drop", "Make", "Move", "Rule", "drop", "join", "make", "move", "share", "the_one"]


@dataclass(frozen=True)
class Move:
    """Tensors that are there on both sides."""

    sources: tuple[str, ...]
    """Templates of the foreign names."""
    targets: tuple[str, ...]
    """Templates of mmseg's names; with the variables of ``sources``, unless ``shared``."""
    operation: Operation = RENAME
    optional: str = ""
    """What a file may be without, in a few words. All tensors of all rules with the same words are there, or
    none is: a file that lost one of them is not taken for one that never had them."""
    spare: bool = False
    """mmseg's network may be built without it, as a config says."""
    shared: bool = False
    """The one source, which has no variables, goes to the target of every block."""


@dataclass(frozen=True)
class Make:
    """A tensor of mmseg that the foreign file lacks and that is known: a constant, or a starting value."""

    target: str
    like: str
    """mmseg's name of the tensor that it is made from; with the variables of ``target``, or with none: then
    all are made from the one tensor."""
    why: str
    compute: Callable[[torch.Tensor], torch.Tensor]
    spare: bool = True


@dataclass(frozen=True)
class Drop:
    """Tensors that mmseg's backbone has no place for."""

    source: str
    why: str


Rule = Move | Make | Drop


def move(
    source: str,
    target: str,
    operation: Operation = RENAME,
    *,
    optional: str = "",
    spare: bool = False,
) -> Move:
    """One tensor to one tensor."""
    return Move((source,), (target,), operation, optional=optional, spare=spare)


def join(sources: tuple[str, ...], target: str, operation: Operation, *, optional: str = "") -> Move:
    """Several tensors to one."""
    return Move(sources, (target,), operation, optional=optional)


def share(source: str, target: str) -> Move:
    """One tensor, which all blocks use, to a tensor of each block.

    The way back is there while the blocks still have the same values: training makes them differ.
    """
    return Move((source,), (target,), _SHARED, shared=True)


def make(
    target: str, like: str, why: str, compute: Callable[[torch.Tensor], torch.Tensor], *, spare: bool = True
) -> Make:
    """A tensor that follows from another one of mmseg's."""
    return Make(target, like, why, compute, spare=spare)


def drop(source: str, why: str) -> Drop:
    """Tensors to leave out."""
    return Drop(source, why)


def the_one(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """The first, of which all others are copies: the way back of what is there more than once.

    Raises:
        ValueError: they differ.
    """
    import torch

    if not all(torch.equal(tensor, tensors[0]) for tensor in tensors[1:]):
        raise ValueError("their values differ")
    return tensors[:1]


_SHARED = Operation("renamed", "for every block", RENAME.forward, the_one)
