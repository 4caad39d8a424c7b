"""``analyze benchmark``: latency, throughput, memory and start-up of engines, side by side."""

from __future__ import annotations

from dataclasses import replace

from segplug.hookspecs import hookimpl
from segplug.providers import Report
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport
from segplug_analysis.benchmark.options import Options
from segplug_analysis.sizes import given_size

__all__ = ["provider"]


class Benchmark(Report[Options]):
    """Times engines side by side: latency, throughput, memory and start-up of each.

    The engines are those of configs (in PyTorch) and of artifacts, each with one or more backends. Every
    engine runs in a process of its own. The engines take turns, so that a machine that slows down slows all
    of them alike. Everything is compared with the first engine. Name a file twice to see how much two equal
    engines differ.
    """

    hook_version = 2
    example = "CONFIG.py model.onnx --threads 2"
    options = Options

    @hookimpl
    def analyze(self, request: AnalyzeRequest[Options]) -> AnalyzeReport:
        """Time ``request.subjects``; see :func:`segplug.hookspecs.analyze`."""
        from segplug_analysis.benchmark.candidates import choose
        from segplug_analysis.benchmark.measure import Plan, measure
        from segplug_analysis.benchmark.report import make_report
        from segplug_analysis.machine import this_machine

        options = request.options
        size = given_size(options.shape)
        plan = Plan(runs=options.runs, warmup=options.warmup, size=size, batch=options.batch)
        chosen = choose(request.subjects, options, request.session)
        candidates = [replace(candidate, parent=request.call.id) for candidate in chosen]
        machine = this_machine()
        measured = measure(candidates, plan, request.reporter)
        return make_report(measured, plan, machine)


provider = Benchmark()
