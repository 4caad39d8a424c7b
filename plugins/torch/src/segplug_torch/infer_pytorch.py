"""``infer pytorch``: the loaded model itself as an engine, the reference of every comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.hookspecs import hookimpl
from segplug.options import NoOptions
from segplug.providers import Backend
from segplug_torch.engine import TorchEngine

if TYPE_CHECKING:
    from segplug.requests import InferRequest

__all__ = ["provider"]


class PyTorchInfer(Backend[NoOptions]):
    """Runs the loaded model itself in PyTorch (fp32), the reference of every comparison."""

    hook_version = 2
    takes = "model"

    def check_device(self, device: str) -> None:
        """Raise the error of running on ``device``, if PyTorch cannot use it."""
        from segplug_torch.devices import resolve_device

        resolve_device(device)

    @hookimpl
    def infer(self, request: InferRequest[NoOptions]) -> TorchEngine:
        """Wrap ``request.model``, whose network is moved to ``request.device`` and stays there."""
        model = request.loaded
        from segplug_torch.devices import resolve_device

        device = resolve_device(request.device)
        return TorchEngine(
            model.module.to(device),
            model.meta,
            device=device,
            backend="pytorch",
            threads=request.threads,
        )


provider = PyTorchInfer()
