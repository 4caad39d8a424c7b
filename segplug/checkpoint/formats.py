"""The suffixes of checkpoint files, and names that reading and writing share."""

from __future__ import annotations

__all__ = ["META_KEY", "NPZ", "PICKLES", "SAFETENSORS", "first_sentence"]

NPZ = ".npz"
SAFETENSORS = ".safetensors"
PICKLES = (".pth", ".pt")

META_KEY = "meta"
"""The key of the training run's notes; a ``.safetensors`` header holds them as JSON text."""


def first_sentence(error: Exception) -> str:
    """The first sentence of a library's error message, on one line."""
    return " ".join(str(error).split()).split(". ")[0][:160]
