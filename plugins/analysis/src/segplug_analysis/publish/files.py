"""Write published weights. Equal content gives equal bytes, and so an equal hash in the name."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.checkpoint import META_KEY, SAFETENSORS, write_pickle, write_safetensors
from segplug_analysis.publish.contents import Published

if TYPE_CHECKING:
    import torch

__all__ = ["same_bits", "write"]


def write(content: Published, path: Path) -> None:
    """Write ``{"meta": ..., "state_dict": ...}`` as mmcv and mmseg read it, or a ``.safetensors`` file.

    Raises:
        CheckpointError: a ``.safetensors`` file cannot hold a tensor's type.
    """
    if path.suffix.lower() == SAFETENSORS:
        write_safetensors(path, content.state, content.meta)
        return
    state = collections.OrderedDict(content.state)
    if content.versions:
        state._metadata = collections.OrderedDict(content.versions)  # type: ignore[attr-defined]
    write_pickle(path, {META_KEY: dict(content.meta), "state_dict": state})


def same_bits(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> bool:
    """Whether two states have the same names, types, shapes and bits (equal NaNs are equal)."""
    import torch

    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype
        and ours[name].shape == theirs[name].shape
        and torch.equal(_bits(ours[name]), _bits(theirs[name]))
        for name in ours
    )


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)
