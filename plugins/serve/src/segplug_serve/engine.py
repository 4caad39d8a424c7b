"""``infer http``: a model that ``segplug serve`` serves as an engine. Needs no model where it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from segplug.engine import Engine
from segplug.errors import EngineError, UsageError
from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.requests import InferRequest

__all__ = ["Options", "provider"]

_PREDICTIONS = "/predictions/"


@dataclass(frozen=True)
class Options:
    """Options of ``infer http``."""

    model_name: str | None = option(
        None,
        help="The model's name, where URL is only the server's address. Default: the server says.",
        metavar="NAME",
    )
    token: str | None = option(None, help="The server's token, if it wants one.", metavar="TOKEN")
    timeout: float = option(60.0, help="Seconds to wait for an answer.", minimum=0.1)


class Http:
    """Runs images on a ``segplug serve``, on this machine or another.

    Images go out as PNG and label masks come back; preprocessing and sliding are the server's.
    """

    api_version = 1
    options = Options
    takes = "url"

    @hookimpl
    def infer(self, request: InferRequest) -> Engine:
        """Reach ``request.url``; see :func:`segplug.hookspecs.infer`."""
        if request.url is None:
            raise UsageError("infer http takes the address of a server")
        if request.device != "cpu" or request.threads is not None:
            raise UsageError("the device and threads of a served model are the server's to choose")
        from segplug.serving.client import Client
        from segplug.serving.remote import RemoteEngine

        options: Options = request.options or Options()
        Client(request.url)  # refuses what is no address, and connects to nothing yet
        url = _predictions_url(request.url, options)
        return RemoteEngine(Client(url, token=options.token, timeout=options.timeout), target="http")


def _predictions_url(url: str, options: Options) -> str:
    named = _PREDICTIONS in urlsplit(url).path
    if named and options.model_name is not None:
        raise UsageError(f"{url} names a model already", hint="leave --model-name away")
    if named:
        return url
    name = _only_model(url, options) if options.model_name is None else options.model_name
    return url.rstrip("/") + _PREDICTIONS + quote(name, safe="")


def _only_model(url: str, options: Options) -> str:
    """The name of the model that a server has, if it is one."""
    from urllib.request import ProxyHandler, Request, build_opener

    headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
    try:
        # Without a proxy, as the client does that is to follow.
        with build_opener(ProxyHandler({})).open(
            Request(url.rstrip("/") + "/models", headers=headers), timeout=options.timeout
        ) as answer:
            names = [str(model["name"]) for model in json.load(answer)["models"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EngineError(
            f"{url} does not say what it serves: {error}", hint="add --model-name NAME"
        ) from error
    if len(names) != 1:
        raise UsageError(f"{url} serves {' and '.join(names) or 'no model'}", hint="add --model-name NAME")
    return names[0]


provider = Http()
