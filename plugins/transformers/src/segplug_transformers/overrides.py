"""``--cfg-options``: change values of ``config.json`` and of the processor's settings."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from segplug.errors import UsageError
from segplug.model_folder import literal

__all__ = ["PROCESSOR_PREFIX", "apply_overrides"]

PROCESSOR_PREFIX = "preprocessor."


def apply_overrides(
    config: dict[str, Any], processor: dict[str, Any] | None, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The config and the processor's settings with values replaced; the arguments stay as they are.

    Args:
        config: The content of ``config.json``.
        processor: The settings of the processor; ``None``: there are none.
        options: Dotted key to value. A text that is JSON or a Python literal counts as its value.

    Raises:
        UsageError: a key has an empty part, or leads into what is no object.
    """
    config, processor = copy.deepcopy(config), copy.deepcopy(processor)
    for key, value in options.items():
        value = literal(copy.deepcopy(value))
        if not key.startswith(PROCESSOR_PREFIX):
            _set(config, key, key.split("."), value)
            continue
        if processor is None:
            raise UsageError(
                f"--cfg-options {key}: the folder has no settings of a processor",
                hint="it needs a preprocessor_config.json",
            )
        _set(processor, key, key.removeprefix(PROCESSOR_PREFIX).split("."), value)
    return config, processor


def _set(data: dict[str, Any], key: str, parts: list[str], value: Any) -> None:
    if not all(parts):
        raise UsageError(f"--cfg-options {key}: the key has an empty part")
    *parents, last = parts
    for depth, part in enumerate(parents, start=1):
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise UsageError(f"--cfg-options {key}: {'.'.join(parts[:depth])} holds no further keys")
    data[last] = value
