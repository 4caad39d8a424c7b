"""PyTorch's errors in one line, and which of them mean a refused input or too little memory."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

__all__ = ["is_out_of_memory", "one_line", "raised_in", "refusals"]

_LONGEST = 300

_INSTALLED = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parent),
)
"""The folders of code that is no user's own."""

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""What PyTorch writes in a plain RuntimeError: always on the CPU, and on a GPU inside TorchScript."""


def refusals() -> tuple[type[Exception], ...]:
    """The errors of a network that cannot take an input, and of too little memory, often a RuntimeError."""
    import torch

    raised_by_script: type[Exception] = torch.jit.Error  # ``raise`` in TorchScript: no RuntimeError
    return (
        MemoryError,
        RuntimeError,
        ValueError,
        AssertionError,
        IndexError,
        TypeError,
        ArithmeticError,
        raised_by_script,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the memory of a device is not enough."""
    import torch

    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        part in text for part in _NO_MEMORY
    )


def one_line(error: BaseException) -> str:
    """What went wrong, without the traceback that a TorchScript error carries before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    interpreted = "TorchScript" in lines[0] or "Traceback" in str(error)
    return (lines[-1] if interpreted else lines[0])[:_LONGEST]


def raised_in(error: BaseException) -> str:
    """The innermost line of the user's own code in a traceback, as the end of a message.

    It reads ``, in line 3 of nets.py``.
    Code of Python and of installed packages is no user's own. ``""``: there is no such line.
    """
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not file.startswith(("<", *_INSTALLED)):
            place = f", in line {line} of {os.path.relpath(file)}"
    return place
