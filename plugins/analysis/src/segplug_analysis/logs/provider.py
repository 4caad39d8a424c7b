"""``analyze logs``: training curves of mmcv and mmengine logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.providers import Report
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport, Figure
from segplug_analysis.pictures import Kind, Style, picture_kind

if TYPE_CHECKING:
    from segplug_analysis.logs.run import Run

__all__ = ["Options", "provider"]

_MEGABYTE = 1 << 20

_NAMED = 4
"""A title lists up to this many keys."""


@dataclass(frozen=True)
class Options:
    """Options of ``analyze logs``."""

    keys: tuple[str, ...] = option(
        (), help="The keys to draw. Default: mIoU, mAcc and aAcc if a log has them, else loss.", metavar="KEY"
    )
    legend: tuple[str, ...] = option(
        (), help="Names in the legend: one for each run, or one for each run and key.", metavar="NAME"
    )
    title: str | None = option(None, help="The picture's title.")
    style: Style = option("whitegrid", help="The style of seaborn for the picture.")
    out: Path | None = option(
        None, help="Write the picture to this file: .png, .svg or .pdf.", metavar="FILE", output=True
    )
    backend: str | None = option(
        None,
        help="Show the curves in a window of this matplotlib backend. Ignored with --out.",
        metavar="NAME",
    )
    smooth: float = option(
        0.0,
        help="Smooth training curves: the weight of the past in an exponential moving average.",
        minimum=0,
        maximum=0.9999,
    )
    log_y: bool = option(False, help="Draw values on a logarithmic axis.")


class Logs(Report[Options]):
    """Draws the curves of training logs: mmcv's .log.json and mmengine's scalars.json.

    Each SUBJECT is one run: a file, or a folder with all files of a resumed run. A text log stands for the
    file with its numbers beside it.
    """

    hook_version = 2
    example = "work_dir --keys mIoU loss --smooth 0.9"
    options = Options

    @hookimpl
    def analyze(self, request: AnalyzeRequest[Options]) -> AnalyzeReport:
        from segplug_analysis.logs.choice import all_series, choose_keys, choose_unit
        from segplug_analysis.logs.drawing import CurvePicture
        from segplug_analysis.logs.report import data_of, notes_of, tables_of

        options = request.options
        kind = _check(request)
        runs = _read(request)
        keys = choose_keys(options.keys, runs)
        unit = choose_unit(runs, keys)
        series = all_series(runs, keys, options.legend, unit)
        title = options.title or _title(keys, [run.name for run in runs])
        picture = CurvePicture(series, title, unit, options.style, options.log_y)
        if options.out and kind:
            options.out.write_bytes(picture.encoded(kind))
        elif options.backend:
            picture.show()
        return AnalyzeReport(
            title=title,
            data=data_of(runs, series, unit, options.smooth),
            tables=tables_of(runs, series, unit),
            figures=(
                Figure(
                    title=title,
                    draw=picture.for_page,
                    media_type="image/svg+xml",
                    description=f"Curves over the {unit}: " + ", ".join(one.label for one in series),
                    text=picture.text,
                ),
            ),
            notes=(
                *notes_of(runs, series, keys, unit, options.smooth, log_y=options.log_y),
                *picture.notes(),
            ),
        )


def _check(request: AnalyzeRequest[Options]) -> Kind | None:
    """Check the options before a log is read; returns the format of the picture to write, if any."""
    from segplug_analysis.logs.choice import check_legend
    from segplug_analysis.logs.window import check_backend

    options = request.options
    if options.legend and options.keys:
        check_legend(options.legend, len(request.subjects), len(set(options.keys)))
    if options.backend:
        check_backend(options.backend, shows=options.out is None)
    return picture_kind(options.out) if options.out else None


def _read(request: AnalyzeRequest[Options]) -> list[Run]:
    from segplug_analysis.logs.choice import DEFAULT_KEYS
    from segplug_analysis.logs.log_files import log_files, run_names
    from segplug_analysis.logs.run import Run, read_run

    options = request.options
    files = [log_files(log) for log in request.subjects]
    names = run_names(request.subjects)
    megabytes = sum(path.stat().st_size for paths in files for path in paths) // _MEGABYTE
    with request.reporter.progress("reading logs (MiB)", megabytes) as progress:
        return [
            read_run(Run(name, options.keys or DEFAULT_KEYS, options.smooth), paths, progress)
            for name, paths in zip(names, files, strict=True)
        ]


def _title(keys: Sequence[str], names: Sequence[str]) -> str:
    runs = names[0] if len(names) == 1 else f"{len(names)} runs"
    return f"{', '.join(keys)} of {runs}" if len(keys) <= _NAMED else f"{len(keys)} keys of {runs}"


provider = Logs()
