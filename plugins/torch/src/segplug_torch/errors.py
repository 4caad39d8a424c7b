"""PyTorch's errors in one line, and which of them mean a refused input or too little memory."""

from __future__ import annotations

__all__ = ["REFUSALS", "is_out_of_memory", "one_line"]

REFUSALS = (RuntimeError, ValueError, AssertionError, IndexError, TypeError, ArithmeticError)
"""The errors of a network that cannot take an input. Running out of memory is a RuntimeError, too."""

_LONGEST = 300

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""What PyTorch writes in a plain RuntimeError: always on the CPU, and on a GPU inside TorchScript."""


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
