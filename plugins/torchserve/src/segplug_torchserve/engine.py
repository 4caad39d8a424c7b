"""``infer torchserve``: a model on a TorchServe as an engine. Needs no TorchServe where it runs."""

from __future__ import annotations

from segplug.engine import Engine
from segplug.hookspecs import hookimpl
from segplug.requests import InferRequest
from segplug.serving.options import RemoteOptions

__all__ = ["provider"]


class TorchServe:
    """Runs images on a TorchServe, whose model is one that segplug packed.

    Images go out as PNG and label masks come back; preprocessing and sliding are the server's.
    """

    api_version = 1
    options = RemoteOptions
    takes = "url"

    @hookimpl
    def infer(self, request: InferRequest) -> Engine:
        """Reach ``request.url``; see :func:`segplug.hookspecs.infer`."""
        from segplug.serving.remote import open_remote

        return open_remote(request, "torchserve")


provider = TorchServe()
