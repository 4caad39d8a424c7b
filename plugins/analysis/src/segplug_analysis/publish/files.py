"""Published weights on disk: equal content gives equal bytes, so that the name's hash means something."""

from __future__ import annotations

import collections
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.checkpoint import META_KEY
from segplug.errors import ArtifactError, MissingDependencyError
from segplug_analysis.publish.contents import Published

if TYPE_CHECKING:
    import torch

__all__ = ["same_bits", "write_pickle", "write_safetensors"]


def write_pickle(content: Published, path: Path) -> None:
    """Write ``{"meta": ..., "state_dict": ...}`` as mmcv and mmseg read it."""
    import torch

    state = collections.OrderedDict(content.state)
    if content.versions:
        state._metadata = collections.OrderedDict(content.versions)  # type: ignore[attr-defined]
    with open(path, "wb") as file:
        # Given a path, PyTorch would write the file's name into it, and so into its hash.
        torch.save({META_KEY: dict(content.meta), "state_dict": state}, file)


def write_safetensors(content: Published, path: Path) -> None:
    """Write the tensors, and the notes as JSON text in the header."""
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "writing .safetensors needs safetensors", hint="pip install 'segplug-analysis[models]'"
        ) from error
    # The format has no tensors that share memory.
    alone = {name: tensor.clone() for name, tensor in content.state.items()}
    notes = json.dumps(dict(content.meta), sort_keys=True)
    save_file(alone, path, metadata={"format": "pt", META_KEY: notes})
    _sort_metadata(path)


def _sort_metadata(path: Path) -> None:
    """Put a header's own entries in order, in place: the library writes them in a different one each time."""
    with open(path, "r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise ArtifactError(f"the header of {path.name} is not written as it was expected")
        file.seek(8)
        file.write(text.ljust(length))


def same_bits(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> bool:
    """Whether two states have the same names, types, shapes and bits (a NaN equals itself)."""
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
