"""Check a torch.export program: its entries, its pickles, and the sizes of its tensors."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

from segplug_torchscript.checks.findings import Finding, shown
from segplug_torchscript.checks.layout import Members
from segplug_torchscript.checks.program_text import check_texts

__all__ = ["check"]

_PROGRAM = "models/model.json"
_PAYLOADS = {
    "data/weights/model_weights_config.json": ("data/weights/", "weight_"),
    "data/constants/model_constants_config.json": ("data/constants/", "tensor_"),
}
"""The lists of tensors: the folder of their bytes, and how the names of the files begin."""
_PICKLED = ("data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt")
_DATA = re.compile(
    r"data/weights/weight_[0-9]+|data/constants/tensor_[0-9]+|archive_format|archive_version|version|byteorder"
    r"|\.data/(serialization_id|version)|\.format_version|\.storage_alignment|extra/.*"
)
_FILE = re.compile(r"[a-z]+_[0-9]+")
_MOST_JSON = 128 << 20
_SMALL = 1 << 20
"""Values of a tensor that need not be in the file: one value that is repeated, as in a table of zeros."""


def check(members: Members) -> None:
    """Check every entry.

    Raises:
        Finding: one may do more than compute, or is not known.
    """
    for name in members.sizes:
        if name in _PICKLED:
            _check_pickle(name, members)
        elif name not in (_PROGRAM, *_PAYLOADS) and not _DATA.fullmatch(name):
            raise Finding(f"holds {shown(name)}, which segplug cannot check")
    check_texts(_json(_PROGRAM, members))
    for name in _PAYLOADS:
        if name in members.sizes:
            _check_payload(name, members)


def _json(name: str, members: Members) -> Any:
    try:
        return json.loads(members.read(name, most=_MOST_JSON).decode("utf-8"))
    except ValueError as error:
        raise Finding(f"holds {name}, which is damaged") from error


def _check_payload(name: str, members: Members) -> None:
    content = _json(name, members)
    check_texts(content)
    folder, beginning = _PAYLOADS[name]
    config = content.get("config") if isinstance(content, Mapping) else None
    if not isinstance(config, Mapping):
        raise Finding(f"holds {name}, which is damaged")
    for payload in config.values():
        file = payload.get("path_name") if isinstance(payload, Mapping) else None
        if not isinstance(file, str) or not _FILE.fullmatch(file) or not file.startswith(beginning):
            raise Finding(f"holds objects that are no tensors: {shown(file)}")
        if payload.get("use_pickle"):
            _check_pickle(folder + file, members)
        else:
            _check_size(folder + file, payload.get("tensor_meta"), members)


def _check_size(file: str, meta: Any, members: Members) -> None:
    """A tensor may not have more values than the file has bytes for it."""
    sizes = meta.get("sizes") if isinstance(meta, Mapping) else None
    if not isinstance(sizes, list):
        raise Finding("holds a tensor of no possible shape")
    there = members.sizes.get(file, 0)
    count = 1
    for size in sizes:
        number = size.get("as_int") if isinstance(size, Mapping) else None
        if type(number) is not int or number < 0:
            raise Finding("holds a tensor of no possible shape")
        count *= number
        if count > max(there, _SMALL):
            raise Finding(f"says that {file} holds more values than it does")
    if count and not there:  # PyTorch would take zeros
        raise Finding(f"says that {file} holds more values than it does")


def _check_pickle(name: str, members: Members) -> None:
    """Read a pickle with PyTorch's restricted unpickler; PyTorch itself would read it with the full one."""
    content = members.read(name, most=max(members.sizes.get(name, 0), 1))
    if not content:
        return
    import torch

    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise Finding(f"holds a pickle that may run code: {shown(name)}") from error
