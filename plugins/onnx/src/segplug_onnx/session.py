"""Open an ONNX Runtime session on exactly the requested device."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from segplug.errors import ArtifactError, DeviceError
from segplug.files import making_folder
from segplug.requests import InferRequest
from segplug_onnx import devices
from segplug_onnx.foreign import Options

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["error_text", "open_session"]

_FATAL, _WARNING = 4, 2


def open_session(request: InferRequest[Options], model: bytes | None = None) -> onnxruntime.InferenceSession:
    """A session for the model at ``request.artifact``, or for the changed ``model`` that was read from there.

    Raises:
        ArtifactError: ONNX Runtime cannot load the model; its message is quoted.
        DeviceError: the device is not available.
        MissingDependencyError: onnxruntime is not installed.
    """
    path, settings = request.file, request.options.gpu
    device = devices.find(request.device, settings)
    import onnxruntime

    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = _FATAL
    session_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Idle threads that spin would take CPU time from reading and scoring the images.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without VNNI, a processor otherwise adds int8 products in 16 bits, and cuts sums that do not fit.
    session_options.add_session_config_entry("session.x64quantprecision", "1")
    if request.threads is not None:
        session_options.intra_op_num_threads = request.threads
    if model is not None:
        # A model given as bytes has no folder in which to look for a separate file of weights.
        session_options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(path.parent.absolute())
        )
    cache = settings.engine_cache
    with contextlib.nullcontext() if cache is None else making_folder(cache):
        try:
            with _silent(onnxruntime) as printed:
                session = onnxruntime.InferenceSession(
                    str(path) if model is None else model, session_options, providers=list(device.providers)
                )
        except Exception as error:
            if device.required:
                raise DeviceError(
                    f"{path} cannot be opened on '{device.name}': {error_text(error)}"
                ) from error
            raise ArtifactError(f"{path} cannot be opened: {error_text(error)}") from error
        session.disable_fallback()
        session._model_bytes = None  # used only for the fallback, and as large as the weights
        _return_free_memory()
        # ONNX Runtime prints on stdout why it falls back to another device.
        why = re.search(r"EP Error .*&\) ([^\n]+)", printed.getvalue())
        devices.check_used(session, device, why=why[1] if why else "")
    return session


@contextlib.contextmanager
def _silent(onnxruntime: Any) -> Iterator[io.StringIO]:
    """Keep messages from outside a session, such as a provider that fails to start, off the terminal.

    Yields what is printed on stdout meanwhile, which is for results only.
    """
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            yield printed
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


def _return_free_memory() -> None:
    """Return the memory that parsing used, about twice the size of the weights, to the system.

    glibc would keep the freed memory. With other C libraries nothing is done.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def error_text(error: Exception) -> str:
    """The message of an ONNX Runtime error, without its prefix of codes and source locations."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = re.sub(r"/\S+\.(cc|h|cpp):\d+ .*?\) ", "", text)
    return " ".join(text.split())[:400]
