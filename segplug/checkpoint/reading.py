"""Read a checkpoint file of any format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.checkpoint.formats import META_KEY, NPZ, PICKLES, SAFETENSORS, first_sentence
from segplug.checkpoint.shards import check_is_no_shard, check_names, is_index, read_index
from segplug.errors import CheckpointError, MissingDependencyError, UsageError
from segplug.limits import MOST_WEIGHTS_RATIO, most_weights
from segplug.regular_files import expanded, open_regular, read_regular_text, why_no_file

if TYPE_CHECKING:
    import torch

__all__ = ["Checkpoint", "read_checkpoint", "require_checkpoint"]

_WRAPPERS = ("module.", "_orig_mod.")
"""What is put before every name: by parallel training, and by ``torch.compile``."""
_POINTER = "last_checkpoint"
"""The text file in which mmengine notes the path of the newest checkpoint."""
_LFS = b"version https://git-lfs.github.com/spec/"
"""The beginning of what git writes in place of a file that Git LFS has not fetched."""
_LONGEST_PATH = 1 << 10


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file."""

    path: str
    state: Mapping[str, torch.Tensor]
    """Names of parameters and buffers: tensors on the CPU, without gradient, which may be mapped from the
    file. The prefixes ``module.`` and ``_orig_mod.``, which parallel training and ``torch.compile`` put
    before every name, are removed."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """The training run's notes: ``CLASSES``, ``PALETTE``, ..."""
    versions: Mapping[str, Any] = field(default_factory=dict)
    """Names of modules: PyTorch's version of the layout of their state (``state_dict()._metadata``)."""
    rest: Mapping[str, Any] = field(default_factory=dict)
    """All other entries of the file: the optimiser's state, schedulers, ... Entries of a wrapper inside a
    wrapper have the outer keys before their own name (``model.epoch``). Entries among the weights that are no
    tensors have the name ``state_dict.<name>``."""


def read_checkpoint(location: str, *, trust: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        location: Path of the file, in one of the formats of :mod:`segplug.checkpoint`.
        trust: Allow the full unpickler, which can run code in the file.

    Raises:
        UsageError: there is no such file, it is a folder, or it is one of several that an index lists.
        CheckpointError: it is damaged, no checkpoint, or holds types that are not known as harmless.
        MissingDependencyError: PyTorch (or safetensors) is not installed.
    """
    path = require_checkpoint(location)
    with _needed_libraries():
        if is_index(path):
            found = _read_shards(path, location, trust=trust)
        else:
            check_is_no_shard(path, location)
            found = _read_file(path, location, trust=trust)
        _check_repeats(found)
        return _remove_prefixes(found)


def require_checkpoint(location: str) -> Path:
    """The path of a checkpoint, which is there; it is not opened.

    Raises:
        UsageError: there is no such file, it is a folder, or it only names a checkpoint.
    """
    path = expanded(location)
    if path.is_dir():
        raise UsageError(f"{location} is a folder; name the file in it", hint=_files_in(path))
    if reason := why_no_file(path, "checkpoint"):
        raise UsageError(reason)
    if path.name == _POINTER and (named := _text_of(path)):
        raise UsageError(f"{location} is no checkpoint: it names one", hint=f"give {named}")
    return path


def _text_of(path: Path) -> str:
    """The text of a short file; empty if it has none."""
    try:
        return read_regular_text(path, most_bytes=_LONGEST_PATH)
    except (OSError, UnicodeDecodeError):
        return ""


def _check_repeats(checkpoint: Checkpoint) -> None:
    """Check, before a tensor is copied, that the tensors are not much larger than what the file holds.

    Raises:
        CheckpointError: they are. Networks share some weights between layers, and no file needs more.
    """
    from segplug.checkpoint.memory import repeats

    values, held = repeats(checkpoint.state.values())
    if values > most_weights(held):
        raise CheckpointError(
            f"{checkpoint.path} holds {held:,} bytes of weights, and its tensors claim {values:,}: they "
            f"repeat the same values, and more than {MOST_WEIGHTS_RATIO} times is not read",
            hint="save the tensors with .contiguous()",
        )


def _files_in(folder: Path) -> str | None:
    """The checkpoints in a folder, for the hint: indexes if there are any, without their shards."""
    suffixes = (SAFETENSORS, NPZ, *PICKLES, ".bin")
    files = sorted(path for path in folder.glob("*") if path.is_file())
    found = [path for path in files if is_index(path)] or [
        path for path in files if path.suffix.lower() in suffixes
    ]
    return ", ".join(path.name for path in found[:3]) or None


def _read_shards(path: Path, location: str, *, trust: bool) -> Checkpoint:
    """Read all files of an index as one checkpoint.

    Raises:
        CheckpointError: a file is missing or damaged, or does not hold the tensors that the index lists.
    """
    state: dict[str, torch.Tensor] = {}
    meta: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for shard, names in read_index(path, location).items():
        part = _read_file(shard, str(shard), trust=trust)
        check_names(names, part.state, shard, location)
        state |= part.state
        meta |= part.meta
        versions |= part.versions
        rest |= part.rest
    return Checkpoint(path=location, state=state, meta=meta, versions=versions, rest=rest)


def _read_file(path: Path, location: str, *, trust: bool) -> Checkpoint:
    if path.stat().st_size == 0:
        raise CheckpointError(f"the checkpoint {location} is empty")
    with open_regular(path) as file:
        if file.read(len(_LFS)) == _LFS:
            raise CheckpointError(
                f"{location} holds no weights, only where Git LFS has them",
                hint="git lfs pull in its folder, or download the file again",
            )
    if path.suffix.lower() == SAFETENSORS:
        return _read_safetensors(path, location)
    if path.suffix.lower() == NPZ:
        return _read_npz(path, location)
    return _read_pickle(path, location, trust=trust)


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


def _read_pickle(path: Path, location: str, *, trust: bool) -> Checkpoint:
    from segplug.checkpoint.pickles import load_pickle
    from segplug.checkpoint.wrappers import unwrap

    content = load_pickle(path, location, trust=trust)
    try:
        found = unwrap(content, location)
    except (TypeError, AttributeError, ValueError) as error:  # objects of a file that the user trusts
        raise CheckpointError(f"{location} is damaged or no PyTorch checkpoint") from error
    return Checkpoint(location, found.state, found.meta, found.versions, found.rest)


def _read_safetensors(path: Path, location: str) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    from segplug.checkpoint.memory import align, with_own_storage

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            # Versions of the library differ in how much of the file a tensor's storage spans.
            state = {name: with_own_storage(align(file.get_tensor(name))) for name in names}
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{location} is damaged or no safetensors file", hint=first_sentence(error)
        ) from error
    if not state:
        raise CheckpointError(f"{location} holds no weights")
    return Checkpoint(path=location, state=state, meta=_read_notes(header))


def _read_notes(header: Mapping[str, str]) -> dict[str, Any]:
    """The training run's notes in a header; another program's content under their key is ignored."""
    try:
        meta = json.loads(header.get(META_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _read_npz(path: Path, location: str) -> Checkpoint:
    from segplug.checkpoint.npz import read_npz

    found = read_npz(path, location)
    if not found.state:
        raise CheckpointError(f"{location} holds no weights")
    return Checkpoint(path=location, state=found.state, rest=found.texts)


def _remove_prefixes(checkpoint: Checkpoint) -> Checkpoint:
    """Without what is put before every name: each prefix once, in either order."""
    left = list(_WRAPPERS)
    while found := next((prefix for prefix in left if _begin_all(checkpoint.state, prefix)), None):
        left.remove(found)
        names, versions = _remove_prefix(checkpoint.state, found), _remove_prefix(checkpoint.versions, found)
        checkpoint = replace(checkpoint, state=names, versions=versions)
    return checkpoint


def _begin_all(names: Mapping[str, Any], prefix: str) -> bool:
    return all(name.startswith(prefix) for name in names)


def _remove_prefix(names: Mapping[Any, Any], prefix: str) -> dict[str, Any]:
    return {str(name).removeprefix(prefix): value for name, value in names.items()}
