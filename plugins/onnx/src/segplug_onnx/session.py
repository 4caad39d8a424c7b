"""Open an ONNX Runtime session on exactly the device that was asked for."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.artifact import made_folder
from segplug.errors import ArtifactError, DeviceError, MissingDependencyError
from segplug.requests import InferRequest
from segplug_onnx import devices

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["open_session", "reason"]

_FATAL, _WARNING = 4, 2


def open_session(
    path: Path,
    request: InferRequest,
    *,
    settings: devices.GpuSettings,
    model: bytes | None = None,
) -> onnxruntime.InferenceSession:
    """A session for the model at ``path``, or for the changed ``model`` that was read from there.

    Raises:
        ArtifactError: ONNX Runtime cannot load the model; its reason is quoted.
        DeviceError: the device is not there.
        MissingDependencyError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "infer onnxruntime needs onnxruntime", hint="pip install onnxruntime"
        ) from error
    device = devices.find(request.device, settings)
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = _FATAL
    session_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Idle threads that spin take the CPU from whoever reads and scores the images beside the session.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if request.threads is not None:
        session_options.intra_op_num_threads = request.threads
    if model is not None:
        # Weights in a file of their own are looked for beside the model; bytes do not know where.
        session_options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(path.parent.absolute())
        )
    cache = settings.engine_cache
    with contextlib.nullcontext() if cache is None else made_folder(cache):
        try:
            with _silent(onnxruntime) as said:
                session = onnxruntime.InferenceSession(
                    str(path) if model is None else model, session_options, providers=list(device.providers)
                )
        except Exception as error:
            if device.required:
                raise DeviceError(f"{path} cannot be opened on '{device.name}': {reason(error)}") from error
            raise ArtifactError(f"{path} cannot be opened: {reason(error)}") from error
        session.disable_fallback()
        session._model_bytes = None  # kept for the fallback only: as much memory as the weights
        _return_free_memory()
        # Before it falls back, ONNX Runtime prints why, on stdout.
        why = re.search(r"EP Error .*&\) ([^\n]+)", said.getvalue())
        devices.check_used(session, device, why=why[1] if why else "")
    return session


@contextlib.contextmanager
def _silent(onnxruntime: Any) -> Iterator[io.StringIO]:
    """Keep what is logged outside of a session, such as a provider that fails to start, off stderr.

    Yields what is printed meanwhile: stdout is for results.
    """
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            yield said
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


def _return_free_memory() -> None:
    """Give the memory that parsing took, about twice the weights, back to the system.

    glibc keeps freed memory for itself otherwise; other C libraries are left alone.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def reason(error: Exception) -> str:
    """ONNX Runtime's own words, without its prefix of codes and source locations."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = re.sub(r"/\S+\.(cc|h|cpp):\d+ .*?\) ", "", text)
    return " ".join(text.split())[:400]
