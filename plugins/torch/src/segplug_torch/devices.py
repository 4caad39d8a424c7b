"""Check the name of a device before it is used."""

from __future__ import annotations

import torch

from segplug.errors import DeviceError, UsageError

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """The device called ``name``: ``cpu``, ``cuda`` or ``cuda:1``, or another kind that PyTorch can use here.

    A CUDA device always comes with its number, and the CPU without one.

    Raises:
        UsageError: ``name`` is not the name of a device that holds data.
        DeviceError: the device is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type == "meta":  # tensors on "meta" have no values
        raise UsageError(f"'{name}' is no device", hint="cpu, cuda or cuda:1, for example")
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        return _cuda(device.index or 0, name)
    try:
        torch.empty(0, device=device)
    except Exception as error:
        raise DeviceError(f"PyTorch {torch.__version__} cannot use the device {name}") from error
    return device


def _cuda(index: int, name: str) -> torch.device:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise DeviceError(
            f"there is no device {name}: PyTorch {torch.__version__} finds {count} CUDA devices"
        )
    return torch.device("cuda", index)
