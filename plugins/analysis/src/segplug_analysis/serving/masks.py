"""All masks that a server gave for each image. There should be one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.serving.client import decode_mask

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["FIRST", "UNKEPT", "Masks"]

FIRST = 0
"""The place of an image's first mask."""

UNKEPT = -1
"""The place of a mask that is not kept: a server that gives so many has been seen through."""

_MOST_KEPT = 8
"""Different masks of one image."""


class Masks:
    """The different masks of each image, in the order in which they came. Thread-safe.

    Args:
        first: The first mask of each image, ``(H, W)``.
    """

    def __init__(self, first: Sequence[npt.NDArray[Any]]) -> None:
        self._known = [[mask] for mask in first]
        self._bodies: list[bytes | None] = [None] * len(first)
        self._lock = threading.Lock()

    def place(self, index: int, body: bytes) -> int:
        """Which of the masks of image ``index`` a reply holds: :data:`FIRST`, another's place, or
        :data:`UNKEPT`.

        Raises:
            EngineError: it holds no mask.
        """
        # What is equal byte by byte need not be decoded, which would keep a client from sending.
        if body == self._bodies[index]:
            return FIRST
        mask = decode_mask(body, "the server")
        with self._lock:
            known = self._known[index]
            for place, other in enumerate(known):
                if np.array_equal(mask, other):
                    if place == FIRST:
                        self._bodies[index] = body
                    return place
            if len(known) > _MOST_KEPT:
                return UNKEPT
            known.append(mask)
            return len(known) - 1

    def of(self, index: int) -> Sequence[npt.NDArray[Any]]:
        """The different masks of one image; the first stands first."""
        return self._known[index]

    def owner(self, mask: npt.NDArray[Any], *, but: int) -> int | None:
        """The image, other than ``but``, whose first mask this is."""
        for index, known in enumerate(self._known):
            if index != but and np.array_equal(known[FIRST], mask):
                return index
        return None
