"""``infer torch-export``: a .pt2 file becomes an engine. Needs torch and numpy, nothing else."""

from __future__ import annotations

from segplug_torch.engine import TorchEngine

from segplug.engine import Engine
from segplug.errors import UsageError
from segplug.hookspecs import hookimpl
from segplug.requests import InferRequest
from segplug_torchscript import archive, packing

__all__ = ["provider"]

_TARGET = "torch-export"


class TorchExportInfer:
    """Runs a torch.export program (.pt2) that segplug exported, compiled or not, on the CPU or a GPU.

    Such a file is a program: open only files from people whom you trust.
    """

    api_version = 1
    takes = "artifact"
    reads = (_TARGET,)

    @hookimpl
    def infer(self, request: InferRequest) -> Engine:
        """Open ``request.artifact``; see :func:`segplug.hookspecs.infer`."""
        if request.artifact is None:
            raise UsageError("infer torch-export takes a .pt2 file")
        kind, meta = archive.read_meta(request.artifact, _TARGET)
        packing.require_torch("infer torch-export")
        from segplug_torch.devices import resolve_device

        from segplug_torchscript import programs

        device = resolve_device(request.device)
        if kind == "aot":
            made_for = meta.extra.get(_TARGET, {}).get("machine", {})
            function = programs.load_compiled(request.artifact, device, made_for)
        else:
            function = programs.load_program(request.artifact, device)
        return TorchEngine(
            function,
            meta,
            **packing.axes(meta, _TARGET),
            device=device,
            backend=_TARGET if kind == "export" else f"{_TARGET} compiled",
            threads=request.threads,
        )


provider = TorchExportInfer()
