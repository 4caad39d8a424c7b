"""Compile a network to a plan, with torch.export and torch_tensorrt (2.9 to 2.14).

Networks are strongly typed: the types of the network's own tensors set the precision. This module imports
torch, so it is imported only when an engine is built.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from segplug.errors import (
    ArtifactError,
    MissingDependencyError,
    ModelError,
    ShapeError,
    UsageError,
    first_line,
)
from segplug.files import scratch_folder, writing
from segplug.frozen_sizes import refuse_frozen_sizes
from segplug.options import NoOptions
from segplug.quiet import quiet
from segplug.regular_files import copy_regular, is_regular
from segplug.requests import BuildEngineRequest, ExportRequest
from segplug.results import Precision
from segplug.tracing import export_dimensions, plan_trace
from segplug_tensorrt.building import set_timing_cache
from segplug_tensorrt.driver import Gpu
from segplug_tensorrt.library import Library
from segplug_tensorrt.options import BuildOptions
from segplug_tensorrt.profiles import Profile
from segplug_tensorrt.progress import interruptible
from segplug_tensorrt.record import Tensor
from segplug_tensorrt.redirect import stdout_to_stderr

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["Compiler", "TypedNetwork", "export", "on_gpu", "require_packages"]

_GIB = 1 << 30
_INSTALL = "pip install 'segplug-tensorrt[torch]'"
_TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def require_packages() -> None:
    """Check that the packages are installed, without importing torch_tensorrt.

    Raises:
        MissingDependencyError: PyTorch has no CUDA, or torch_tensorrt is not installed.
    """
    if torch.version.cuda is None:
        raise MissingDependencyError(
            f"torch_tensorrt needs PyTorch with CUDA, and PyTorch {torch.__version__} has none",
            hint=f"install PyTorch with CUDA, then {_INSTALL}",
        )
    if importlib.util.find_spec("torch_tensorrt") is None:
        raise MissingDependencyError("torch_tensorrt is not installed", hint=_INSTALL)


@contextmanager
def on_gpu(gpu: Gpu) -> Iterator[torch.device]:
    """Make ``gpu`` the current device: TensorRT builds for the current one."""
    with torch.cuda.device(gpu.index):
        yield torch.device("cuda", gpu.index)


class TypedNetwork(nn.Module):
    """A network that computes in one floating type, on one device.

    Input and output are those of the network: float32 images and scores. Its own parameters may be shared and
    do not change: it is called with converted tensors in their place. A copy of the network would not work,
    since its methods may be bound to the original.

    Raises:
        ModelError: a weight is out of the type's range.
    """

    def __init__(self, network: nn.Module, device: torch.device, precision: Precision) -> None:
        super().__init__()
        self.device, self.precision = device, precision
        self._type = _TYPES[precision]
        self._network = (network,)  # in a tuple, so that its parameters are not those of this module
        self._buffer_of: dict[str, str] = {}
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            self._buffer_of[name] = f"tensor_{len(self._buffer_of)}"
            self.register_buffer(self._buffer_of[name], self._converted(name, tensor.detach()))

    def _converted(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        here = tensor.to(self.device)
        if not here.is_floating_point():
            return here
        converted = here.to(self._type)
        if not torch.equal(converted.isfinite(), here.isfinite()):
            raise ModelError(
                f"{name} of the network is out of {self.precision}'s range",
                hint="use --precision bf16, or build_engine tensorrt, which keeps such layers in fp32",
            )
        return converted

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        tensors = {name: getattr(self, buffer) for name, buffer in self._buffer_of.items()}
        images = (input.to(self._type),)
        scores: torch.Tensor = torch.func.functional_call(self._network[0], tensors, images)
        return scores.float()


def export(network: TypedNetwork, request: BuildEngineRequest[Any], profile: Profile) -> ExportedProgram:
    """Trace ``network``. The axes that vary within ``profile`` are free.

    Raises:
        ShapeError: the network does not take the sizes.
        ModelError: it cannot be exported, or not with these axes free, or not for the whole profile.
    """
    sizes = profile.opt[2:]
    channels = profile.opt[1]
    _run_once(network, (1, channels, *sizes))
    if profile.min[2:] != profile.max[2:]:
        asked = ExportRequest(
            model=request.loaded,
            output=request.output,
            destination=request.destination,
            shape=sizes,
            dynamic=True,
            call=request.call,
            options=NoOptions(),
            reporter=request.reporter,
            session=request.session,
        )
        trace = plan_trace(asked)
        sizes, multiple_of = trace.traced, trace.multiple_of
    else:
        multiple_of = 1
    names = ("batch", "channels", "height", "width")
    free = {axis: names[axis] for axis in range(4) if profile.min[axis] != profile.max[axis]}
    # With a batch of one the tracer could not tell a free batch from a broadcast axis.
    shape = [size if axis in free else profile.opt[axis] for axis, size in enumerate((2, channels, *sizes))]
    sample = torch.zeros(shape, device=network.device)
    with quiet(), torch.no_grad():
        try:
            program = torch.export.export(
                network,
                (sample,),
                dynamic_shapes=(export_dimensions(free, multiple_of),) if free else None,
                strict=False,
            )
        except MemoryError:
            raise
        except Exception as error:
            raise ModelError(
                f"torch.export cannot follow the network: {first_line(error)}",
                hint="build for one shape, or with build_engine tensorrt",
            ) from error
    refuse_frozen_sizes(program)
    _check_range(program, profile)
    return program


def _run_once(network: TypedNetwork, shape: tuple[int, int, int, int]) -> None:
    """Run the network once. The tracer misses mixed types, and its messages about sizes are less clear."""
    _, _, height, width = shape
    try:
        with torch.no_grad():
            network(torch.zeros(shape, device=network.device))
    except Exception as error:
        if network.precision == "fp32":
            raise ShapeError(
                f"the network cannot take {height}x{width} images: {first_line(error)}"
            ) from error
        raise ModelError(
            f"the network cannot be computed in {network.precision}, at {height}x{width}: "
            f"{first_line(error)}",
            hint="use --precision fp32, or build_engine tensorrt",
        ) from error


def _check_range(program: ExportedProgram, profile: Profile) -> None:
    """Refuse a profile with sizes for which the traced program is not valid.

    The tracer assumes, for example, that a size that varies is never 1.
    """
    (image,) = (node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs)
    for axis, size in enumerate(image.meta["val"].shape):
        if isinstance(size, int):
            continue
        low, high = (_end(program, size, side) for side in ("lower", "upper"))
        if profile.min[axis] < (low or 1) or profile.max[axis] > (high or profile.max[axis]):
            name = ("batches", "channels", "heights", "widths")[axis]
            raise ModelError(
                f"the traced network is valid for {name} of {low or 1} and more"
                f"{'' if high is None else f', up to {high}'}, but the shapes go from {profile.min[axis]} "
                f"to {profile.max[axis]}",
                hint="give other shapes, or build for one shape",
            )


def _end(program: ExportedProgram, size: Any, side: str) -> int | None:
    """Smallest or largest value of an axis; its formula is a symbol, or a multiple of one."""
    expression = size.node.expr
    ends = {symbol: getattr(program.range_constraints[symbol], side) for symbol in expression.free_symbols}
    # 2 is what every symbol begins at, and says nothing.
    value = expression.subs({symbol: 1 if end == 2 else end for symbol, end in ends.items()})
    return int(value) if value.is_Integer else None


@dataclass(frozen=True)
class Compiler:
    """torch_tensorrt, the TensorRT that it builds with, and TensorRT's log."""

    torch_tensorrt: Any
    trt: Any
    runtime: Any
    log: Any

    @classmethod
    def load(cls, library: Library, log: Any) -> Compiler:
        """Import torch_tensorrt.

        Raises:
            MissingDependencyError: it cannot be imported.
            UsageError: it was built for TensorRT-RTX.
        """
        trt = library.module
        runtime = trt.Runtime(log)  # before torch_tensorrt's: TensorRT keeps the first logger that it gets
        try:
            with quiet():
                torch_tensorrt = importlib.import_module("torch_tensorrt")
        except Exception as error:  # it raises errors of any class here
            raise MissingDependencyError(
                f"torch_tensorrt is installed but cannot be imported: {first_line(error)}", hint=_INSTALL
            ) from error
        if torch_tensorrt.ENABLED_FEATURES.tensorrt_rtx:
            raise UsageError(
                "this torch_tensorrt was built for TensorRT-RTX",
                hint="build_engine tensorrt --flavor tensorrt-rtx builds from an ONNX file",
            )
        return cls(torch_tensorrt, trt, runtime, log)

    @property
    def versions(self) -> dict[str, str]:
        """The versions for the engine's metadata."""
        return {"torch": str(torch.__version__), "torch-tensorrt": str(self.torch_tensorrt.__version__)}

    def check_cache(self, path: Path) -> None:
        """Raise :class:`UsageError` if a file is not a timing cache, which torch_tensorrt does not check."""
        if path.exists():
            set_timing_cache(self.trt.Builder(self.log).create_builder_config(), path)

    def build(
        self, program: ExportedProgram, profile: Profile, options: BuildOptions, device: torch.device
    ) -> bytes:
        """Compile a program for one range of shapes. Ctrl-C takes effect at the end.

        Raises:
            ArtifactError: torch_tensorrt lacks an operator, or TensorRT failed; the message is quoted.
        """
        convert = self.torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine
        # From 2.13 on networks are always strongly typed, and there is no argument for it.
        has_argument = "use_explicit_typing" in inspect.signature(convert).parameters
        size = 0 if options.workspace_size is None else int(options.workspace_size * _GIB)  # 0: no limit
        with scratch_folder() as folder:
            cache = folder / "timing.cache"  # torch_tensorrt always writes one
            if options.timing_cache is not None and is_regular(options.timing_cache):
                copy_regular(options.timing_cache, cache)
            with (
                stdout_to_stderr(),
                interruptible(),
                _log_to(self.trt, self.log, verbose=options.verbose),
            ):
                try:
                    plan = convert(
                        program,
                        inputs=[self._input(profile)],
                        device=device,
                        disable_tf32=True,  # fp32 means fp32
                        workspace_size=size,
                        timing_cache_path=str(cache),
                        **({"use_explicit_typing": True} if has_argument else {}),
                    )
                except MemoryError:
                    raise
                except Exception as error:
                    raise ArtifactError(
                        f"torch_tensorrt {self.torch_tensorrt.__version__} could not build the engine: "
                        f"{self._reason(error)}"
                    ) from error
            if options.timing_cache is not None:
                with writing(options.timing_cache, force=True) as temporary:
                    shutil.copyfile(cache, temporary)
        return bytes(plan)

    def _input(self, profile: Profile) -> Any:
        if profile.min == profile.max:
            return self.torch_tensorrt.Input(shape=profile.opt, dtype=torch.float32)
        return self.torch_tensorrt.Input(
            min_shape=profile.min, opt_shape=profile.opt, max_shape=profile.max, dtype=torch.float32
        )

    def _reason(self, error: BaseException) -> str:
        root = error
        while root.__cause__ is not None:
            root = root.__cause__
        said = any(kind != "WARNING" for kind, _ in self.log.kept)
        return f"{first_line(root)}; {self.log.reason()}" if said else first_line(root)

    def tensors_of(self, plan: bytes) -> tuple[Tensor, Tensor]:
        """The plan's input and output, with the names that they have in the plan.

        Raises:
            ArtifactError: TensorRT cannot open it, or it does not have one float32 input and output each.
        """
        engine = self.runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ArtifactError(f"TensorRT cannot open the engine that it built: {self.log.reason()}")
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        modes = [engine.get_tensor_mode(name) for name in names]
        types = [engine.get_tensor_dtype(name) for name in names]
        wanted = [self.trt.TensorIOMode.INPUT, self.trt.TensorIOMode.OUTPUT]
        if modes != wanted or any(kind != self.trt.DataType.FLOAT for kind in types):
            raise ArtifactError(
                f"the engine has the tensors {', '.join(names)} instead of one input and one output"
            )
        image, scores = (
            Tensor(name, "float32", tuple(int(size) for size in engine.get_tensor_shape(name)))
            for name in names
        )
        return image, scores


class _Handler(logging.Handler):
    """Passes the log records of torch_tensorrt to the log of this plugin."""

    def __init__(self, trt: Any, log: Any) -> None:
        super().__init__()
        self._log = log
        severity = trt.ILogger.Severity
        self._severities = {
            logging.CRITICAL: severity.INTERNAL_ERROR,
            logging.ERROR: severity.ERROR,
            logging.WARNING: severity.WARNING,
            logging.INFO: severity.INFO,
            logging.DEBUG: severity.VERBOSE,
        }

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on. Errors of torch_tensorrt itself are left out: it raises them as well."""
        if record.levelno == logging.ERROR and record.name != _TENSORRT_LOG:
            return
        self._log.log(
            self._severities.get(record.levelno, self._severities[logging.INFO]), record.getMessage()
        )


_TENSORRT_LOG = "torch_tensorrt [TensorRT Conversion Context]"
"""The logger for TensorRT's messages; torch_tensorrt's own messages go to ``torch_tensorrt``."""


@contextmanager
def _log_to(trt: Any, log: Any, *, verbose: bool) -> Iterator[None]:
    handler = _Handler(trt, log)
    loggers = [logging.getLogger(name) for name in ("torch_tensorrt", _TENSORRT_LOG)]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO if verbose else logging.WARNING)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
