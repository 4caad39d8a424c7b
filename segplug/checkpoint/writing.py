"""Weights written to disk: equal content gives equal bytes, and no second copy is held in memory."""

from __future__ import annotations

import collections
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.checkpoint.forms import META_KEY, PICKLES, SAFETENSORS
from segplug.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["check_weights_suffix", "write_pickle", "write_safetensors", "write_weights"]

_CODES = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "bfloat16": "BF16",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""PyTorch's name of a type to that of the format, in the order in which the safetensors library writes
tensors: the widest types first, so that every tensor lies where its type may."""


def check_weights_suffix(path: Path) -> None:
    """Check, before any work is done, that :func:`write_weights` can write such a file.

    Raises:
        UsageError: the suffix is of no form that is written.
    """
    if path.suffix.lower() not in (*PICKLES, SAFETENSORS):
        forms = ", ".join(PICKLES) + f" or {SAFETENSORS}"
        raise UsageError(f"{path} is not what a file of weights is called", hint=f"end its name in {forms}")


def write_weights(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write weights and nothing else, in the form that the suffix names.

    A pickle (``.pth``, ``.pt``) holds the flat mapping, as mmseg's own converters write it; strides stay
    as they are. Tensors may share memory: a whole storage that several use is written once, a part of a
    storage without the rest of it.

    Args:
        path: The file; what is there is replaced. See :func:`segplug.files.writing`.
        state: Name to tensor, of any strides.

    Raises:
        UsageError: the suffix is another one.
        CheckpointError: a tensor is sparse, quantised or without values, or of a type that a
            ``.safetensors`` file cannot hold. Nothing is written then.
    """
    check_weights_suffix(path)
    _check_kinds(state)
    if path.suffix.lower() == SAFETENSORS:
        write_safetensors(path, state)
    else:
        write_pickle(path, _separate(state))


def _check_kinds(state: Mapping[str, torch.Tensor]) -> None:
    """No network takes other kinds for its parameters, and what PyTorch writes of them may be nothing."""
    from segplug.checkpoint.memory import kind

    for name, tensor in state.items():
        if odd := kind(tensor):
            raise CheckpointError(
                f"the tensor {name} is {odd}: weights are written as plain numbers only",
                hint="convert it before" if tensor.device.type != "meta" else "load its values before",
            )


def _separate(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, all of plain numbers, alone, so that ``torch.save`` takes them.

    It refuses one address that is seen as two types.
    """
    from segplug.checkpoint.memory import alone

    separate: dict[str, torch.Tensor] = collections.OrderedDict()
    types: dict[int, torch.dtype] = {}
    for name, tensor in state.items():
        own = alone(tensor)
        if own.numel():
            address = own.untyped_storage().data_ptr()
            if types.setdefault(address, own.dtype) != own.dtype:
                own = own.clone()
        separate[name] = own
    return separate


def write_pickle(path: Path, content: Any) -> None:
    """Write plain containers of tensors and plain values as PyTorch does.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    import torch

    # Given a path, PyTorch would write the file's name into it.
    with open(path, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # Where writing ends early PyTorch still finishes the archive, finds that bytes are missing, and
            # what it says of that hides the reason.
            if isinstance(error.__context__, (OSError, KeyboardInterrupt)):
                raise error.__context__ from None
            raise


def write_safetensors(
    path: Path, state: Mapping[str, torch.Tensor], notes: Mapping[str, Any] | None = None
) -> None:
    """Write tensors, and notes as JSON text in the header.

    The bytes are those that the safetensors library writes, with the header's notes in order. The library
    itself takes only tensors that are contiguous and share no memory: the copies that this needs
    would all be held at once, here they are made and given up one after the other.

    Args:
        path: The file; what is there is replaced.
        state: Name to tensor, of any strides.
        notes: What :attr:`segplug.checkpoint.Checkpoint.meta` gives back; JSON types.

    Raises:
        CheckpointError: the format cannot hold a tensor of this kind or type.
    """
    codes = {name: _code(tensor, name) for name, tensor in state.items()}
    rank = {code: place for place, code in enumerate(_CODES.values())}
    names = sorted(state, key=lambda name: (rank[codes[name]], name.encode()))
    with open(path, "wb") as file:
        file.write(_header(names, codes, state, notes or {}))
        for name in names:
            file.write(_raw(state[name]))


def _code(tensor: torch.Tensor, name: str) -> str:
    from segplug.checkpoint.memory import kind

    dtype = str(tensor.dtype).removeprefix("torch.")
    odd = kind(tensor) or ("" if dtype in _CODES else f"of the type {dtype}")
    if odd:
        raise CheckpointError(
            f"the tensor {name} is {odd}, which {SAFETENSORS} cannot hold", hint="write a .pth file"
        )
    return _CODES[dtype]


def _header(
    names: list[str], codes: Mapping[str, str], state: Mapping[str, torch.Tensor], notes: Mapping[str, Any]
) -> bytes:
    """The length of the JSON text as 8 bytes, and the text: type, shape and place of every tensor."""
    entries: dict[str, Any] = {
        "__metadata__": {"format": "pt", META_KEY: json.dumps(dict(notes), sort_keys=True)}
    }
    start = 0
    for name in names:
        end = start + state[name].numel() * state[name].element_size()
        entries[name] = {
            "dtype": codes[name],
            "shape": list(state[name].shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # the tensors begin at a multiple of 8
    return struct.pack("<Q", len(text)) + text


def _raw(tensor: torch.Tensor) -> memoryview:
    """A tensor's values one after the other, in the order of its axes; little-endian, as is the machine."""
    import torch

    whole = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return whole.reshape(-1).view(torch.uint8).numpy().data
