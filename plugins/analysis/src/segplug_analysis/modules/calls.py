"""Callbacks for every module that a pass enters and leaves."""

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
    """Call ``enter`` and ``leave`` for every call of a module in ``network``, until the context ends.

    ``forward`` itself is replaced: frameworks call the ``forward`` of their heads directly, which does not
    run torch's hooks. The network itself (path ``""``) is entered and left with ``module``, which may wrap
    it and call another of its methods.

    Args:
        module: The module that is called.
        network: ``module`` itself, or what it wraps.
        enter: Called with the path of a module before it runs.
        leave: Called with the path and the output of a module after it ran; ``None``: it failed.
    """
    paths = {part: path for path, part in network.named_modules() if path}
    paths[module] = ""
    own = {part: part.__dict__["forward"] for part in paths if "forward" in part.__dict__}
    for part, path in paths.items():
        part.forward = _watched(part.forward, path, enter, leave)
    try:
        yield
    finally:
        for part in paths:
            del part.forward
            if part in own:
                part.forward = own[part]


def _watched(
    forward: Callable[..., Any], path: str, enter: Callable[[str], None], leave: Callable[[str, Any], None]
) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        enter(path)
        output = None
        try:
            output = forward(*args, **kwargs)
            return output
        finally:
            leave(path, output)

    return watched
