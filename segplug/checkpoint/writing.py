"""Write weights: equal weights give equal bytes, and the tensors are not in memory twice."""

from __future__ import annotations

import collections
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.checkpoint.formats import META_KEY, PICKLES, SAFETENSORS
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
"""PyTorch's names of types: those of the format, in the order in which the safetensors library writes
tensors. The widest types come first, so that every tensor is aligned."""


def check_weights_suffix(path: Path) -> None:
    """Check, before any work is done, that :func:`write_weights` can write such a file.

    Raises:
        UsageError: no format that is written has this suffix.
    """
    if path.suffix.lower() not in (*PICKLES, SAFETENSORS):
        suffixes = ", ".join(PICKLES) + f" or {SAFETENSORS}"
        raise UsageError(
            f"{path} does not have the suffix of a file of weights", hint=f"end its name in {suffixes}"
        )


def write_weights(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write weights and nothing else, in the format of the suffix.

    A pickle (``.pth``, ``.pt``) holds the flat mapping, as mmseg's own converters write it; tensors keep
    their strides. Tensors may share memory. A storage that several tensors use as a whole is written once; of
    a storage that a tensor uses in part, only that part is written.

    Args:
        path: The file; an existing one is replaced. See :func:`segplug.files.writing`.
        state: The tensors by name, with any strides.

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
        write_pickle(path, _with_own_storages(state))


def _check_kinds(state: Mapping[str, torch.Tensor]) -> None:
    """Refuse sparse and similar tensors: no network takes them, and PyTorch may write nothing of them."""
    from segplug.checkpoint.memory import unsupported_kind

    for name, tensor in state.items():
        if kind := unsupported_kind(tensor):
            raise CheckpointError(
                f"the tensor {name} is {kind}: only plain numbers are written",
                hint="convert it first" if tensor.device.type != "meta" else "load its values first",
            )


def _with_own_storages(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors, each in a storage without other values.

    Tensors of two types that share an address are copied: ``torch.save`` refuses them.
    """
    from segplug.checkpoint.memory import with_own_storage

    separate: dict[str, torch.Tensor] = collections.OrderedDict()
    types: dict[int, torch.dtype] = {}
    for name, tensor in state.items():
        own = with_own_storage(tensor)
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

    # With a path, PyTorch would write the file's name into it.
    with open(path, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # If writing fails, PyTorch still finishes the archive and finds that bytes are missing; that
            # error hides the reason.
            if isinstance(error.__context__, (OSError, KeyboardInterrupt)):
                raise error.__context__ from None
            raise


def write_safetensors(
    path: Path, state: Mapping[str, torch.Tensor], notes: Mapping[str, Any] | None = None
) -> None:
    """Write tensors, and notes as JSON text in the header.

    The file has the bytes that the safetensors library writes, with the notes in order. The library is not
    used, because it takes only contiguous tensors that share no memory: all copies that this needs are in
    memory at once. For a file of 1 GB with strided tensors that takes 2.00 times the file; here copies are
    made one after the other, which takes 1.04 times.

    Args:
        path: The file; an existing one is replaced.
        state: The tensors by name, with any strides.
        notes: Read again as :attr:`segplug.checkpoint.Checkpoint.meta`; JSON types.

    Raises:
        CheckpointError: the format cannot hold a tensor of this kind or type.
    """
    codes = {name: _code(tensor, name) for name, tensor in state.items()}
    rank = {code: place for place, code in enumerate(_CODES.values())}
    names = sorted(state, key=lambda name: (rank[codes[name]], name.encode()))
    with open(path, "wb") as file:
        file.write(_header(names, codes, state, notes or {}))
        for name in names:
            file.write(_bytes_of(state[name]))


def _code(tensor: torch.Tensor, name: str) -> str:
    from segplug.checkpoint.memory import unsupported_kind

    dtype = str(tensor.dtype).removeprefix("torch.")
    kind = unsupported_kind(tensor) or ("" if dtype in _CODES else f"of the type {dtype}")
    if kind:
        raise CheckpointError(
            f"the tensor {name} is {kind}, which {SAFETENSORS} cannot hold", hint="write a .pth file"
        )
    return _CODES[dtype]


def _header(
    names: list[str], codes: Mapping[str, str], state: Mapping[str, torch.Tensor], notes: Mapping[str, Any]
) -> bytes:
    """The length of the JSON text as 8 bytes, and the text: type, shape and offsets of every tensor."""
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
    text = text.ljust(-(-len(text) // 8) * 8)  # so that the tensors begin at a multiple of 8
    return struct.pack("<Q", len(text)) + text


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """The values of a tensor as contiguous bytes; little-endian, as is the machine."""
    import torch

    whole = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return whole.reshape(-1).view(torch.uint8).numpy().data
