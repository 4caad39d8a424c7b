"""The settings of a backbone: those of the config, and the defaults of its class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

__all__ = ["settings_of"]


def settings_of(backbone: nn.Module, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a backbone as plain data: text, numbers, dicts, and lists for tuples.

    Args:
        backbone: The built network.
        config: The config's entry for the outermost backbone; that of an inner one is its ``backbone_cfg``.

    Returns:
        Name to value, with ``type``; empty where the config has no entry for this class.
    """
    while "backbone_cfg" in config:
        config = config["backbone_cfg"]
    if config.get("type") != type(backbone).__name__:
        return {}
    values = {**_defaults(type(backbone)), **config}
    plain = {name: _plain(value) for name, value in values.items()}
    return {name: value for name, value in plain.items() if value is not _NOT_PLAIN}


def _defaults(backbone: type) -> dict[str, Any]:
    """The defaults of a class and, where it passes other keywords on, of its base classes."""
    defaults: dict[str, Any] = {}
    for parent in backbone.__mro__:
        if "__init__" not in vars(parent):
            continue
        parameters = inspect.signature(parent.__init__).parameters.values()  # type: ignore[misc]
        for parameter in parameters:
            if parameter.default is not parameter.empty:
                defaults.setdefault(parameter.name, parameter.default)
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            break
    return defaults


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = {str(name): _plain(item) for name, item in value.items()}
        return _NOT_PLAIN if _NOT_PLAIN in items.values() else items
    if isinstance(value, (list, tuple)):
        values = [_plain(item) for item in value]
        return _NOT_PLAIN if _NOT_PLAIN in values else values
    return value if value is None or isinstance(value, (bool, int, float, str)) else _NOT_PLAIN
