"""All different masks that a server gave for each image. There should be one for each."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.serving.client import decode_mask

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["FIRST", "NOT_KEPT", "Masks"]

FIRST = 0
"""The position of an image's first mask."""

NOT_KEPT = -1
"""The position of a mask that is not kept, because there are too many different ones already."""

_MAX_KEPT = 8
"""How many other masks of one image are kept."""


class Masks:
    """The different masks of each image, in the order in which they came. Thread-safe.

    Args:
        first: The first mask of each image, ``(H, W)``.
    """

    def __init__(self, first: Sequence[npt.NDArray[Any]]) -> None:
        self._known = [[mask] for mask in first]
        self._bodies: list[bytes | None] = [None] * len(first)
        self._lock = threading.Lock()

    def position(self, index: int, body: bytes) -> int:
        """The position of a reply's mask among those of image ``index``: :data:`FIRST`, a later one, or
        :data:`NOT_KEPT`.

        Raises:
            EngineError: the reply has no mask.
        """
        # Equal bytes need not be decoded; decoding would delay the client's next request.
        if body == self._bodies[index]:
            return FIRST
        mask = decode_mask(body, "the server")
        with self._lock:
            known = self._known[index]
            for position, other in enumerate(known):
                if np.array_equal(mask, other):
                    if position == FIRST:
                        self._bodies[index] = body
                    return position
            if len(known) > _MAX_KEPT:
                return NOT_KEPT
            known.append(mask)
            return len(known) - 1

    def of(self, index: int) -> Sequence[npt.NDArray[Any]]:
        """The different masks of one image, in the order in which they came."""
        return self._known[index]

    def owner(self, mask: npt.NDArray[Any], *, without: int) -> int | None:
        """The image, without image ``without``, that has this as its first mask; ``None``: there is none."""
        for index, known in enumerate(self._known):
            if index != without and np.array_equal(known[FIRST], mask):
                return index
        return None
