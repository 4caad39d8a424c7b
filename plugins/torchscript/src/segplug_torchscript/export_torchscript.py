"""``export torchscript``: a loaded model becomes a traced TorchScript file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.hookspecs import hookimpl
from segplug.model import ModelMeta
from segplug.options import option
from segplug.providers import Exporter
from segplug.requests import ExportRequest, MakePlan
from segplug.results import Artifact
from segplug.tracing import explain_size_errors, plan_trace
from segplug_torchscript import archive, packing

if TYPE_CHECKING:
    from segplug.description import FileDescription

__all__ = ["Options", "provider"]

_TARGET = "torchscript"
_SUFFIX = ".pt"

_HINT = "export for one --shape without --dynamic, or try export torch-export --dynamic"


@dataclass(frozen=True)
class Options:
    """Options of ``export torchscript``."""

    optimize: bool = option(
        False, help="Freeze: weights become constants, norms are folded into convolutions (torch.jit.freeze)."
    )
    show: bool = option(False, help="Print the graph.")


class TorchScriptExporter(Exporter[Options]):
    """Writes the model as one traced TorchScript file (fp32), which needs no source code.

    PyTorch itself has deprecated TorchScript and goes on reading its files; export torch-export writes its
    successor. With free sizes the file is compared with the network at other sizes and batches, and refused
    if it differs.
    """

    hook_version = 2
    options = Options
    verify_with = _TARGET
    suffix = _SUFFIX
    output_flags = ("--output-file",)

    def check_plan(self, plan: MakePlan[Options]) -> None:
        """The suffix, and what is installed."""
        packing.check_plan(plan, _TARGET, _SUFFIX)

    @hookimpl
    def export(self, request: ExportRequest[Options]) -> Artifact:
        """Write ``request.model`` as TorchScript; see :func:`segplug.hookspecs.export`."""
        options = request.options
        plan = plan_trace(request)
        from segplug_torch.devices import resolve_device

        from segplug_torchscript import jit
        from segplug_torchscript.size_checks import check_at_inputs, inputs_for

        sample = packing.sample(request, plan.batch, plan.size)
        with request.reporter.progress("tracing", None), explain_size_errors(request, plan.size):
            module = jit.trace(request.model.exportable(), sample, optimize=options.optimize)
        if options.show:
            request.reporter.note(jit.as_text(module))
        inputs = inputs_for(plan, plan.limits)
        meta = packing.completed(request, plan, _TARGET, inputs, optimized=options.optimize)
        with request.reporter.progress("writing", None):
            packing.write(request, meta, partial(jit.save, module))
            opened = jit.load(request.output, resolve_device(request.model.device))
        hint = _HINT if plan.free else "try export torch-export"
        check_at_inputs(request, opened, inputs, hint=hint)
        return request.made(meta)

    def write_meta(self, path: Path, meta: ModelMeta) -> None:
        """Replace the metadata inside a file, in one step; the weights keep their bytes."""
        archive.write_meta(path, meta)

    def read_meta(self, path: Path) -> ModelMeta | None:
        """Read the metadata inside a file; a file of another tool or target has none."""
        return archive.read_meta(path, _TARGET)

    def describe(self, path: Path) -> FileDescription | None:
        """Read what a file holds, of another tool's file, too."""
        from segplug_torchscript.description import describe

        return describe(path, _TARGET)


provider = TorchScriptExporter()
