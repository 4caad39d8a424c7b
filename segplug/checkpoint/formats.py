"""The suffixes of checkpoint files, and names that reading and writing share."""

from __future__ import annotations

__all__ = ["CHECKPOINTS", "META_KEY", "NPZ", "PICKLES", "SAFETENSORS", "first_sentence"]

NPZ = ".npz"
SAFETENSORS = ".safetensors"
PICKLES = (".pth", ".pt")

CHECKPOINTS = {
    ".pth": "PyTorch checkpoint",
    ".pt": "PyTorch checkpoint",
    ".ckpt": "PyTorch checkpoint",
    ".bin": "PyTorch checkpoint",
    SAFETENSORS: "safetensors file",
    NPZ: "NumPy archive of weights",
    ".index.json": "index of a checkpoint in several files",
}
"""What the names of checkpoints end in that are read, and what such a file is."""

META_KEY = "meta"
"""The key of the training run's notes; a ``.safetensors`` header holds them as JSON text."""


def first_sentence(error: Exception) -> str:
    """The first sentence of a library's error message, on one line."""
    return " ".join(str(error).split()).split(". ")[0][:160]
