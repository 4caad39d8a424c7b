"""The process of one candidate: opens one engine and times its runs on command.

The parent writes one command per line to stdin and reads one answer per line from stdout, both JSON. First
comes the :class:`~segplug_analysis.benchmark.candidates.Candidate`, answered with what its engine takes;
then the shape of its input, answered with the seconds of the first run; then blocks of runs. The process
ends at the end of stdin, and between two runs of a block if the parent has died.
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
    answer = _answer_channel()
    try:
        _serve((json.loads(line) for line in sys.stdin), answer)
    except Exception as error:
        traceback.print_exc()
        answer(_as_answer(error))


def _answer_channel() -> Answer:
    """Reserve stdout for answers: what libraries print there goes to stderr from now on."""
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


def _serve(commands: Iterator[Mapping[str, Any]], answer: Answer) -> None:
    from segplug.api import Segplug
    from segplug.progress import QuietReporter

    job = next(commands, None)
    if job is None:
        return
    reporter = QuietReporter()
    session = Segplug(
        reporter=reporter,
        without_addons=job["without_addons"],
        addon_options=job["addon_options"],
        parent=job["parent"],
    )
    start = time.perf_counter()
    with session.open(
        _subject(session, job),
        backend=job["backend"],
        device=job["device"],
        threads=job["threads"],
        trust_artifact=job["trust_artifact"],
        allow_nonfinite=job["allow_nonfinite"],
        **job["backend_options"],
    ) as engine:
        seconds = time.perf_counter() - start
        answer({**_describe(engine), "open_seconds": seconds, "warnings": reporter.warnings, **_memory()})
        first = next(commands, None)
        if first is None:
            return
        batch = _random_batch(first["shape"])
        parent = os.getppid()
        first_seconds, warnings = _first_run(engine, batch)
        answer({"seconds": [first_seconds], "warnings": warnings, **_memory()})
        for command in commands:
            _time_runs(engine, batch, command["untimed"], parent)
            answer({"seconds": _time_runs(engine, batch, command["runs"], parent), **_memory()})


def _subject(session: Segplug, job: Mapping[str, Any]) -> Any:
    if not job["is_model"]:
        return job["subject"]
    # The backend puts the network on its device: the source may not know that device.
    return session.load_model(
        job["subject"],
        checkpoint=job["checkpoint"],
        allow_nonfinite=job["allow_nonfinite"],
        **job["model_options"],
    )


def _first_run(engine: Engine, batch: npt.NDArray[np.float32]) -> tuple[float, list[str]]:
    """Seconds of one run, and a warning if its scores are not finite: the times may then be others."""
    import numpy as np

    start = time.perf_counter()
    output: Any = engine.run(batch)
    seconds = time.perf_counter() - start
    if engine.spec.output != "logits" or np.isfinite(output.max(axis=1)).all():
        return seconds, []
    return seconds, ["its scores are NaN or infinite; sound weights may take another time"]


def _describe(engine: Engine) -> dict[str, Any]:
    spec = engine.spec
    return {
        "engine": spec.backend,
        "output": spec.output,
        "batch": _axis(spec.batch),
        "height": _axis(spec.height),
        "width": _axis(spec.width),
        "channels": spec.meta.in_channels,
        "nominal_size": spec.meta.input_size,
        "slides": spec.meta.inference.mode == "slide",
        "views": len(spec.meta.default_tta),
        "approximations": spec.meta.approximations,
        "torch_threads": _torch("get_num_threads"),
    }


def _axis(axis: Axis) -> dict[str, Any]:
    return {"minimum": axis.minimum, "maximum": axis.maximum, "multiple_of": axis.multiple_of}


def _random_batch(shape: list[int]) -> npt.NDArray[np.float32]:
    """Normalised pixels, the same for every candidate: mean 0 and standard deviation 1."""
    import numpy as np

    return np.random.default_rng(_SEED).standard_normal(shape, dtype=np.float32)


def _time_runs(engine: Engine, batch: npt.NDArray[np.float32], runs: int, parent: int) -> list[float]:
    """Seconds of each run. The process ends here if ``parent`` has died."""
    seconds = []
    for _ in range(runs):
        if os.getppid() != parent:  # the rest may be thousands of runs
            sys.exit()
        start = time.perf_counter()
        engine.run(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


def _memory() -> dict[str, int | None]:
    """Peaks so far, in bytes: of this process, and of what PyTorch holds on CUDA devices."""
    return {"peak_bytes": _peak_resident(), "cuda_peak_bytes": _cuda_peak()}


def _peak_resident() -> int | None:
    """The largest resident size of this process; ``None`` where the system does not tell."""
    try:
        # Not ru_maxrss: on Linux it starts with the size of the parent process.
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
    """The result of a function of PyTorch; ``None`` where the engine has not imported it."""
    torch = sys.modules.get("torch")
    return None if torch is None else getattr(torch, function)()


if __name__ == "__main__":
    main()
