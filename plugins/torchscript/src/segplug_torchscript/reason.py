"""PyTorch's errors in one line."""

from __future__ import annotations

__all__ = ["reason"]


def reason(error: BaseException) -> str:
    """What went wrong, without the traceback of code that a TorchScript error carries before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    interpreted = "TorchScript" in lines[0] or "Traceback" in str(error)
    return (lines[-1] if interpreted else lines[0])[:300]
