"""Checkpoint files: read safely, whatever their form.

A ``.pth`` file is a pickle that may run code. It is read with PyTorch's restricted unpickler and a
short list of harmless types that such files hold; everything else needs the user's word. A
``.safetensors`` file is plain data. Needs PyTorch, which is imported when a file is read.
"""

from __future__ import annotations

import collections
import json
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import CheckpointError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["META_KEY", "SAFETENSORS", "Checkpoint", "first_words", "read_checkpoint"]

SAFETENSORS = ".safetensors"

META_KEY = "meta"
"""Where a file keeps the training run's notes; in a ``.safetensors`` header as JSON text."""

_TRUST = "if you trust whoever made it, add --trust-checkpoint: it may run code on this machine"
_DICTS = ("mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict", "addict.addict.Dict")
_STATE_KEYS = ("state_dict", "model")
_WRAPPER = "module."
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    path: str
    state: Mapping[str, torch.Tensor]
    """Parameter and buffer name to tensor, on the CPU; may lie in the file until it is copied. A
    prefix that parallel training puts before every name (``module.``) is gone."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What the training run noted: ``CLASSES``, ``PALETTE``, ..."""
    versions: Mapping[str, Any] = field(default_factory=dict)
    """Module name to what PyTorch notes of its state's layout (``state_dict()._metadata``)."""
    rest: Mapping[str, Any] = field(default_factory=dict)
    """All other entries of the file: the optimiser's state, schedulers, ... What is no tensor among the
    weights is there as ``state_dict.<name>``."""


def read_checkpoint(location: str, *, trust: bool = False) -> Checkpoint:
    """Read a checkpoint without changing it.

    Args:
        location: Path of the file: a pickle of PyTorch, or ``.safetensors``.
        trust: Allow the full unpickler, which can run code that the file holds.

    Raises:
        UsageError: there is no such file.
        CheckpointError: it is damaged, no checkpoint, or holds types that are not known as harmless.
        MissingDependencyError: PyTorch (or safetensors) is not installed.
    """
    path = Path(location).expanduser()
    if not path.is_file():
        raise UsageError(f"there is no checkpoint {location}")
    if path.stat().st_size == 0:
        raise CheckpointError(f"the checkpoint {location} is empty")
    with _needed_libraries():
        if path.suffix.lower() == SAFETENSORS:
            return _read_safetensors(path, location)
        return _opened(_load(path, location, trust), location)


@contextmanager
def _needed_libraries() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise MissingDependencyError(
            f"reading this checkpoint needs {error.name}", hint=f"pip install {error.name}"
        ) from error


def _load(path: Path, location: str, trust: bool) -> Any:
    import torch

    is_zip = False
    try:
        with open(path, "rb") as file:
            is_zip = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        with torch.serialization.safe_globals(_harmless_types()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Only files of the zip format (PyTorch 1.6 and later) can be mapped into memory.
            return torch.load(path, map_location="cpu", weights_only=not trust, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise _refused(location, str(error), is_zip=is_zip) from error
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {location}: {error.strerror or error}") from error
    except (ImportError, AttributeError) as error:  # of the full unpickler only
        raise CheckpointError(f"the checkpoint {location} needs code that is not here: {error}") from error
    except Exception as error:
        if "TorchScript" in str(error):
            raise CheckpointError(f"{location} is a TorchScript file, not a checkpoint") from error
        reason = first_words(error) if isinstance(error, RuntimeError) else None
        raise CheckpointError(f"{location} is damaged or no PyTorch checkpoint", hint=reason) from error


def _refused(location: str, reason: str, *, is_zip: bool) -> CheckpointError:
    """Tell a file that holds something unsafe from one that is no pickle at all."""
    named = re.search(r"GLOBAL ([A-Za-z_][\w.]*)", reason)
    if named:
        what = f"'{named.group(1)}', which is not known to be harmless"
    elif is_zip:
        what = "something that the restricted unpickler cannot read"
    else:
        return CheckpointError(f"{location} is damaged or no PyTorch checkpoint")
    return CheckpointError(f"the checkpoint {location} holds {what}", hint=_TRUST)


def first_words(error: Exception) -> str:
    """The first sentence of what a library says, on one line."""
    return " ".join(str(error).split()).split(". ")[0][:160]


def _harmless_types() -> list[Any]:
    """Types without side effects that such files hold: arrays and numbers of numpy, configs' dicts.

    A file names a type by the module it was in when the file was written; numpy 2 moved its own.
    The dicts become plain ones, so that no framework code runs.
    """
    import numpy as np
    from numpy._core import multiarray

    array, scalar = multiarray._reconstruct, multiarray.scalar
    types: list[Any] = [np.ndarray, np.dtype]
    for package in ("numpy.core", "numpy._core"):
        types += [(array, f"{package}.multiarray._reconstruct"), (scalar, f"{package}.multiarray.scalar")]
    types += {type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"}
    types += [(collections.OrderedDict, name) for name in _DICTS]
    return types


def _opened(content: Any, location: str) -> Checkpoint:
    """The weights in a file, under a known key or the file itself, and what lies beside them."""
    content = _without_module(content)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{location} holds a {type(content).__name__}, not a checkpoint")
    key = next((key for key in _STATE_KEYS if key in content), None)
    inside = content if key is None else _without_module(content[key])
    if not isinstance(inside, Mapping):
        raise CheckpointError(f"the weights in {location} are a {type(inside).__name__}, not a state dict")
    tensors = _tensors(inside)
    if not tensors:
        raise CheckpointError(f"{location} holds no weights")
    meta = {} if key is None else content.get(META_KEY)
    beside = {} if key is None else {str(k): v for k, v in content.items() if k != key}
    if isinstance(meta, Mapping):
        beside.pop(META_KEY, None)
    beside |= {f"state_dict.{name}": value for name, value in inside.items() if str(name) not in tensors}
    versions = getattr(inside, "_metadata", None) or {}
    if all(name.startswith(_WRAPPER) for name in tensors):
        tensors = {name.removeprefix(_WRAPPER): value for name, value in tensors.items()}
        versions = {str(name).removeprefix(_WRAPPER): value for name, value in versions.items()}
    return Checkpoint(
        path=location,
        state=tensors,
        meta=meta if isinstance(meta, Mapping) else {},
        versions=versions,
        rest=beside,
    )


def _without_module(content: Any) -> Any:
    """The state of a whole network that was pickled."""
    from torch import nn

    return content.state_dict() if isinstance(content, nn.Module) else content


def _tensors(state: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    import torch

    return {str(key): value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _read_safetensors(path: Path, location: str) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{location} is damaged or no safetensors file", hint=first_words(error)
        ) from error
    if not state:
        raise CheckpointError(f"{location} holds no weights")
    return Checkpoint(path=location, state=state, meta=_noted(header))


def _noted(header: Mapping[str, str]) -> dict[str, Any]:
    """The training run's notes in a header; what somebody else's header holds there is no error."""
    try:
        meta = json.loads(header.get(META_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}
