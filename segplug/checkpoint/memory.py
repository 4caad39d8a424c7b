"""Tensors and their storages, without needless copies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["align", "repeats", "unsupported_kind", "with_own_storage"]


def unsupported_kind(tensor: torch.Tensor) -> str:
    """Why a tensor is not plain numbers in memory, in one or two words; empty if it is."""
    import torch

    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "without values"
    return "" if tensor.layout == torch.strided else "sparse"


def repeats(tensors: Iterable[torch.Tensor]) -> tuple[int, int]:
    """Bytes of all tensors written out, and of the memory that they share.

    A stride of 0 makes a tensor of any size of one number. Tensors with an :func:`unsupported_kind` are not
    counted.
    """
    values, storages = 0, {}
    for tensor in tensors:
        if not unsupported_kind(tensor):
            values += tensor.numel() * tensor.element_size()
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return values, sum(storages.values())


def align(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor if its address is no multiple of its element size: compiled code may crash on others."""
    return tensor.clone() if tensor.data_ptr() % tensor.element_size() else tensor


def with_own_storage(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in a storage without other values, so that ``torch.save`` writes no others.

    It shares the memory of the given tensor, with its strides. It is copied only if other values lie between
    its own. Only for tensors without an :func:`unsupported_kind`.
    """
    import torch

    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    count = tensor.numel()
    if tensor.untyped_storage().nbytes() == count * tensor.element_size():
        return tensor
    if count == 0 or not _is_dense(tensor):
        return tensor.clone(memory_format=torch.contiguous_format)
    # A tensor made from an array has a storage as long as the array.
    flat = tensor.as_strided((count,), (1,)).view(torch.uint8)
    return torch.from_numpy(flat.numpy()).view(tensor.dtype).as_strided(tensor.shape, tensor.stride())


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether the values have no gaps or overlaps, in any order of the axes."""
    step = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length != 1 and stride != step:
            return False
        step *= length
    return True
