"""Check a pickle of a TorchScript file: what it names, and how large its tensors say that they are.

It is read with stand-ins: nothing that it names is looked up or called.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from segplug_torchscript.checks.findings import Finding, shown
from segplug_torchscript.checks.layout import Members

__all__ = ["check_pickle"]

_MOST_BYTES = 256 << 20
_ITEM_SIZES = {
    **dict.fromkeys(("BoolStorage", "ByteStorage", "CharStorage", "QInt8Storage", "QUInt8Storage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}
"""Bytes of one value by the class that a pickle names."""
_EXAMPLES = "traced_inputs"
"""The inputs of the trace: PyTorch writes their shapes without values, and does not load them."""
_PLAIN = frozenset(
    ("torch.jit._pickle", name)
    for name in (
        *("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist"),
        *("build_tensor_from_id", "restore_type_tag"),
    )
) | {("torch", "device"), ("torch._utils", "_rebuild_parameter")}


class _Part:
    """Stands for an object of a class in the file, and for what PyTorch's own functions make."""

    def __new__(cls, *values: Any, **more: Any) -> _Part:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """The state of an object may be anything: its class reads it."""


class _Storage:
    def __init__(self, count: int) -> None:
        self.count = count


class _ItemSize:
    def __init__(self, size: int) -> None:
        self.size = size


_Unpickler: Any = vars(pickle)["_Unpickler"]
"""The unpickler in Python: that in C reserves memory as a pickle tells it to."""


class _Reader(_Unpickler):  # type: ignore[misc]
    def __init__(self, name: str, members: Members) -> None:
        super().__init__(io.BytesIO(members.read(name, most=_MOST_BYTES)))
        self._name, self._sizes = name, members.sizes
        self._tensors = name.removesuffix(".pkl")

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _ITEM_SIZES:
            return _ItemSize(_ITEM_SIZES[name])
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        own = module == "__torch__" or module.startswith("__torch__.")
        if (own and not module.startswith("__torch__.torch.classes")) or (module, name) in _PLAIN:
            return _Part
        raise Finding(f"holds a pickle that names {shown(f'{module}.{name}')}")

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage of a tensor: PyTorch reads as many values as the pickle says."""
        _, item, key, _, count = pid
        there = self._sizes.get(f"{self._tensors}/{key}", 0)
        shapes_alone = self._tensors == _EXAMPLES and not there
        if type(count) is not int or not (0 <= count * item.size <= there or shapes_alone):
            raise Finding(f"says that {shown(self._tensors)}/{shown(key)} holds more bytes than it does")
        return _Storage(count)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Part:
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(number) is not int or number < 0 for number in numbers):
        raise Finding("holds a tensor of no possible shape")
    last = offset + sum((one - 1) * step for one, step in zip(size, stride, strict=True))
    if 0 not in size and last >= storage.count:
        raise Finding("holds a tensor that is larger than its values")
    return _Part()


def check_pickle(name: str, members: Members) -> None:
    """Check the pickle ``name``.

    Raises:
        Finding: it names something else than the file's own classes, or cannot be read.
    """
    load: Callable[[], Any] = _Reader(name, members).load
    try:
        load()
    except (Finding, RecursionError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise Finding(f"holds a pickle that cannot be read: {shown(name)}") from error
