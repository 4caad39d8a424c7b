"""The most that a size or a number may be: more is refused before memory or threads are taken for it.

Far above what any network is used with, and far below what a machine dies of.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = [
    "MOST_BATCH",
    "MOST_CHANNELS",
    "MOST_CLIENTS",
    "MOST_PIXELS",
    "MOST_REPORT_IMAGES",
    "MOST_RUNS",
    "MOST_THREADS",
    "MOST_VALUES",
    "MOST_WEIGHTS_RATIO",
    "most_threads",
    "most_weights",
    "why_no_input",
    "why_no_memory",
]

MOST_PIXELS = 178_956_970
"""Height times width of an image. This is Pillow's own limit, too."""
MOST_CHANNELS = 65_535
"""Channels of an image, or of scores: label maps are 16 bits wide at most."""
MOST_VALUES = 1 << 30
"""Values of a network's input, all images of a batch together: 4 GiB as float32."""
MOST_BATCH = 4096
"""Images in one batch, or under way at a time."""
MOST_REPORT_IMAGES = 200
"""Images on the page of a run, 200 to 350 kB each: browsers open larger pages slowly."""
MOST_RUNS = 1_000_000
"""Runs, requests or the like that are repeated to measure a time."""
MOST_CLIENTS = 1024
"""Clients that send to a server at the same time; each has a thread."""
MOST_CLASSES_OF_A_BIT_MASK = 15
"""Classes of a model that may give a pixel several: a label map of 16 bits holds their sets, and one more
value for pixels without data."""

MOST_THREADS = 4096
"""Threads of a run on any machine, where the number is written for another one."""

MOST_WEIGHTS_RATIO = 16
"""How many times the bytes that hold a checkpoint's weights they may have in memory."""

_FEW_WEIGHTS = 256 << 20
"""Bytes that weights may have in memory whatever holds them."""
_THREADS_PER_PROCESSOR = 4
_FEWEST_THREADS = 64
"""Threads that are allowed on a machine of few processors."""

_MEMORY_SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "std::bad_alloc",
    "insufficient memory",
    "failed to allocate memory",
    "out of memory",
)
"""How libraries other than Python and NumPy say that there is no memory, in small letters."""


def most_threads() -> int:
    """Threads that a run on this machine may have."""
    return max(_FEWEST_THREADS, _THREADS_PER_PROCESSOR * (os.cpu_count() or 1))


def most_weights(held: int) -> int:
    """Bytes that the weights of a checkpoint may have in memory, from those that hold them in its file."""
    return max(_FEW_WEIGHTS, MOST_WEIGHTS_RATIO * held)


def why_no_input(size: Sequence[int], *, channels: int = 3, batch: int = 1) -> str | None:
    """Why no network is given an input of this size; ``None``: it is not too large.

    Args:
        size: (height, width) in pixels.
        channels: Channels of an image.
        batch: Images.
    """
    height, width = size
    if height * width > MOST_PIXELS:
        return f"an input of {height}x{width} is too large: at most {MOST_PIXELS:,} pixels"
    if batch * channels * height * width > MOST_VALUES:
        return (
            f"an input of {batch}x{channels}x{height}x{width} is too large: at most {MOST_VALUES:,} values "
            "in images x channels x height x width"
        )
    return None


def why_no_memory(error: BaseException) -> str | None:
    """One line for an error that means that there is not enough memory; ``None``: it means something else."""
    if not isinstance(error, (MemoryError, RuntimeError)) and type(error).__module__ != "cv2":
        return None
    text = " ".join(str(error).split())[:200]
    if isinstance(error, MemoryError):
        return f"not enough memory: {text}" if text else "not enough memory"
    return f"not enough memory: {text}" if any(sign in text.lower() for sign in _MEMORY_SIGNS) else None
