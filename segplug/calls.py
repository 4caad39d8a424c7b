"""The context of one call of a hook. Plain data; requests and results carry it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

__all__ = ["Call"]


def _new_id() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True, kw_only=True)
class Call:
    """Which hook was called for which target, and from where.

    Attributes:
        hook: The hook: ``export``.
        target: The target that was named: ``onnx``. For the hook ``command``, the command's name.
        distribution: The distribution of the target's provider: ``segplug-onnx``.
        version: The version of that distribution.
        id: 16 hex digits that no other call has.
        parent: The ``id`` of the call whose provider or add-on made this call; ``None``: a user made it.
        verification: Whether the call is part of a verification: it opens the artifact that is verified, or
            the reference, and makes nothing that is kept.
    """

    hook: str
    target: str
    distribution: str = ""
    version: str = ""
    id: str = field(default_factory=_new_id)
    parent: str | None = None
    verification: bool = False
