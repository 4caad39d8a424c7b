"""``infer http``: a model that ``segplug serve`` serves as an engine. Needs no model where it runs."""

from __future__ import annotations

from segplug.engine import Engine
from segplug.hookspecs import hookimpl
from segplug.requests import InferRequest
from segplug.serving.options import RemoteOptions

__all__ = ["provider"]


class Http:
    """Runs images on a ``segplug serve``, on this machine or another.

    Images go out as PNG and label masks come back; preprocessing and sliding are the server's.
    """

    api_version = 1
    options = RemoteOptions
    takes = "url"

    @hookimpl
    def infer(self, request: InferRequest) -> Engine:
        """Reach ``request.url``; see :func:`segplug.hookspecs.infer`."""
        from segplug.serving.remote import open_remote

        return open_remote(request, "http")


provider = Http()
