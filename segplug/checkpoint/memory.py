"""Tensors and the memory that they lie in: nothing is copied that need not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["aligned", "alone", "kind"]


def kind(tensor: torch.Tensor) -> str:
    """What a tensor is, other than numbers in memory one after the other; empty: it is that."""
    import torch

    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "without values"
    return "" if tensor.layout == torch.strided else "sparse"


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor at an address that its type may have: compiled code may crash on others."""
    return tensor.clone() if tensor.data_ptr() % tensor.element_size() else tensor


def alone(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in a storage that holds nothing else, so that nothing else is written with it.

    It goes on sharing the memory; it is copied only where other values lie between its own. Strides stay
    as they are otherwise. For tensors that :func:`kind` has no word for.
    """
    import torch

    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    count = tensor.numel()
    if tensor.untyped_storage().nbytes() == count * tensor.element_size():
        return tensor
    if count == 0 or not _is_dense(tensor):
        return tensor.clone(memory_format=torch.contiguous_format)
    # A tensor made from an array has a storage of the array's extent.
    flat = tensor.as_strided((count,), (1,)).view(torch.uint8)
    return torch.from_numpy(flat.numpy()).view(tensor.dtype).as_strided(tensor.shape, tensor.stride())


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the values lie without gaps or overlaps, in whatever order of the axes."""
    step = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length != 1 and stride != step:
            return False
        step *= length
    return True
