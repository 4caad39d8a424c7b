"""The operations that turn tensors of one layout into those of another, and back.

No operation looks at a tensor's values or changes its dtype: bits are moved, never computed. So a
conversion and its reverse give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

__all__ = ["RENAME", "Kind", "Operation", "merge", "reorder", "reshape"]

Kind = Literal["renamed", "reshaped", "transposed", "merged", "reordered", "computed"]

Tensors = Sequence["torch.Tensor"]


@dataclass(frozen=True)
class Operation:
    """Turns tensors of one layout into tensors of the other."""

    kind: Kind
    text: str
    """A short description."""
    forward: Callable[[Tensors], Tensors]
    """The foreign layout's tensors, in the rule's order, to mmseg's.

    Raises:
        ValueError: the tensors do not have the shapes that the operation needs; the message says which.
    """
    backward: Callable[[Tensors], Tensors] | None
    """mmseg's tensors to the foreign layout's; ``None``: it cannot be reversed."""


def _same(tensors: Tensors) -> Tensors:
    return tensors


RENAME = Operation("renamed", "", _same, _same)


def merge(*shares: int) -> Operation:
    """Concatenate tensors along the first dimension.

    Args:
        *shares: The relative sizes of the tensors: ``merge(1, 2)`` for q, and k and v in one tensor.
    """

    def forward(tensors: Tensors) -> Tensors:
        import torch

        unit = tensors[0].shape[0] // shares[0]
        if len({tensor.dtype for tensor in tensors}) > 1:
            types = " and ".join(str(tensor.dtype).removeprefix("torch.") for tensor in tensors)
            raise ValueError(f"{types} are different types")
        for tensor, share in zip(tensors, shares, strict=True):
            if tensor.shape[0] != unit * share or tensor.shape[1:] != tensors[0].shape[1:]:
                shapes = " and ".join("x".join(map(str, each.shape)) for each in tensors)
                raise ValueError(f"{shapes} do not merge as {':'.join(map(str, shares))}")
        return [torch.cat(list(tensors))]

    def backward(tensors: Tensors) -> Tensors:
        import torch

        (tensor,) = tensors
        unit, rest = divmod(tensor.shape[0], sum(shares))
        if rest:
            raise ValueError(f"{tensor.shape[0]} rows do not split as {':'.join(map(str, shares))}")
        return torch.split(tensor, [unit * share for share in shares])

    return Operation("merged", f"along the rows, {':'.join(map(str, shares))}", forward, backward)


def reshape(
    text: str,
    forward: Callable[[torch.Tensor], torch.Tensor],
    backward: Callable[[torch.Tensor], torch.Tensor] | None,
) -> Operation:
    """Give one tensor other dimensions."""
    return _operation_on_one("reshaped", text, forward, backward)


def reorder(
    text: str,
    forward: Callable[[torch.Tensor], torch.Tensor],
    backward: Callable[[torch.Tensor], torch.Tensor] | None,
) -> Operation:
    """Move the elements of one tensor; its shape stays."""
    return _operation_on_one("reordered", text, forward, backward)


def _operation_on_one(
    kind: Kind,
    text: str,
    forward: Callable[[torch.Tensor], torch.Tensor],
    backward: Callable[[torch.Tensor], torch.Tensor] | None,
) -> Operation:
    def apply(tensors: Tensors) -> Tensors:
        return [forward(tensors[0])]

    def reverse(tensors: Tensors) -> Tensors:
        assert backward is not None
        return [backward(tensors[0])]

    return Operation(kind, text, apply, None if backward is None else reverse)
