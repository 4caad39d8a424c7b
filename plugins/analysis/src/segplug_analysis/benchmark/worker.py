"""One candidate's process: opens one engine and times its runs when it is told to.

The parent writes one order a line to stdin and reads one answer a line from stdout, both JSON. First
comes the :class:`~segplug_analysis.benchmark.candidates.Candidate`, answered with what its engine takes;
then the shape of its input, answered with the seconds of the first run; then blocks of runs. The process
ends at the end of stdin, and between two runs of a block when the parent is gone.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.api import Segplug
    from segplug.engine import Axis, Engine

__all__ = ["main"]

_SEED = 0

Answer = Callable[[Mapping[str, Any]], None]


def main() -> None:
    """Serve until stdin ends."""
    answer = _answers()
    try:
        _serve((json.loads(line) for line in sys.stdin), answer)
    except Exception as error:
        traceback.print_exc()
        answer(_as_answer(error))


def _answers() -> Answer:
    """Takes stdout for answers alone: what libraries print there goes to stderr from now on."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: Mapping[str, Any]) -> None:
        channel.write(json.dumps(content) + "\n")
        channel.flush()

    return answer


def _as_answer(error: Exception) -> Mapping[str, Any]:
    from segplug.errors import SegplugError

    known = isinstance(error, SegplugError)
    return {
        "error": type(error).__name__,
        "known": known,
        "message": error.message if isinstance(error, SegplugError) else str(error),
        "hint": error.hint if isinstance(error, SegplugError) else None,
    }


def _serve(orders: Iterator[Mapping[str, Any]], answer: Answer) -> None:
    from segplug.api import Segplug
    from segplug.progress import QuietReporter

    job = next(orders, None)
    if job is None:
        return
    reporter = QuietReporter()
    session = Segplug(reporter=reporter, without_addons=job["without_addons"])
    start = time.perf_counter()
    with session.open(
        _subject(session, job),
        backend=job["backend"],
        device=job["device"],
        threads=job["threads"],
        **job["backend_options"],
    ) as engine:
        seconds = time.perf_counter() - start
        answer({**_described(engine), "open_seconds": seconds, "warnings": reporter.warnings, **_memory()})
        fed = next(orders, None)
        if fed is None:
            return
        batch = _pictures(fed["shape"])
        parent = os.getppid()
        answer({"seconds": _timed(engine, batch, 1, parent), **_memory()})
        for order in orders:
            _timed(engine, batch, order["untimed"], parent)
            answer({"seconds": _timed(engine, batch, order["runs"], parent), **_memory()})


def _subject(session: Segplug, job: Mapping[str, Any]) -> Any:
    if not job["is_model"]:
        return job["subject"]
    return session.load_model(
        job["subject"],
        checkpoint=job["checkpoint"],
        cfg_options=job["cfg_options"],
        source=job["source"],
        device=job["device"],
        trust_checkpoint=job["trust_checkpoint"],
    )


def _described(engine: Engine) -> dict[str, Any]:
    spec = engine.spec
    return {
        "engine": spec.backend,
        "output": spec.output,
        "batch": _axis(spec.batch),
        "height": _axis(spec.height),
        "width": _axis(spec.width),
        "nominal_size": spec.meta.input_size,
        "slides": spec.meta.inference.mode == "slide",
        "torch_threads": _torch("get_num_threads"),
    }


def _axis(axis: Axis) -> dict[str, Any]:
    return {"minimum": axis.minimum, "maximum": axis.maximum, "multiple_of": axis.multiple_of}


def _pictures(shape: list[int]) -> npt.NDArray[np.float32]:
    """Normalised pixels, the same for every candidate: mean 0 and standard deviation 1."""
    import numpy as np

    return np.random.default_rng(_SEED).standard_normal(shape, dtype=np.float32)


def _timed(engine: Engine, batch: npt.NDArray[np.float32], runs: int, parent: int) -> list[float]:
    """Seconds of each run; the process ends instead when ``parent`` is no more its parent."""
    seconds = []
    for _ in range(runs):
        if os.getppid() != parent:  # killed: nobody waits for the rest of what may be thousands of runs
            sys.exit()
        start = time.perf_counter()
        engine.run(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


def _memory() -> dict[str, int | None]:
    """Peaks so far, in bytes: of this process, and of what PyTorch holds on CUDA devices."""
    return {"peak_bytes": _peak_resident(), "cuda_peak_bytes": _cuda_peak()}


def _peak_resident() -> int | None:
    """The largest resident size of this process; ``None`` where the system does not say."""
    try:
        # Not ru_maxrss: on Linux that starts with the size of the process that started this one.
        with open("/proc/self/status", encoding="ascii") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cuda_peak() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return int(sum(torch.cuda.max_memory_allocated(device) for device in range(torch.cuda.device_count())))


def _torch(function: str) -> Any:
    """What PyTorch says of itself, if the engine uses it; it is not imported for the question."""
    torch = sys.modules.get("torch")
    return None if torch is None else getattr(torch, function)()


if __name__ == "__main__":
    main()
