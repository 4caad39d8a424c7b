"""Device names, checked before anything is put there."""

from __future__ import annotations

import torch

from segplug.errors import DeviceError, UsageError

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """The device called ``name`` (``cpu``, ``cuda``, ``cuda:1``, ...).

    Raises:
        UsageError: that is no device name.
        DeviceError: it is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"'{name}' is no device", hint="cpu, cuda or cuda:1, for example") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise DeviceError(
                f"there is no device {name}: PyTorch {torch.__version__} finds {count} CUDA devices"
            )
    elif device.type != "cpu":
        try:
            torch.empty(0, device=device)
        except Exception as error:
            raise DeviceError(f"PyTorch {torch.__version__} cannot use the device {name}") from error
    return device
