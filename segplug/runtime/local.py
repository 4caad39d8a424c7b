"""``run local``: runs a model or an artifact on a data set in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segplug.artifact import file_sha256
from segplug.hookspecs import hookimpl
from segplug.options import NoOptions
from segplug.providers import Executor
from segplug.regular_files import is_regular

if TYPE_CHECKING:
    import torch

    from segplug.engine import Engine
    from segplug.requests import RunRequest
    from segplug.scores import RunReport

__all__ = ["provider"]


class LocalExecutor(Executor[NoOptions]):
    """Runs a model or an artifact on a data set in this process."""

    hook_version = 2

    @hookimpl
    def run(self, request: RunRequest[NoOptions]) -> RunReport:
        """Open the engine, and run it on every image; see :func:`segplug.hookspecs.run`."""
        from segplug.runtime.pipeline import run

        with request.session.open(
            request.subject,
            backend=request.backend,
            device=request.device,
            threads=request.threads,
            trust_artifact=request.trust_artifact,
            allow_nonfinite=request.allow_nonfinite,
            **request.backend_options,
        ) as engine:
            return run(
                engine,
                request.dataset,
                request.sinks,
                batch_size=request.batch_size,
                on_error=request.on_error,
                resume=request.resume,
                run_key=_run_key(request, engine),
                tta=request.tta,
                unknown_below=request.unknown_below,
                allow_nonfinite=request.allow_nonfinite,
                skip_hint=request.call.parent is None,  # a report that calls runs has no such option
                reporter=request.reporter,
            )


def _run_key(request: RunRequest[Any], engine: Engine) -> str:
    """A text that identifies the network and its settings: only a run of the same ones is resumed."""
    settings = _settings(request.backend_options)
    return " ".join([request.backend, request.device, str(settings), _identity(request, engine)])


def _settings(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The options that may change results: all but a server's token, which may expire, and timeout."""
    return sorted(item for item in options.items() if item[0] not in ("token", "timeout"))


def _identity(request: RunRequest[Any], engine: Engine) -> str:
    """A text that identifies the network of a run: only a run of the same network is resumed."""
    if request.model is not None:
        return f"{request.model.meta.to_json()} {_network_sha256(request.model.module)}"
    if request.artifact is None:
        return f"{request.url} {engine.spec.meta.to_json()}"
    path = request.artifact
    return file_sha256(path) if is_regular(path) else str(path.resolve())


def _network_sha256(module: torch.nn.Module) -> str:
    """SHA-256 over the modules of a network, as PyTorch prints them, and over its weights.

    The metadata does not say all: a config imports others, a factory reads files, weights may be random.
    """
    import torch

    digest = hashlib.sha256(repr(module).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(values.numpy()))
    return digest.hexdigest()


provider = LocalExecutor()
