"""``analyze benchmark``: latency, throughput, memory and start-up of engines, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport
from segplug_analysis.sizes import given_size

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options:
    """Options of ``analyze benchmark``."""

    backend: tuple[str, ...] = option(
        (),
        help="The infer targets to time. Default: pytorch for a config, all that open it for an artifact.",
        metavar="NAME",
    )
    checkpoint: tuple[str, ...] = option(
        (), help="Weights, one file for each config, in order; default: random.", metavar="FILE"
    )
    cfg_options: Mapping[str, Any] | None = option(None, help="Override settings of the configs.")
    source: str | None = option(None, help="The source that reads the configs.", metavar="NAME")
    trust_checkpoint: bool = option(
        False, help="Load a checkpoint that holds more than plain data. It can run code."
    )
    backend_options: Mapping[str, Any] | None = option(
        None, help="A backend's own options.", metavar="BACKEND.OPTION=VALUE"
    )
    shape: tuple[int, ...] = option(
        (),
        help="Network input, pixels; default: as a file fixes it, for free ones as the first that does.",
        minimum=1,
        metavar="HEIGHT WIDTH",
    )
    batch: int | None = option(
        None,
        help="Pictures in one run; default: as a file fixes it, for free ones as the first that does; or 1.",
        minimum=1,
    )
    device: str = option("cpu", help="cpu, cuda, cuda:1, ...")
    threads: int | None = option(None, help="Threads of one run; default: the library's own.", minimum=1)
    warmup: int = option(5, help="Untimed runs of each engine after its first.", minimum=0)
    runs: int = option(50, help="Timed runs of each engine.", minimum=1)


class Benchmark:
    """Times engines side by side: configs (in PyTorch) and artifacts, each with one or more backends.

    Every engine runs in a process of its own; they take turns, so that a machine that gets slower
    meanwhile is so for all. Everything is compared with the first. A subject that is given twice
    shows how much two equal engines differ.
    """

    api_version = 1
    options = Options

    @hookimpl
    def analyze(self, request: AnalyzeRequest) -> AnalyzeReport:
        """Time ``request.subjects``; see :func:`segplug.hookspecs.analyze`."""
        from segplug_analysis.benchmark.candidates import choose
        from segplug_analysis.benchmark.machine import this_machine
        from segplug_analysis.benchmark.measure import Plan, measure
        from segplug_analysis.benchmark.report import make_report

        options: Options = request.options or Options()
        size = given_size(options.shape)
        plan = Plan(runs=options.runs, warmup=options.warmup, size=size, batch=options.batch)
        candidates = choose(request.subjects, options, request.session)
        machine = this_machine()
        found = measure(candidates, plan, request.reporter)
        return make_report(found, plan, machine)


provider = Benchmark()
