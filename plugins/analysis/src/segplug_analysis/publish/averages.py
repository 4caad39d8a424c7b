"""Find the weights averaged over training in checkpoints of the common training libraries.

Beware: mmcv's ``EMAHook`` adds a buffer ``ema_<name>`` for each parameter. A runner that counts epochs swaps
the two before it saves: the file has the *averages* under the network's own names and the last weights under
``ema_``. A runner that counts iterations never swaps. mmengine swaps as well.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.checkpoint import Checkpoint
from segplug.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = ["AVERAGE_KEYS", "Averages", "averaged_buffers", "averages_of"]

_PREFIX = "ema_"
_SWAPPED_KEY = "ema_state_dict"  # mmengine
_OWN_KEYS = ("state_dict_ema", "model_ema", "ema")  # timm, BEiT and DeiT, others
AVERAGE_KEYS = (_SWAPPED_KEY, *_OWN_KEYS)
"""Entries of a file that have averages (or, if swapped, the last weights)."""


@dataclass(frozen=True)
class Averages:
    """The averaged weights, under the network's own names."""

    state: Mapping[str, torch.Tensor]
    origin: str
    """Where they were found, in words."""
    swapped: bool
    """Whether the file has them under the network's own names: then every reader gets the averages."""
    guessed: bool = False
    """Whether it is unknown if they were swapped."""


def averages_of(checkpoint: Checkpoint) -> Averages | None:
    """The averaged weights of a checkpoint; ``None``: it has none.

    Raises:
        CheckpointError: they have other names than the network's weights.
    """
    key = next((key for key in _OWN_KEYS if isinstance(checkpoint.rest.get(key), Mapping)), None)
    if _SWAPPED_KEY in checkpoint.rest:
        return _swapped(checkpoint)
    if key is not None:
        return _beside(checkpoint, key)
    if not averaged_buffers(checkpoint.state):
        return None
    by_epoch = _saved_by_epoch(checkpoint.meta)
    return _swapped(checkpoint) if by_epoch else _of_mmcv(checkpoint, guessed=by_epoch is None)


def averaged_buffers(state: Mapping[str, Any]) -> dict[str, str]:
    """The weights that have a buffer of mmcv's ``EMAHook``: names of weights to names of buffers.

    A network may have modules called ``ema_...`` itself, so a buffer counts only if its weight exists.
    """
    buffers = {name: _PREFIX + name.replace(".", "_") for name in state}
    return {name: buffer for name, buffer in buffers.items() if buffer in state}


def _swapped(checkpoint: Checkpoint) -> Averages:
    buffers = set(averaged_buffers(checkpoint.state).values())
    own = {name: value for name, value in checkpoint.state.items() if name not in buffers}
    return Averages(own, "the averages, saved under the network's own names", swapped=True)


def _beside(checkpoint: Checkpoint, key: str) -> Averages:
    import torch

    found = checkpoint.rest[key]
    found = found.get("state_dict", found)
    averages = {
        str(name).removeprefix("module."): value
        for name, value in found.items()
        if isinstance(value, torch.Tensor)
    }
    differing = averages.keys() ^ checkpoint.state.keys()
    if differing:
        raise CheckpointError(
            f"{checkpoint.path}: {key} and the network's weights have different names, "
            f"such as {min(differing)}"
        )
    return Averages(averages, f"the averages under {key}", swapped=False)


def _of_mmcv(checkpoint: Checkpoint, *, guessed: bool) -> Averages:
    buffers = averaged_buffers(checkpoint.state)
    own = checkpoint.state.keys() - set(buffers.values())
    averages = {
        # Tensors without a buffer, such as the statistics of a norm, are not averaged.
        name: checkpoint.state[buffers.get(name, name)]
        for name in checkpoint.state
        if name in own
    }
    return Averages(averages, f"the averages under {_PREFIX}*", swapped=False, guessed=guessed)


def _saved_by_epoch(meta: Mapping[str, Any]) -> bool | None:
    """Whether the runner counted epochs; ``None``: unknown, because the file has no usable config."""
    try:
        settings = _settings(str(meta["config"]))
    except (KeyError, SyntaxError, ValueError, RecursionError):
        return None
    runner = settings.get("runner", {})
    if "type" in runner:
        by_epoch = runner["type"] == "EpochBasedRunner"
    elif "total_epochs" in settings:
        by_epoch = True
    else:
        return None
    return by_epoch and settings.get("checkpoint_config", {}).get("by_epoch", True) is not False


def _settings(config: str) -> dict[str, Any]:
    """The settings in the text of a config; a ``dict(...)`` becomes a mapping of its constants."""
    found: dict[str, Any] = {}
    for node in ast.parse(config).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = _constants(node.value)
    return found


def _constants(node: ast.expr) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(node, ast.Call):
        found = {str(word.arg): word.value for word in node.keywords}
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        found = {str(key.value): value for key, value in pairs if isinstance(key, ast.Constant)}
    return {key: value.value for key, value in found.items() if isinstance(value, ast.Constant)}
