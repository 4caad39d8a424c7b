"""Where a config's backbone computes something else than the weights' network, though every shape fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug_converters.report import settings

__all__ = ["differences"]

_SEEN_ELSEWHERE = ("type", "img_size", "pretrain_img_size", "final_norm")
"""The tensors show these: they fit, are resized, or are left out, and the report says so."""

_OF_TRAINING = ("requires_grad", "momentum")


def differences(network: Mapping[str, Any], config: Mapping[str, Any], location: str) -> tuple[str, ...]:
    """One note on the settings that differ, or none.

    Args:
        network: The settings that compute what the foreign network computes.
        config: What the config builds the backbone with, defaults included; a name that is not there is not
            known.
        location: The config, for the note.
    """
    names = [
        name
        for name in network
        if name in config and name not in _SEEN_ELSEWHERE and _same(network[name]) != _same(config[name])
    ]
    if not names:
        return ()
    theirs, ours = ({name: values[name] for name in names} for values in (network, config))
    return (
        f"{location} builds the backbone with {settings(ours)}, the network of these weights has "
        f"{settings(theirs)}: every tensor fits, but the features are not the foreign network's",
    )


def _same(value: Any) -> Any:
    """A setting so that equal ones are equal: what only training uses is left out."""
    if isinstance(value, Mapping):
        items = {name: item for name, item in value.items() if name not in _OF_TRAINING}
        return {**items, "type": "BN"} if items.get("type") == "SyncBN" else items
    if isinstance(value, (list, tuple)):
        return [_same(item) for item in value]
    return value
