"""The settings of mmseg's backbones: as text, and those of the weights' network compared with a config's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["compare_settings", "format_settings"]

_CHECKED_BY_SHAPE = ("type", "img_size", "pretrain_img_size", "final_norm")
"""Settings that change names or shapes: those fit, are resized, or are left out, and the report says so."""

_OF_TRAINING = ("requires_grad", "momentum")


def compare_settings(network: Mapping[str, Any], config: Mapping[str, Any], location: str) -> tuple[str, ...]:
    """Find settings with which a config's backbone computes other features, though every shape fits.

    Args:
        network: The settings that compute the same features as the foreign network.
        config: The settings of the config's backbone, defaults included. A name that is not there is not
            compared.
        location: The config, for the note.

    Returns:
        One note on the settings that differ, or none.
    """
    names = [
        name
        for name in network
        if name in config
        and name not in _CHECKED_BY_SHAPE
        and _comparable(network[name]) != _comparable(config[name])
    ]
    if not names:
        return ()
    theirs, ours = ({name: values[name] for name in names} for values in (network, config))
    return (
        f"{location} builds the backbone with {format_settings(ours)}, the network of these weights has "
        f"{format_settings(theirs)}: every tensor fits, but the features are not the foreign network's",
    )


def format_settings(backbone: Mapping[str, Any]) -> str:
    """mmseg's settings as a config writes them."""
    return "dict(" + ", ".join(f"{name}={value!r}" for name, value in backbone.items()) + ")"


def _comparable(value: Any) -> Any:
    """A setting without what only training uses, and with lists for tuples: equal settings become equal."""
    if isinstance(value, Mapping):
        items = {name: item for name, item in value.items() if name not in _OF_TRAINING}
        return {**items, "type": "BN"} if items.get("type") == "SyncBN" else items
    if isinstance(value, (list, tuple)):
        return [_comparable(item) for item in value]
    return value
