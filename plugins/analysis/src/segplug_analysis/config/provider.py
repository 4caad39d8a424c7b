"""``analyze config``: the whole config as loadable Python, and the modules of its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import MissingDependencyError, UsageError
from segplug.hookspecs import hookimpl
from segplug.limits import why_no_input
from segplug.options import option
from segplug.providers import Report
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport, Table
from segplug.text import counted
from segplug_analysis.model_notes import approximation_notes
from segplug_analysis.model_options import ModelOptions
from segplug_analysis.sizes import given_size

if TYPE_CHECKING:
    from segplug.session import Session
    from segplug_analysis.modules import ModuleRecord

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options(ModelOptions):
    """Options of ``analyze config``."""

    graph: bool = option(False, help="Show the network's modules, with their output shapes and parameters.")
    shape: tuple[int, ...] = option(
        (),
        help="Height and width of the input for --graph; one number for a square.",
        minimum=1,
        metavar="H W",
    )
    upgrade: bool = option(
        False,
        help="Translate the config to the next generation of its framework: mmsegmentation 0.x to 1.x.",
    )
    out: Path | None = option(None, help="Write the config to this file.", metavar="FILE", output=True)


class ConfigReport(Report[Options]):
    """Shows a config with everything it imports, as loadable Python; with --graph its network.

    Only the file of --out is written.
    """

    hook_version = 2
    example = "CONFIG.py --graph"
    options = Options

    @hookimpl
    def analyze(self, request: AnalyzeRequest[Options]) -> AnalyzeReport:
        """Expand ``request.subjects``, one config; see :func:`segplug.hookspecs.analyze`."""
        options = request.options
        if len(request.subjects) != 1:
            raise UsageError(f"analyze config takes one config, not {len(request.subjects)}")
        for flag, given in (("--shape", options.shape), ("--approximate", options.approximate)):
            if given and not options.graph:
                raise UsageError(f"{flag} is only used with --graph", hint="add --graph")
        (location,) = request.subjects
        session = request.session
        write = session.upgraded_text if options.upgrade else session.config_text
        text = write(location, **options.keywords(write))
        graph = _graph(session, location, options) if options.graph else None
        if options.out is not None:
            options.out.write_text(text, encoding="utf-8")
        return AnalyzeReport(
            title=f"config {location}",
            data={"config": location, "text": text, **(graph.data if graph else {})},
            tables=(graph.table,) if graph else (),
            notes=graph.notes if graph else (),
            text=text,
            text_language="python",
        )


_UNUSED = (
    "Modules with parameters and no output are not called in inference: only training uses them, or another "
    "module reads their parameters."
)


@dataclass(frozen=True)
class _Graph:
    data: Mapping[str, Any]
    table: Table
    notes: tuple[str, ...]


def _graph(session: Session, location: str, options: Options) -> _Graph:
    try:
        import torch  # noqa: F401 - the import below needs it

        from segplug_analysis.modules import trace_modules
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "analyze config --graph needs torch", hint="pip install 'segplug-analysis[models]'"
        ) from error
    model = session.load_model(location, for_training=True, structure_only=True, **options.loading(session))
    shape = given_size(options.shape) or model.meta.input_size
    if shape and (reason := why_no_input(shape, channels=model.meta.in_channels)):
        raise UsageError(reason, hint="give a smaller --shape")
    if shape is None:
        raise UsageError("the config has no input size", hint="add --shape HEIGHT WIDTH")
    channels = model.meta.in_channels
    with session.reporter.progress("running the modules", None):
        records = trace_modules(model.module, channels, shape)
    unused = any(not record.calls and record.parameters for record in records)
    return _Graph(
        data={"shape": [1, channels, *shape], "modules": [asdict(record) for record in records]},
        table=Table(
            f"modules for an image of {shape[0]} x {shape[1]}, {counted(channels, 'channel')}",
            ("module", "class", "output", "own parameters", "parameters"),
            tuple(_row(record) for record in records),
        ),
        notes=(*((_UNUSED,) if unused else ()), *approximation_notes(model.meta.approximations)),
    )


def _row(record: ModuleRecord) -> tuple[Any, ...]:
    shapes = ", ".join("x".join(map(str, shape)) for shape in record.outputs)
    calls = f"{shapes} ({record.calls} calls)" if record.calls > 1 else shapes or "-"
    name = "  " * record.depth + (record.name or "network")
    return (name, record.kind, calls, record.own_parameters or None, record.parameters or None)


provider = ConfigReport()
