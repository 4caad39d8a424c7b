"""An ``infer`` target that runs images on a server. It imports its engine only when it opens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segplug.errors import UsageError
from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.providers import Backend

if TYPE_CHECKING:
    from segplug.engine import Engine
    from segplug.requests import InferRequest

__all__ = ["RemoteBackend", "RemoteOptions"]


@dataclass(frozen=True)
class RemoteOptions:
    """Options of an ``infer`` target that runs images on a server."""

    model_name: str | None = option(
        None,
        help="The model's name, if URL is the server's address only. Default: the server's only model.",
        metavar="NAME",
    )
    token: str | None = option(None, help="Bearer token, if the server requires one.", metavar="TOKEN")
    timeout: float = option(60.0, help="Seconds to wait for an answer.", minimum=0.1)


class RemoteBackend(Backend[RemoteOptions]):
    """The base class of such targets. The docstring of a subclass is its target's help text."""

    hook_version = 2
    options = RemoteOptions
    takes = "url"

    @hookimpl
    def infer(self, request: InferRequest[RemoteOptions]) -> Engine:
        """Connect to ``request.url``; see :func:`segplug.hookspecs.infer`.

        Raises:
            UsageError: the URL is missing or malformed, or the request chooses a device or threads.
            EngineError: the server cannot be reached, or does not describe its model.
        """
        from segplug.serving.client import Client, predictions_url
        from segplug.serving.remote_engine import RemoteEngine

        if request.device != "cpu" or request.threads is not None:
            raise UsageError("the server chooses its device and threads: leave them out")
        options = request.options
        token, timeout = options.token, options.timeout
        url = predictions_url(request.address, options.model_name, token=token, timeout=timeout)
        return RemoteEngine(Client(url, token=token, timeout=timeout), target=request.call.target)
