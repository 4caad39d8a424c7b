"""mmseg's ``resize`` function, which reads sizes as Python numbers only to give a hint for training.

With ``align_corners`` it compares input and output sizes, to warn that other sizes would align better. In a
network with free sizes that comparison would fix them, and the hint is of no use to an export.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from segplug_torch.exportable.registry import run_inside

__all__: list[str] = []

_WRAPPERS = ("mmseg.ops.wrappers", "mmseg.models.utils.wrappers")
"""Where mmsegmentation 0.x and 1.x keep ``resize``."""


@run_inside
@contextmanager
def _resize_without_hints() -> Iterator[None]:
    """Inside, ``resize`` gives no hint unless it is called with ``warning=True``.

    Networks hold references to the function, so its default is what can be changed from outside.
    """
    with ExitStack() as stack:
        for name in _WRAPPERS:
            resize = getattr(sys.modules.get(name), "resize", None)
            if resize is not None and resize.__defaults__ and resize.__defaults__[-1] is True:
                stack.enter_context(
                    mock.patch.object(resize, "__defaults__", (*resize.__defaults__[:-1], False))
                )
        yield
