"""``infer pytorch``: the loaded model itself as an engine, the reference of every comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.errors import UsageError
from segplug.hookspecs import hookimpl
from segplug_torch.engine import TorchEngine

if TYPE_CHECKING:
    from segplug.requests import InferRequest

__all__ = ["provider"]


class PyTorchInfer:
    """Runs the loaded model itself in PyTorch (fp32), the reference of every comparison."""

    api_version = 1
    takes = "model"

    @hookimpl
    def infer(self, request: InferRequest) -> TorchEngine:
        """Wrap ``request.model``, whose network is moved to ``request.device`` and stays there."""
        if request.model is None:
            raise UsageError("infer pytorch runs a model: give a config and its checkpoint")
        from segplug_torch.devices import resolve_device

        device = resolve_device(request.device)
        return TorchEngine(
            request.model.module.to(device),
            request.model.meta,
            device=device,
            backend="pytorch",
            threads=request.threads,
        )


provider = PyTorchInfer()
