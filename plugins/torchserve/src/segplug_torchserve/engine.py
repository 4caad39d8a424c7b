"""``infer torchserve``: a model on a TorchServe as an engine. Needs no TorchServe where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from segplug.engine import Engine
from segplug.errors import UsageError
from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.requests import InferRequest

__all__ = ["Options", "provider"]

_PREDICTIONS = "/predictions/"


@dataclass(frozen=True)
class Options:
    """Options of ``infer torchserve``."""

    model_name: str | None = option(
        None, help="The model's name, where URL is only the server's address.", metavar="NAME"
    )
    token: str | None = option(None, help="The server's inference token, if it wants one.", metavar="TOKEN")
    timeout: float = option(60.0, help="Seconds to wait for an answer.", minimum=0.1)


class TorchServe:
    """Runs images on a TorchServe, whose model is one that segplug packed.

    Images go out as PNG and label masks come back; preprocessing and sliding are the server's.
    """

    api_version = 1
    options = Options
    takes = "url"

    @hookimpl
    def infer(self, request: InferRequest) -> Engine:
        """Reach ``request.url``; see :func:`segplug.hookspecs.infer`."""
        if request.url is None:
            raise UsageError("infer torchserve takes the address of a server")
        if request.device != "cpu" or request.threads is not None:
            raise UsageError("the device and threads of a served model are the server's to choose")
        from segplug.serving.client import Client
        from segplug.serving.remote import RemoteEngine

        options: Options = request.options or Options()
        url = predictions_url(request.url, options.model_name)
        client = Client(url, token=options.token, timeout=options.timeout)
        return RemoteEngine(client, target="torchserve")


def predictions_url(url: str, model_name: str | None) -> str:
    """Where a model's predictions are; raises :class:`UsageError` where it cannot be told which model."""
    named = _PREDICTIONS in urlsplit(url).path
    if named and model_name is not None:
        raise UsageError(f"{url} names a model already", hint="leave --model-name away")
    if named:
        return url
    if model_name is None:
        raise UsageError(f"{url} names no model", hint="add --model-name NAME")
    return url.rstrip("/") + _PREDICTIONS + quote(model_name, safe="")


provider = TorchServe()
