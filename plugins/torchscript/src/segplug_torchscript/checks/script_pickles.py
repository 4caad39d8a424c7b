"""Check a pickle of a TorchScript file: what it names, and how large its tensors say that they are.

It is read with stand-ins: nothing that it names is looked up or called.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segplug_torchscript.checks.findings import Finding, shown
from segplug_torchscript.checks.layout import Members
from segplug_torchscript.checks.script_types import Device, Object, Tensor

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
_LISTS = frozenset({"build_intlist", "build_doublelist", "build_boollist", "build_tensorlist"})


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
        self.objects: list[Object] = []

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _ITEM_SIZES:
            return _ItemSize(_ITEM_SIZES[name])
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and name in _LISTS:
            return _same_list
        if (module, name) in _FUNCTIONS:
            return _FUNCTIONS[module, name]
        own = module == "__torch__" or module.startswith("__torch__.")
        if own and not module.startswith("__torch__.torch.classes"):
            return self._class(f"{module}.{name}")
        raise Finding(f"holds a pickle that names {shown(f'{module}.{name}')}")

    def _class(self, name: str) -> type[Object]:
        objects = self.objects

        class Named(Object):
            named = name

            def __new__(cls, *_: Any) -> Any:
                made = super().__new__(cls)
                objects.append(made)
                return made

        return Named

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage of a tensor: PyTorch reads as many values as the pickle says."""
        _, item, key, _, count = pid
        there = self._sizes.get(f"{self._tensors}/{key}", 0)
        shapes_alone = self._tensors == _EXAMPLES and not there
        if type(count) is not int or not (0 <= count * item.size <= there or shapes_alone):
            raise Finding(f"says that {shown(self._tensors)}/{shown(key)} holds more bytes than it does")
        return _Storage(count)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(number) is not int or number < 0 for number in numbers):
        raise Finding("holds a tensor of no possible shape")
    last = offset + sum((one - 1) * step for one, step in zip(size, stride, strict=True))
    if 0 not in size and last >= storage.count:
        raise Finding("holds a tensor that is larger than its values")
    return Tensor()


def _same_list(values: Any) -> list[Any]:
    if type(values) is not list:
        raise Finding("holds a list that is none")
    return list(values)


def _without_tag(value: Any, _tag: Any) -> Any:
    return value


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _device(*_: Any) -> Device:
    return Device()


def _other_tensor(*_: Any) -> Tensor:
    return Tensor()


_FUNCTIONS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("torch.jit._pickle", "restore_type_tag"): _without_tag,
    ("torch.jit._pickle", "build_tensor_from_id"): _other_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "device"): _device,
}


def check_pickle(name: str, members: Members) -> Sequence[Object]:
    """Check the pickle ``name``, and give the objects in it.

    Raises:
        Finding: it names something else than the file's own classes, or cannot be read.
    """
    reader = _Reader(name, members)
    try:
        reader.load()
    except (Finding, RecursionError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise Finding(f"holds a pickle that cannot be read: {shown(name)}") from error
    return reader.objects
