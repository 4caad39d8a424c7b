"""``export torch-export``: a loaded model becomes a torch.export program (.pt2), compiled if asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

_TARGET = "torch-export"
_SUFFIX = ".pt2"


@dataclass(frozen=True)
class Options:
    """Options of ``export torch-export``."""

    aot: bool = option(
        False,
        help="Compile it with AOTInductor, for this kind of machine; needs a C++ compiler, and minutes.",
    )
    show: bool = option(False, help="Print the graph.")


class TorchExportExporter(Exporter[Options]):
    """Writes the model as one torch.export program (.pt2, fp32), the successor of TorchScript.

    Sizes are symbols in it, and its operators are those of PyTorch's core. With --aot it is compiled,
    which makes it faster, and binds it to one kind of device and processor.
    """

    hook_version = 2
    options = Options
    verify_with = _TARGET
    suffix = _SUFFIX
    output_flags = ("--output-file",)

    def check_plan(self, plan: MakePlan[Options]) -> None:
        """The suffix, and what is installed."""
        packing.check_plan(plan, _TARGET, _SUFFIX)
        if plan.options.aot:
            from segplug_torchscript import programs

            programs.require_compiler()

    @hookimpl
    def export(self, request: ExportRequest[Options]) -> Artifact:
        """Write ``request.model`` as a program; see :func:`segplug.hookspecs.export`."""
        options = request.options
        plan = plan_trace(request)
        from segplug_torch.devices import resolve_device

        from segplug_torchscript import programs
        from segplug_torchscript.size_checks import check_at_inputs, inputs_for

        device = resolve_device(request.model.device)
        sample = packing.sample(request, plan.batch, plan.traced)
        with request.reporter.progress("tracing", None), explain_size_errors(request, plan.size):
            program = programs.export(request.model.exportable(), sample, plan.free, plan.multiple_of)
        if options.show:
            request.reporter.note(programs.as_text(program))
        if plan.sizes_vary:
            limits = programs.limits_of(program, plan.limits, plan.multiple_of)
            if plan.limits not in (None, limits):
                request.reporter.note(f"the program takes {limits}; the network itself {plan.limits}")
            plan = replace(plan, limits=limits)
        inputs = inputs_for(plan, plan.limits)
        details: dict[str, Any] = {"machine": programs.machine(device)} if options.aot else {}
        meta = packing.completed(request, plan, _TARGET, inputs, compiled=options.aot, **details)
        save = programs.save_compiled if options.aot else programs.save_program
        with request.reporter.progress("compiling and writing" if options.aot else "writing", None):
            packing.write(request, meta, partial(save, program))
            function = (
                programs.load_compiled(request.output, device, details["machine"])
                if options.aot
                else programs.load_program(request.output, device)
            )
        check_at_inputs(request, function, inputs, hint="export for one --shape without --dynamic")
        return request.made(meta)

    def write_meta(self, path: Path, meta: ModelMeta) -> None:
        """Replace the metadata inside a file, in one step; weights and code keep their bytes."""
        archive.write_meta(path, meta)

    def read_meta(self, path: Path) -> ModelMeta | None:
        """Read the metadata inside a file; a file of another tool or target has none."""
        return archive.read_meta(path, _TARGET)

    def describe(self, path: Path) -> FileDescription | None:
        """Read what a file holds, of another tool's file, too."""
        from segplug_torchscript.description import describe

        return describe(path, _TARGET)


provider = TorchExportExporter()
