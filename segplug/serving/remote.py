"""A server as an engine: the runtime gives it images, and scores what comes back over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.engine import EngineSpec
from segplug.errors import EngineError, ShapeError, UsageError
from segplug.serving.answers import png
from segplug.serving.client import Client, Reply, decode_mask, predictions_url
from segplug.serving.options import RemoteOptions

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.requests import InferRequest

__all__ = ["RemoteEngine", "open_remote"]

_MOST_AT_ONCE = 32
"""Requests that are under way together, however large a batch is."""


def open_remote(request: InferRequest, target: str) -> RemoteEngine:
    """The engine behind ``request.url``, for a provider whose options are :class:`RemoteOptions`.

    Raises:
        UsageError: there is no such address, or a device or threads are asked for.
        EngineError: the server cannot be reached, or does not say what it serves.
    """
    if request.url is None:
        raise UsageError(f"infer {target} takes the address of a server")
    if request.device != "cpu" or request.threads is not None:
        raise UsageError("the device and threads of a served model are the server's to choose")
    options: RemoteOptions = request.options or RemoteOptions()
    url = predictions_url(request.url, options.model_name, token=options.token, timeout=options.timeout)
    return RemoteEngine(Client(url, token=options.token, timeout=options.timeout), target=target)


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
        try:
            meta = client.meta()
        except BaseException:
            client.close()
            raise
        self._client = client
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="segplug-request")
        self._spec = EngineSpec(
            meta=meta,
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
