"""``analyze flops``: MACs, FLOPs and parameters of a config's network or of an ONNX file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.errors import MissingDependencyError, UsageError
from segplug.hookspecs import hookimpl
from segplug.limits import why_no_input
from segplug.options import option
from segplug.providers import Report
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport
from segplug_analysis.model_options import ModelOptions
from segplug_analysis.sizes import given_size

if TYPE_CHECKING:
    from segplug.session import Session
    from segplug_analysis.flops.tally import Complexity

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options(ModelOptions):
    """Options of ``analyze flops``."""

    shape: tuple[int, ...] = option(
        (),
        help="Network input in pixels; one number is a square. Default: the model's own size.",
        metavar="H W",
        minimum=1,
    )
    depth: int = option(2, help="Deepest level in the table of modules. 0: only the network.", minimum=0)


class Flops(Report[Options]):
    """Counts MACs, FLOPs and parameters of a config's network or of an ONNX file.

    In total, per module and per operator, with the rule that each operator is counted by. A config's
    network is traced without computing values if possible: that needs no checkpoint, and little time and
    memory.
    """

    hook_version = 2
    example = "CONFIG.py --shape 512 1024"
    options = Options

    @hookimpl
    def analyze(self, request: AnalyzeRequest[Options]) -> AnalyzeReport:
        """Count ``request.subjects``, one config or ONNX file; see :func:`segplug.hookspecs.analyze`."""
        options = request.options
        if len(request.subjects) != 1:
            raise UsageError(f"analyze flops takes one config or ONNX file, not {len(request.subjects)}")
        shape = given_size(options.shape)
        (subject,) = request.subjects
        if Path(subject).suffix.lower() == ".onnx":
            with request.reporter.progress("counting", None):
                name, complexity = _of_onnx(Path(subject), shape, options)
        else:
            name, complexity = _of_config(subject, shape, request.session, options)
        from segplug_analysis.flops.report import as_report

        return as_report(name, complexity, depth=options.depth)


def _of_config(
    subject: str, shape: tuple[int, int] | None, session: Session, options: Options
) -> tuple[str, Complexity]:
    try:
        from segplug_analysis.flops.torch_counter import count_network
    except ImportError as error:
        raise _missing("models", error) from error
    from segplug_analysis.flops.windows import notes_on_model

    model = session.load_model(subject, for_training=True, structure_only=True, **options.loading(session))
    shape = shape or model.meta.input_size
    if shape is None:
        raise UsageError(f"{subject} says no input size", hint="give --shape H W")
    if reason := why_no_input(shape, channels=model.meta.in_channels):
        raise UsageError(reason, hint="give a smaller --shape")
    with session.reporter.progress("counting", None):
        complexity = count_network(model.module, model.meta.in_channels, shape)
    notes = (*complexity.notes, *notes_on_model(model.meta, shape))
    return model.meta.name, dataclasses.replace(complexity, notes=notes)


def _of_onnx(path: Path, shape: tuple[int, int] | None, options: Options) -> tuple[str, Complexity]:
    if options.cfg_options or options.source or options.source_options or options.approximate:
        flags = "--cfg-options, --source, --source-options and --approximate"
        raise UsageError(f"{flags} are for configs, not for {path}")
    try:
        from segplug_analysis.flops.onnx_counter import count_file
    except ImportError as error:
        raise _missing("onnx", error) from error
    return path.name, count_file(path, shape)


def _missing(extra: str, error: ImportError) -> MissingDependencyError:
    return MissingDependencyError(
        f"analyze flops needs a library that is not installed: {error}",
        hint=f"pip install 'segplug-analysis[{extra}]'",
    )


provider = Flops()
