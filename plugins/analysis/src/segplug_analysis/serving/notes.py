"""The notes that explain a serving report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from segplug_analysis.model_notes import approximation_notes, views_note
from segplug_analysis.serving.numbers import LevelNumbers

if TYPE_CHECKING:
    from segplug_analysis.serving.measurements import Measurements

__all__ = ["notes_of"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_FEW = 100
"""With fewer requests, the 99th percentile is nearly the maximum."""


def notes_of(measured: Measurements, numbers: Sequence[LevelNumbers]) -> Iterator[str]:
    """One sentence each, the warnings of the run last."""
    metas = [meta for meta in (measured.model, measured.meta) if meta is not None]
    yield from approximation_notes(line for meta in metas for line in meta.approximations)
    yield from _comparison(measured)
    yield from views_note(max(len(meta.default_tta) for meta in metas), "servers run one view of each image")
    yield _where(measured)
    yield _how(measured)
    yield from _time_inside(numbers)
    if len(measured.pictures) == 1:
        yield "only one image was sent: swapped masks of two clients cannot be detected"
    yield from (f"warning: {warning}" for warning in dict.fromkeys(measured.warnings))


def _comparison(measured: Measurements) -> Iterator[str]:
    agreements = measured.checks.agreements
    if measured.model is None:
        yield "the server is only measured; --config and --checkpoint compare its masks with PyTorch's"
        return
    precision = agreements[0].comparison.precision
    ties = (
        f"where the score of a class is so close to its threshold that rounding in {precision} may change it"
        if measured.model.multilabel
        else f"whose two largest logits are so close that rounding in {precision} may swap them"
    )
    threads = measured.threads or "its own default"
    yield (
        f"PyTorch ran {measured.model.name} in fp32 on {measured.device}, threads: {threads}; near-ties are "
        f"pixels {ties}: if the server uses another number of threads, a few of them differ"
    )
    if any(one.resized and not one.comparison.passed for one in agreements):
        yield (
            "images are resized for the network: a served file that gives labels can only resize labels, "
            "while PyTorch resizes logits; export the file with --output-kind logits"
        )
    if not any(one.differing for one in agreements):
        yield "all first masks are equal to PyTorch's, at every pixel"


def _where(measured: Measurements) -> str:
    machine = measured.machine
    host = urlsplit(measured.plan.url).hostname or ""
    here = f"measured from {machine.processor}, {machine.cores} cores"
    if machine.load is not None:
        here += f", load {machine.load:.2f} before the start"
    if host in _LOOPBACK or host.startswith("127."):
        return f"{here}: the server runs on the same machine as its clients, and shares its processors"
    return f"{here}: all times at the client, and the overhead, include the network to {host} and back"


def _how(measured: Measurements) -> str:
    plan = measured.plan
    text = (
        "closed loop: each client keeps its connection and sends its next request after the last answer; "
        f"{plan.requests} timed requests per level, after {plan.warmup} untimed requests of each client; "
        "latency is from the first byte sent to the last received, of requests answered with a mask; "
        "failed requests and other masks are also counted in the warm-up"
    )
    few = f"; with fewer than {_FEW} requests, p99 is nearly the slowest request"
    return text + few * (plan.requests < _FEW)


def _time_inside(numbers: Sequence[LevelNumbers]) -> Iterator[str]:
    if all(each.inside is None for each in numbers):
        yield (
            "the server does not report its own times (no Server-Timing header of segplug's): "
            "overhead and model time cannot be told apart"
        )
        return
    yield (
        "overhead is the time at the client minus the times that the server reports: HTTP, the server's own "
        "processes, waiting in its queue and for a batch, and waiting while it decodes and encodes other "
        "images; model and process are the times of the whole batch that a request was in; process is pre- "
        "and postprocessing"
    )
    sizes = {size for each in numbers if each.inside for size in each.inside.batches}
    if sizes:
        yield f"batch sizes that the server ran: {', '.join(str(size) for size in sorted(sizes))}"
