"""Checkpoints of the mmcv 1.x era: read safely, and fitted strictly.

Such a file is a pickle that may run code. It is read with PyTorch's restricted unpickler and a short
list of harmless types that these files hold; everything else needs the user's word.
"""

from __future__ import annotations

import collections
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from segplug.errors import CheckpointError, UsageError
from segplug.reporting import Reporter

__all__ = ["Checkpoint", "fit", "read_checkpoint"]

_TRUST = "if you trust whoever made it, add --trust-checkpoint: it may run code on this machine"
_DICTS = ("mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict", "addict.addict.Dict")
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds that running the model needs."""

    path: str
    state: Mapping[str, torch.Tensor]
    """Parameter and buffer name to tensor, on the CPU; may lie in the file until it is copied."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What the training run noted: ``CLASSES``, ``PALETTE``, ..."""


def read_checkpoint(location: str, *, trust: bool = False) -> Checkpoint:
    """Read a checkpoint without changing it.

    Args:
        location: Path of the file.
        trust: Allow the full unpickler, which can run code that the file holds.

    Raises:
        UsageError: there is no such file.
        CheckpointError: it is damaged, no checkpoint, or holds types that are not known as harmless.
    """
    path = Path(location).expanduser()
    if not path.is_file():
        raise UsageError(f"there is no checkpoint {location}")
    if path.stat().st_size == 0:
        raise CheckpointError(f"the checkpoint {location} is empty")
    content = _load(path, location, trust)
    state = _state_dict(content, location)
    meta = content.get("meta")
    return Checkpoint(path=location, state=state, meta=meta if isinstance(meta, Mapping) else {})


def _load(path: Path, location: str, trust: bool) -> Any:
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
        reason = _first_words(error) if isinstance(error, RuntimeError) else None
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


def _first_words(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0][:160]


def _harmless_types() -> list[Any]:
    """Types without side effects that mmcv-era files hold: arrays and numbers of numpy, mmcv's dicts.

    A file names a type by the module it was in when the file was written; numpy 2 moved its own.
    mmcv's dicts become plain ones, so that no framework code runs.
    """
    from numpy._core import multiarray

    array, scalar = multiarray._reconstruct, multiarray.scalar
    types: list[Any] = [np.ndarray, np.dtype]
    for package in ("numpy.core", "numpy._core"):
        types += [(array, f"{package}.multiarray._reconstruct"), (scalar, f"{package}.multiarray.scalar")]
    types += {type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"}
    types += [(collections.OrderedDict, name) for name in _DICTS]
    return types


def _state_dict(content: Any, location: str) -> dict[str, torch.Tensor]:
    """The weights in a file: under a known key or the file itself, without ``module.`` prefixes."""
    if isinstance(content, nn.Module):
        content = content.state_dict()
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{location} holds a {type(content).__name__}, not a checkpoint")
    inside = next((content[key] for key in ("state_dict", "model") if key in content), content)
    if isinstance(inside, nn.Module):
        inside = inside.state_dict()
    if not isinstance(inside, Mapping):
        raise CheckpointError(f"the weights in {location} are a {type(inside).__name__}, not a state dict")
    tensors = {str(key): value for key, value in inside.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CheckpointError(f"{location} holds no weights")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def fit(segmentor: nn.Module, checkpoint: Checkpoint, *, reporter: Reporter) -> None:
    """Copy a checkpoint's weights into a segmentor, all of them or none of it is of use.

    Ignored, and said so: heads that only training uses (``auxiliary_head``) and running averages of
    the weights (``ema_``) in the file; counters of batches that old files lack.

    Raises:
        CheckpointError: names are missing or unexpected, or tensors have another shape.
    """
    own = segmentor.state_dict()
    ignored = [key for key in checkpoint.state if key not in own and _is_for_training(key)]
    state = collections.OrderedDict((k, v) for k, v in checkpoint.state.items() if k not in set(ignored))
    reshaped = [key for key, value in state.items() if key in own and own[key].shape != value.shape]
    try:
        # The modules' own hooks may rename and reshape keys: what they leave over is what counts.
        missing, unexpected = segmentor.load_state_dict(state, strict=False)
        reshaped = []
    except RuntimeError as error:
        if not reshaped:
            raise CheckpointError(f"cannot load {checkpoint.path}: {_first_words(error)}") from error
        missing = [key for key in own if key not in state]
        unexpected = [key for key in state if key not in own]
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected or reshaped:
        shapes = [f"{key} {_shape(state[key])} for {_shape(own[key])}" for key in reshaped]
        raise CheckpointError(
            f"the checkpoint {checkpoint.path} is of another model: {_count(missing, 'missing')}; "
            f"{_count(unexpected, 'unexpected')}; {_count(shapes, 'of another shape')}"
        )
    if ignored:
        heads = sorted({key.split(".")[0] if "." in key else "ema" for key in ignored})
        reporter.note(f"{checkpoint.path}: ignored {len(ignored)} tensors for training ({', '.join(heads)})")


def _is_for_training(key: str) -> bool:
    return key.startswith(("auxiliary_head.", "ema_")) or key.endswith("num_batches_tracked")


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _count(names: list[str], what: str) -> str:
    first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} keys {what}" + (f" ({first})" if names else "")
