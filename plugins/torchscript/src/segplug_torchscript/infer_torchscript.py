"""``infer torchscript``: a TorchScript file becomes an engine. Needs torch and numpy, nothing else."""

from __future__ import annotations

from segplug_torch.engine import TorchEngine

from segplug.engine import Engine
from segplug.hookspecs import hookimpl
from segplug.options import NoOptions
from segplug.providers import Backend
from segplug.requests import InferRequest
from segplug_torchscript import archive, packing

__all__ = ["provider"]

_TARGET = "torchscript"


class TorchScriptInfer(Backend[NoOptions]):
    """Runs a TorchScript file that segplug exported, in PyTorch, on the CPU or a GPU.

    Such a file is a program. It is opened if it only computes: its operators, its pickles and the file itself
    are checked first. Another one, which could write files or run code, needs --trust-artifact.
    """

    hook_version = 2

    def check_device(self, device: str) -> None:
        """Raise the error of opening a file on ``device``, if PyTorch cannot use it."""
        packing.require_torch("infer torchscript")
        from segplug_torch.devices import resolve_device

        resolve_device(device)

    @hookimpl
    def infer(self, request: InferRequest[NoOptions]) -> Engine:
        """Open ``request.artifact``; see :func:`segplug.hookspecs.infer`."""
        _, meta = archive.read_checked(request.file, _TARGET)
        packing.require_torch("infer torchscript")
        from segplug_torch.devices import resolve_device

        from segplug_torchscript import checks, jit

        if not request.trust_artifact:
            checks.check_script(request.file)
        device = resolve_device(request.device)
        return TorchEngine(
            jit.load(request.file, device),
            meta,
            **packing.axes(meta, _TARGET, request.file),
            device=device,
            backend=_TARGET,
            threads=request.threads,
        )


provider = TorchScriptInfer()
