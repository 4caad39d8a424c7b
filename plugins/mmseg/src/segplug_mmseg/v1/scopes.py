"""Where mmengine looks for a class that a config names without a package."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from segplug_mmseg.compat import process_lock

__all__ = ["data_set_class", "default_scope"]


@contextlib.contextmanager
def default_scope(name: str | None) -> Iterator[None]:
    """Let mmengine look for names in this scope first, while the block runs. It holds the process's lock.

    Args:
        name: The ``default_scope`` of a config; ``None``: it says none, and mmseg's counts.
    """
    from mmengine.registry import DefaultScope

    with process_lock, DefaultScope.overwrite_default_scope(name or "mmseg"):
        yield


def data_set_class(kind: Any) -> Any:
    """The class of a data set that a ``type`` means in the default scope; ``None``: no registry has it."""
    if not isinstance(kind, str):
        return kind
    from mmseg.registry import DATASETS

    with DATASETS.switch_scope_and_registry(None) as registry:
        return registry.get(kind)
