"""A server as an engine: the runtime gives it images, and scores what comes back over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.engine import EngineSpec
from segplug.errors import EngineError, ShapeError
from segplug.serving.answers import png
from segplug.serving.client import Client, Reply, decode_mask

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["RemoteEngine"]

_MOST_AT_ONCE = 32
"""Requests that are under way together, however large a batch is."""


class RemoteEngine:
    """A served model behind the engine contract (:class:`segplug.engine.Engine`).

    It takes images: preprocessing, sliding and labels are the server's. A batch is that many requests at
    once, which the server may put together.

    Args:
        client: The model's address; closed with the engine.
        target: The ``infer`` target, for people.

    Raises:
        EngineError: the server does not say what it serves.
    """

    def __init__(self, client: Client, *, target: str) -> None:
        self._client = client
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="segplug-request")
        self._spec = EngineSpec(
            meta=client.meta(),
            output="labels",
            backend=f"{target} {client.url}",
            fresh_output=True,
            input="image",
        )

    @property
    def spec(self) -> EngineSpec:
        """Images in, labels out, of any size that the server takes."""
        return self._spec

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.generic]:
        """Labels ``(N, H, W)`` of uint8 images ``(N, H, W, 3)``, BGR; sent as PNG, which loses nothing."""
        replies = list(self._pool.map(lambda image: self._client.post(png(image)), batch))
        return np.stack([self._labels(reply, image) for reply, image in zip(replies, batch, strict=True)])

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=True)
        self._client.close()

    def _labels(self, reply: Reply, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        height, width = image.shape[:2]
        if reply.status in (413, 422):
            raise ShapeError(f"the server does not take a {height}x{width} image: {reply.reason}")
        if reply.status != 200:
            raise EngineError(f"{self._client.url} answered {reply.status}: {reply.reason}")
        labels = decode_mask(reply.body, self._client.url)
        if labels.shape != (height, width):
            raise EngineError(
                f"{self._client.url} answered with a mask of {labels.shape} for {height}x{width}"
            )
        return labels
