"""Find weights that are NaN or infinite: a network with such weights gives labels that mean nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from segplug.errors import NonfiniteError
from segplug.text import counted

if TYPE_CHECKING:
    import torch

__all__ = ["refuse_nonfinite"]

_NAMED = 3
"""How many tensors an error lists."""


def refuse_nonfinite(state: Mapping[str, Any], what: str) -> None:
    """Check that all floating-point tensors of a network's state are finite.

    Buffers that are no part of the state (masks of minus infinity, say) are made by code, and not checked.

    Args:
        state: Name to tensor; other values are ignored.
        what: What holds the weights, for the error: ``the weights of best.pth``.

    Raises:
        NonfiniteError: some are not; the first are named, with the number of such values.
    """
    found = dict(_nonfinite(state))
    if not found:
        return
    listed = ", ".join(
        f"{name} ({count} of {state[name].numel()})" for name, count in [*found.items()][:_NAMED]
    )
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    values = sum(found.values())
    raise NonfiniteError(
        f"{what} hold NaN or infinity, {counted(values, 'value')} in "
        f"{counted(len(found), 'tensor')}: {listed}{more}",
        hint="labels would mean nothing: take an earlier checkpoint; --allow-nonfinite reads it all the same",
    )


def _nonfinite(state: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    if not state:
        return
    import torch

    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or not _has_floats(tensor):
            continue
        with torch.no_grad():
            tensor = tensor.float() if tensor.element_size() == 1 else tensor  # numbers of 8 bits have no sum
            # A sum is NaN or infinite if one value is, and takes one pass without more memory.
            if tensor.numel() and not torch.isfinite(tensor.sum()).item():
                count = int((~torch.isfinite(tensor)).sum())
                if count:  # not only the sum was too large
                    yield name, count


def _has_floats(tensor: torch.Tensor) -> bool:
    plain = not (tensor.is_quantized or tensor.is_meta or tensor.is_sparse)
    is_packed = str(tensor.dtype) == "torch.float4_e2m1fn_x2"  # of 4 bits, which are always finite
    return plain and not is_packed and (tensor.is_floating_point() or tensor.is_complex())
