"""Rules: how the names of one layout become mmseg's. The rules of a layout form a table.

::

    rules = (
        move("cls_token", "cls_token"),
        move("blocks.<i>.norm<n>.<p>", "layers.<i>.ln<n>.<p>"),
        join(("blocks.<i>.q.<p>", "blocks.<i>.kv.<p>"), "layers.<i>.in_proj_<p>", merge(1, 2)),
        share("bias_table", "layers.<i>.bias_table"),
        make("layers.<i>.index", "layers.<i>.table", "the network's own constant", index_of),
        drop("head.<*>", "the classifier"),
    )

See :mod:`segplug_converters.names` for the variables in angle brackets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segplug_converters.operations import RENAME, Operation

if TYPE_CHECKING:
    import torch

__all__ = ["Drop", "Make", "Move", "Rule", "drop", "first_if_equal", "join", "make", "move", "share"]


@dataclass(frozen=True)
class Move:
    """Tensors that both networks have."""

    sources: tuple[str, ...]
    """Templates of the foreign names."""
    targets: tuple[str, ...]
    """Templates of mmseg's names; with the variables of ``sources``, unless ``shared``."""
    operation: Operation = RENAME
    optional: str = ""
    """The part that a file may lack, in a few words; empty if it must be there. Rules with the same words go
    together: the file has all of their tensors or none. So a file that lost one of them is an error."""
    optional_target: bool = False
    """Whether mmseg's network can be built without it; its config decides."""
    shared: bool = False
    """Whether the one source, which has no variables, is copied to the target of every block."""


@dataclass(frozen=True)
class Make:
    """A tensor of mmseg that the foreign file lacks and that can be computed: a constant or initial value."""

    target: str
    like: str
    """mmseg's name of the tensor that it is computed from. It has the variables of ``target``, or none: then
    all are computed from one tensor."""
    why: str
    compute: Callable[[torch.Tensor], torch.Tensor]
    optional_target: bool = True


@dataclass(frozen=True)
class Drop:
    """Tensors that mmseg's backbone does not have."""

    source: str
    why: str


Rule = Move | Make | Drop


def move(
    source: str,
    target: str,
    operation: Operation = RENAME,
    *,
    optional: str = "",
    optional_target: bool = False,
) -> Move:
    """A rule that turns one tensor into one tensor."""
    return Move((source,), (target,), operation, optional=optional, optional_target=optional_target)


def join(sources: tuple[str, ...], target: str, operation: Operation, *, optional: str = "") -> Move:
    """A rule that turns several tensors into one."""
    return Move(sources, (target,), operation, optional=optional)


def share(source: str, target: str) -> Move:
    """A rule that copies one tensor, which all blocks use, to a tensor of each block.

    It can be reversed as long as the blocks have equal values. Training makes them differ.
    """
    return Move((source,), (target,), _SHARED, shared=True)


def make(
    target: str,
    like: str,
    why: str,
    compute: Callable[[torch.Tensor], torch.Tensor],
    *,
    optional_target: bool = True,
) -> Make:
    """A rule that computes a tensor from another one of mmseg's."""
    return Make(target, like, why, compute, optional_target=optional_target)


def drop(source: str, why: str) -> Drop:
    """A rule that leaves tensors out."""
    return Drop(source, why)


def first_if_equal(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """The first of several equal tensors: reverses an operation that copies one tensor.

    Raises:
        ValueError: they differ.
    """
    import torch

    if not all(torch.equal(tensor, tensors[0]) for tensor in tensors[1:]):
        raise ValueError("their values differ")
    return tensors[:1]


_SHARED = Operation("renamed", "for every block", RENAME.forward, first_if_equal)
