"""Choose what of a checkpoint is published: the weights, and the metadata that inference needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.checkpoint import Checkpoint
from segplug.errors import CheckpointError
from segplug.text import counted
from segplug_analysis.publish.averages import AVERAGE_KEYS, Averages, averaged_buffers, averages_of

if TYPE_CHECKING:
    import torch

__all__ = ["Published", "Removed", "published"]

_TRAINING_META = (
    *("env_info", "hook_msgs", "seed", "exp_name", "time", "dataset_meta_path"),
    "experiment_name",  # mmengine's
)
"""Entries of ``meta`` about the training run and its machine."""


@dataclass(frozen=True)
class Removed:
    """An entry that is not published."""

    what: str
    why: str
    bytes: int
    """Size of the tensors in it."""


@dataclass(frozen=True)
class Published:
    """The content of the published file."""

    state: Mapping[str, torch.Tensor]
    """Contiguous tensors on the CPU, each with a storage of its own size."""
    meta: Mapping[str, Any]
    """Plain data: dicts, lists, tuples, strings, numbers."""
    versions: Mapping[str, Any]
    """PyTorch's layout versions: :attr:`segplug.checkpoint.Checkpoint.versions`."""
    weights: str
    """Which weights these are, in words."""
    removed: tuple[Removed, ...]
    kept: tuple[str, ...]
    """The names of the entries of ``meta``."""
    averages: Averages | None
    """The averaged weights of the checkpoint, published or not."""


def published(checkpoint: Checkpoint, *, averaged: bool, keeps_versions: bool) -> Published:
    """Choose what is published of a checkpoint.

    Args:
        checkpoint: The checkpoint as it was read.
        averaged: Choose the weights averaged over training.
        keeps_versions: The format of the file can hold PyTorch's layout versions, and mappings whose keys
            are numbers.

    Raises:
        CheckpointError: ``averaged`` is set and there are no averaged weights; or a tensor is of a kind
            that is not published.
    """
    averages = averages_of(checkpoint)
    if averaged and averages is None:
        raise CheckpointError(
            f"{checkpoint.path} holds no averaged weights", hint="leave out --ema to publish its own weights"
        )
    chosen = averages if averages is not None and (averaged or averages.swapped) else None
    buffers = {name: checkpoint.state[name] for name in averaged_buffers(checkpoint.state).values()}
    own = {name: value for name, value in checkpoint.state.items() if name not in buffers}
    state = chosen.state if chosen else own

    removed = [Removed(name, _why(name), _bytes(value)) for name, value in checkpoint.rest.items()]
    if buffers:
        removed.append(Removed(f"{counted(len(buffers), 'tensor')} ema_*", _AVERAGES, _bytes(buffers)))
    if checkpoint.versions and not keeps_versions:
        removed.append(Removed("state_dict._metadata", "the format cannot hold layout versions", 0))
    meta = {}
    for name, value in checkpoint.meta.items():
        converted = plain(value, text_keys=not keeps_versions)
        if name in _TRAINING_META:
            removed.append(Removed(f"meta.{name}", "about the training run, not the model", _bytes(value)))
        elif converted is _NOT_PLAIN:
            removed.append(Removed(f"meta.{name}", "not plain data", _bytes(value)))
        else:
            meta[sys.intern(str(name))] = converted
    return Published(
        state={sys.intern(name): _own(tensor, name, checkpoint.path) for name, tensor in state.items()},
        meta=meta,
        versions=plain(checkpoint.versions) if keeps_versions else {},
        weights=chosen.origin if chosen else "the network's own",
        removed=tuple(removed),
        kept=tuple(meta),
        averages=averages,
    )


_AVERAGES = "state of training for averaging weights"


def _why(name: str) -> str:
    if name in AVERAGE_KEYS:
        return _AVERAGES
    for word, why in (
        ("optim", "the optimiser's state"),
        ("sched", "the schedule of the learning rate"),
        ("scaler", "the loss scale of mixed precision"),
        ("message_hub", "the history of the training run"),
    ):
        if word in name.lower():
            return why
    if name.startswith("state_dict."):
        return "not a tensor"
    return "not needed for inference"


def _own(tensor: torch.Tensor, name: str, path: str) -> torch.Tensor:
    """The tensor on the CPU, without gradient; a part of a larger storage is copied."""
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "quantised" if tensor.is_quantized else "without values" if tensor.is_meta else "sparse"
        raise CheckpointError(f"{path}: the tensor {name} is {kind}, which is not published")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    whole = tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size()
    return tensor.clone() if whole else tensor


def _bytes(value: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


_NOT_PLAIN = object()


def plain(value: Any, *, text_keys: bool = False) -> Any:
    """Convert metadata to plain types, arrays of numpy to lists; ``_NOT_PLAIN``: that is not possible.

    Every value is made anew in exactly these types, and equal strings become one object: pickle writes one
    object and two equal ones differently, and equal metadata must give equal bytes. A key that is a whole
    number stays one (mmengine's ``label_map``) unless ``text_keys``; others become text.
    """
    import numpy as np

    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, Mapping):
        items = {
            _plain_key(key, text_keys=text_keys): plain(item, text_keys=text_keys)
            for key, item in value.items()
        }
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items.values()) else items
    if isinstance(value, (list, tuple)):
        values = [plain(item, text_keys=text_keys) for item in value]
        if any(item is _NOT_PLAIN for item in values):
            return _NOT_PLAIN
        return tuple(values) if isinstance(value, tuple) else values
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return sys.intern(str.__str__(value))
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else _NOT_PLAIN


def _plain_key(key: Any, *, text_keys: bool) -> Any:
    import numpy as np

    is_whole = isinstance(key, (int, np.integer)) and not isinstance(key, bool)
    return int(key) if is_whole and not text_keys else sys.intern(str(key))
