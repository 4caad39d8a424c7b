"""Weights averaged over training, where the training libraries of this field keep them.

A trap lies here. mmcv's ``EMAHook`` adds a buffer ``ema_<name>`` for each parameter. A runner that counts
epochs swaps the two before it saves, so that the file holds the *averages* under the network's own names
and the last weights under ``ema_``; a runner that counts iterations never swaps. mmengine swaps as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.checkpoint import Checkpoint
from segplug.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = ["AVERAGE_KEYS", "PREFIX", "Averages", "are_averages", "averaged_state", "has_averages"]

PREFIX = "ema_"

_SWAPPED_KEY = "ema_state_dict"  # mmengine
_OWN_KEYS = ("state_dict_ema", "model_ema", "ema")  # timm, BEiT and DeiT, others
AVERAGE_KEYS = (_SWAPPED_KEY, *_OWN_KEYS)
"""Entries of a file, beside the weights, that hold averages (or, swapped, the last weights)."""


@dataclass(frozen=True)
class Averages:
    """The averaged weights, under the network's own names."""

    state: Mapping[str, torch.Tensor]
    origin: str
    """Where they were, in words."""


def has_averages(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint holds averaged weights, wherever they are."""
    return (
        _SWAPPED_KEY in checkpoint.rest
        or _own_key(checkpoint) is not None
        or any(name.startswith(PREFIX) for name in checkpoint.state)
    )


def are_averages(checkpoint: Checkpoint) -> bool:
    """Whether the weights under the network's own names are the averages."""
    by_mmcv = _own_key(checkpoint) is None and any(name.startswith(PREFIX) for name in checkpoint.state)
    return _SWAPPED_KEY in checkpoint.rest or (by_mmcv and _saved_by_epoch(checkpoint.meta))


def averaged_state(checkpoint: Checkpoint) -> Averages:
    """The averaged weights of a checkpoint.

    Raises:
        CheckpointError: there are none, or they do not fit the network's names.
    """
    if are_averages(checkpoint):
        return Averages(checkpoint.state, "the averages, which the training run saved as the network's own")
    key = _own_key(checkpoint)
    if key is not None:
        return _beside(checkpoint, key)
    if has_averages(checkpoint):
        return _of_mmcv(checkpoint)
    raise CheckpointError(
        f"{checkpoint.path} holds no averaged weights", hint="leave out --ema to publish the weights it has"
    )


def _own_key(checkpoint: Checkpoint) -> str | None:
    return next((key for key in _OWN_KEYS if isinstance(checkpoint.rest.get(key), Mapping)), None)


def _beside(checkpoint: Checkpoint, key: str) -> Averages:
    import torch

    found = checkpoint.rest[key]
    found = found.get("state_dict", found)
    averages = {
        str(name).removeprefix("module."): value
        for name, value in found.items()
        if isinstance(value, torch.Tensor)
    }
    _check_names(checkpoint, set(averages), key)
    return Averages(averages, f"the averages that lay under {key}")


def _of_mmcv(checkpoint: Checkpoint) -> Averages:
    own = [name for name in checkpoint.state if not name.startswith(PREFIX)]
    average_of = {name: PREFIX + name.replace(".", "_") for name in own}
    averages = {
        # Buffers, such as the statistics of a norm, are not averaged.
        name: checkpoint.state[average_of[name]]
        if average_of[name] in checkpoint.state
        else checkpoint.state[name]
        for name in own
    }
    left = {name for name in checkpoint.state if name.startswith(PREFIX)} - set(average_of.values())
    if left:
        raise CheckpointError(
            f"{checkpoint.path}: {len(left)} averages belong to no weight of the network, such as {min(left)}"
        )
    return Averages(averages, f"the averages that lay under {PREFIX}*")


def _check_names(checkpoint: Checkpoint, names: set[str], key: str) -> None:
    own = {name for name in checkpoint.state if not name.startswith(PREFIX)}
    differing = names ^ own
    if differing:
        raise CheckpointError(
            f"{checkpoint.path}: {key} and the network's weights have different names, "
            f"such as {min(differing)}"
        )


def _saved_by_epoch(meta: Mapping[str, Any]) -> bool:
    """Whether the run's config, which mmcv notes as text, says that epochs were counted."""
    config = str(meta.get("config", ""))
    by_epoch = (
        "EpochBasedRunner" in config or re.search(r"^total_epochs\s*=", config, re.MULTILINE) is not None
    )
    saved = re.search(r"^checkpoint_config\s*=\s*dict\(([^)]*)\)", config, re.MULTILINE)
    return by_epoch and not (saved is not None and re.search(r"by_epoch\s*=\s*False", saved.group(1)))
