"""An engine that sends images to a server and receives label maps."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.engine import EngineSpec
from segplug.errors import EngineError, ShapeError
from segplug.preprocessing import Decoding
from segplug.serving.answers import png
from segplug.serving.client import Client, Reply, decode_mask

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["RemoteEngine"]

_MAX_CONCURRENT = 32
"""Concurrent requests, however large a batch is."""


class RemoteEngine:
    """A model on a server as an engine (:class:`segplug.engine.Engine`).

    Its input is images: the server preprocesses, slides and makes labels. The images of a batch are sent in
    concurrent requests, which the server may run as one batch. Their labels are never unknown, whatever the
    server's setting is.

    Args:
        client: A client of the model; closed with the engine.
        target: The name of the ``infer`` target, for messages.

    Raises:
        EngineError: the server does not describe its model.
    """

    def __init__(self, client: Client, *, target: str) -> None:
        try:
            meta = client.meta()
        except BaseException:
            client.close()
            raise
        self._client = client
        self._pool = ThreadPoolExecutor(_MAX_CONCURRENT, thread_name_prefix="segplug-request")
        self._spec = EngineSpec(
            meta=meta,
            output="labels",
            backend=f"{target} {client.url}",
            fresh_output=True,
            input="image",
        )

    @property
    def spec(self) -> EngineSpec:
        """Images in, labels out, of every size that the server accepts."""
        return self._spec

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.generic]:
        """Labels ``(N, H, W)`` of images ``(N, H, W, C)``, which are sent as they are: as PNG or ``.npy``."""
        replies = list(self._pool.map(self._post, batch))
        return np.stack([self._labels(reply, image) for reply, image in zip(replies, batch, strict=True)])

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=True)
        self._client.close()

    def _post(self, image: npt.NDArray[Any]) -> Reply:
        # Only here a PNG gives the same array again, and it is smaller than a .npy file.
        fits = image.dtype == np.uint8 and image.shape[2] == 3 and self._spec.meta.decoding == Decoding()
        return self._client.post(png(image) if fits else _npy(image), unknown_below="0")

    def _labels(self, reply: Reply, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        height, width = image.shape[:2]
        if reply.status in (413, 422):
            hint = "give the server higher limits (segplug serve --max-bytes, --max-decoded, ...)"
            raise ShapeError(
                f"the server refuses a {height}x{width} image: {reply.reason}",
                hint=hint if reply.status == 413 else None,
            )
        if reply.status != 200:
            raise EngineError(f"{self._client.url} answered {reply.status}: {reply.reason}")
        labels = decode_mask(reply.body, self._client.url)
        if labels.shape != (height, width):
            raise EngineError(
                f"{self._client.url} answered with a mask of {labels.shape} for a {height}x{width} image"
            )
        return labels


def _npy(image: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, image, allow_pickle=False)
    return buffer.getvalue()
