"""``infer torch-export``: a .pt2 file becomes an engine. Needs torch and numpy, nothing else."""

from __future__ import annotations

from segplug_torch.engine import TorchEngine

from segplug.engine import Engine
from segplug.hookspecs import hookimpl
from segplug.options import NoOptions
from segplug.providers import Backend
from segplug.requests import InferRequest
from segplug_torchscript import archive, packing

__all__ = ["provider"]

_TARGET = "torch-export"


class TorchExportInfer(Backend[NoOptions]):
    """Runs a torch.export program (.pt2) of segplug's, compiled or not, on the CPU or a GPU.

    Such a file is a program. It is opened if it only computes: its operators, expressions, names and pickles
    are checked first. Another one, and a compiled one, which holds machine code, need --trust-artifact.
    """

    hook_version = 2

    def check_device(self, device: str) -> None:
        """Raise the error of opening a file on ``device``, if PyTorch cannot use it."""
        packing.require_torch("infer torch-export")
        from segplug_torch.devices import resolve_device

        resolve_device(device)

    @hookimpl
    def infer(self, request: InferRequest[NoOptions]) -> Engine:
        """Open ``request.artifact``; see :func:`segplug.hookspecs.infer`."""
        kind, meta = archive.read_checked(request.file, _TARGET)
        packing.require_torch("infer torch-export")
        from segplug_torch.devices import resolve_device

        from segplug_torchscript import checks, programs

        if not request.trust_artifact:
            checks.check_program(request.file) if kind == "export" else checks.refuse_compiled(request.file)
        device = resolve_device(request.device)
        if kind == "aot":
            made_for = meta.extra_as(_TARGET, packing.Details, file=request.file).machine
            function = programs.load_compiled(request.file, device, made_for)
        else:
            function = programs.load_program(request.file, device)
        return TorchEngine(
            function,
            meta,
            **packing.axes(meta, _TARGET, request.file),
            device=device,
            backend=_TARGET if kind == "export" else f"{_TARGET} compiled",
            threads=request.threads,
        )


provider = TorchExportInfer()
