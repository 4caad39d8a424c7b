"""What a reader must know to read a serving report rightly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from segplug_analysis.serving.numbers import LevelNumbers

if TYPE_CHECKING:
    from segplug_analysis.serving.found import Found

__all__ = ["notes_of"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_FEW = 100
"""Fewer requests than this have no 99th percentile of their own."""


def notes_of(found: Found, numbers: Sequence[LevelNumbers]) -> Iterator[str]:
    """A sentence each, with what the run warned of at the end."""
    yield from _comparison(found)
    yield _where(found)
    yield _how(found)
    yield from _time_inside(numbers)
    if len(found.pictures) == 1:
        yield "one image was sent: a server that answers with another client's mask cannot be seen"
    yield from (f"warning: {warning}" for warning in dict.fromkeys(found.warnings))


def _comparison(found: Found) -> Iterator[str]:
    agreements = found.judgement.agreements
    if found.model is None:
        yield "nothing is compared with PyTorch, only measured: --config and --checkpoint name what it runs"
        return
    precision = agreements[0].comparison.precision
    threads = found.threads or "its own default"
    yield (
        f"PyTorch ran {found.model.name} in fp32 on {found.device}, threads: {threads}; near-ties are pixels "
        f"whose two largest logits are so near that {precision} may turn them: with another number of "
        "threads than the server's a few of them differ"
    )
    if any(one.resized and not one.comparison.passed for one in agreements):
        yield (
            "the network's size is not the images' own: a served file that gives labels cannot bring them "
            "back as PyTorch's logits are, export it with --output-kind logits"
        )
    if not any(one.differing for one in agreements):
        yield "every first mask has the same label as PyTorch's at every pixel"


def _where(found: Found) -> str:
    machine = found.machine
    host = urlsplit(found.plan.url).hostname or ""
    here = f"measured from {machine.processor}, {machine.cores} cores"
    if machine.load is not None:
        here += f", load {machine.load:.2f} before the start"
    if host in _LOOPBACK or host.startswith("127."):
        return f"{here}: the server runs on the same machine, and shares it with its clients"
    return f"{here}: the way to {host} and back is in all times at the client, and in the overhead"


def _how(found: Found) -> str:
    plan = found.plan
    text = (
        f"closed loop: each client keeps its connection and sends when its last request was answered, "
        f"{plan.requests} timed requests a level after {plan.warmup} untimed ones of each client; "
        "latency is from the first byte sent to the last received, of requests answered with a mask; "
        "failed requests and other masks are counted in the warm-up, too"
    )
    few = f"; with fewer than {_FEW} requests p99 says little more than the slowest of them"
    return text + few * (plan.requests < _FEW)


def _time_inside(numbers: Sequence[LevelNumbers]) -> Iterator[str]:
    if all(each.inside is None for each in numbers):
        yield (
            "the server does not say how long it worked (no Server-Timing header of segplug's): "
            "its overhead cannot be told from the model's time"
        )
        return
    yield (
        "overhead is the time at the client less what the server says of itself: HTTP, the server's own "
        "processes, waiting in its queue, for a batch, and for its other images to be read and written; "
        "model and process are those of the whole batch that a request was in, and process is pre- and "
        "postprocessing"
    )
    sizes = {size for each in numbers if each.inside for size in each.inside.batches}
    if sizes:
        yield f"images that the server ran together: {', '.join(str(size) for size in sorted(sizes))}"
