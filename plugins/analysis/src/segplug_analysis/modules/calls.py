"""Being told when a pass enters and leaves each module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["watching_calls"]


@contextmanager
def watching_calls(
    module: nn.Module,
    network: nn.Module,
    *,
    enter: Callable[[str], None],
    leave: Callable[[str, Any], None],
) -> Iterator[None]:
    """Tell of every call below ``network``, by path, until the context ends.

    ``forward`` itself is watched, not torch's hooks: frameworks call the ``forward`` of their heads directly,
    and hooks never hear of that. The network itself (path ``""``) is entered and left with ``module``, which
    may wrap it and call another of its methods.

    Args:
        module: What is called.
        network: ``module`` itself, or what it wraps.
        enter: Given the path of a module that begins.
        leave: Given the path and the output of a module that ends; ``None`` where it failed.
    """
    paths = {part: path for path, part in network.named_modules() if path}
    paths[module] = ""
    own = {part: part.__dict__["forward"] for part in paths if "forward" in part.__dict__}
    for part, path in paths.items():
        part.forward = _told(part.forward, path, enter, leave)
    try:
        yield
    finally:
        for part in paths:
            del part.forward
            if part in own:
                part.forward = own[part]


def _told(
    forward: Callable[..., Any], path: str, enter: Callable[[str], None], leave: Callable[[str, Any], None]
) -> Callable[..., Any]:
    def told(*args: Any, **kwargs: Any) -> Any:
        enter(path)
        output = None
        try:
            output = forward(*args, **kwargs)
            return output
        finally:
            leave(path, output)

    return told
