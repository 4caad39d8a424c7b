"""Device names, checked before anything is put there."""

from __future__ import annotations

import torch

from segplug.errors import DeviceError, UsageError

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """The device called ``name`` (``cpu``, ``cuda``, ``cuda:1``), a GPU always with its number.

    Raises:
        UsageError: that is no device name.
        DeviceError: it is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UsageError(f"'{name}' is no device", hint="cpu, cuda or cuda:1, for example")
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise DeviceError(
            f"there is no device {name}: PyTorch {torch.__version__} finds {count} CUDA devices"
        )
    return torch.device("cuda", device.index or 0)
