"""What a client of a server may choose. Apart, so that a provider can declare it without importing more."""

from __future__ import annotations

from dataclasses import dataclass

from segplug.options import option

__all__ = ["RemoteOptions"]


@dataclass(frozen=True)
class RemoteOptions:
    """Options of an ``infer`` target whose engine is a server."""

    model_name: str | None = option(
        None, help="The model's name, where URL is only the server's address.", metavar="NAME"
    )
    token: str | None = option(None, help="Sent as a bearer token, if the server wants one.", metavar="TOKEN")
    timeout: float = option(60.0, help="Seconds to wait for an answer.", minimum=0.1)
