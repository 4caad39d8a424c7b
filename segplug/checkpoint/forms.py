"""What the files are called, and the words that reading and writing them share."""

from __future__ import annotations

__all__ = ["META_KEY", "NPZ", "PICKLES", "SAFETENSORS", "first_words"]

NPZ = ".npz"
SAFETENSORS = ".safetensors"
PICKLES = (".pth", ".pt")

META_KEY = "meta"
"""Where a file keeps the training run's notes; in a ``.safetensors`` header as JSON text."""


def first_words(error: Exception) -> str:
    """The first sentence of what a library says, on one line."""
    return " ".join(str(error).split()).split(". ")[0][:160]
