"""mmseg's ``resize`` wrapper, which reads its sizes as Python numbers only to word a training hint.

With ``align_corners`` it compares input and output sizes to warn that other sizes would align better. For
a network whose sizes are dynamic that comparison would fix them, and the hint is of no use to an export.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

__all__ = ["unhinted_resize"]

_WRAPPERS = ("mmseg.ops.wrappers", "mmseg.models.utils.wrappers")
"""Where mmsegmentation 0.x and 1.x keep ``resize``."""


@contextmanager
def unhinted_resize() -> Iterator[None]:
    """While the block runs, ``resize`` gives no hint unless it is called with ``warning=True``.

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
