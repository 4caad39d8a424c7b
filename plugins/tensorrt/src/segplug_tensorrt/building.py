"""Build a serialised plan from an ONNX graph, with TensorRT (10.13 or later) or TensorRT-RTX.

Networks are strongly typed: each tensor has its type from the graph, so the graph sets the precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segplug.errors import ArtifactError, UsageError
from segplug.progress import Reporter
from segplug.regular_files import read_regular
from segplug_tensorrt.driver import Gpu
from segplug_tensorrt.library import Library
from segplug_tensorrt.log import get_log
from segplug_tensorrt.profiles import Profile
from segplug_tensorrt.progress import interruptible, make_monitor
from segplug_tensorrt.record import Tensor
from segplug_tensorrt.redirect import stdout_to_stderr

__all__ = ["Parsed", "Settings", "build", "parse", "set_timing_cache"]

_GIB = 1 << 30


@dataclass(frozen=True)
class Settings:
    """Settings of a build."""

    profiles: tuple[Profile, ...]
    workspace_gib: float | None = None
    """Scratch memory that a layer may use; ``None``: no limit."""
    timing_cache: Path | None = None
    gpu: Gpu | None = None
    """The GPU to build for; ``None``: every GPU that the library supports."""


@dataclass(frozen=True)
class Parsed:
    """A parsed network, and the objects that must live as long as it does."""

    builder: Any
    network: Any
    parser: Any
    """Holds the weights that the network refers to."""
    log: Any
    input: Tensor
    output: Tensor


def parse(library: Library, graph: Path, reporter: Reporter, *, verbose: bool = False) -> Parsed:
    """Read an ONNX file into a network.

    Raises:
        ArtifactError: the parser refuses the file; the error names the unsupported operator.
        UsageError: the network does not have one image input.
    """
    trt = library.module
    log = get_log(trt, reporter, verbose=verbose)
    builder = trt.Builder(log)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        reasons = [_reason(parser.get_error(number)) for number in range(parser.num_errors)]
        text = "; ".join(dict.fromkeys(reasons)) or log.reason()
        raise ArtifactError(f"{library} cannot read the graph: {text}")
    if network.num_inputs != 1 or len(network.get_input(0).shape) != 4:
        raise UsageError("the file does not have one image input (N, C, H, W)")
    outputs = [network.get_output(number) for number in range(network.num_outputs)]
    output = next((tensor for tensor in outputs if tensor.name == "output"), outputs[0])
    if len(outputs) > 1:
        # Every output costs memory and a copy, and an engine returns one.
        for tensor in outputs:
            if tensor is not output:
                network.unmark_output(tensor)
    image = network.get_input(0)
    return Parsed(builder, network, parser, log, _tensor(trt, image), _tensor(trt, output))


def _reason(error: Any) -> str:
    """Of some operators the parser says only the condition that failed, such as ``false``."""
    text, operator = " ".join(error.desc().split()), error.node_operator()
    if not operator or operator in text:
        return text
    return f"it does not take the operator {operator} as it is here ({text})"


def _tensor(trt: Any, tensor: Any) -> Tensor:
    return Tensor(tensor.name, _dtype_name(trt, tensor.dtype), tuple(int(size) for size in tensor.shape))


def _dtype_name(trt: Any, dtype: Any) -> str:
    names = {
        trt.DataType.FLOAT: "float32",
        trt.DataType.HALF: "float16",
        trt.DataType.BF16: "bfloat16",
        trt.DataType.INT32: "int32",
        trt.DataType.INT64: "int64",
        trt.DataType.INT8: "int8",
        trt.DataType.BOOL: "bool",
        trt.DataType.UINT8: "uint8",
    }
    return names.get(dtype, str(dtype.name).lower())


def build(library: Library, parsed: Parsed, settings: Settings, reporter: Reporter) -> bytes:
    """Compile a network. Ctrl-C stops it after the current step.

    Raises:
        UsageError: a profile does not fit the network, or the library does not support the GPU.
        ArtifactError: the builder failed; its message is quoted.
    """
    trt = library.module
    config = parsed.builder.create_builder_config()
    # It is on by default, and would round the products of an fp32 graph to 10 bits.
    config.clear_flag(trt.BuilderFlag.TF32)
    if settings.workspace_gib is not None:
        size = int(settings.workspace_gib * _GIB)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
    if -1 in parsed.input.shape:
        _add_profiles(parsed, config, settings.profiles)
    if settings.gpu is not None and library.flavor == "tensorrt-rtx":
        _set_capability(trt, config, settings.gpu)
    cache = None
    if settings.timing_cache is not None:
        cache = set_timing_cache(config, settings.timing_cache)
    with (
        stdout_to_stderr(),
        interruptible() as interruption,
        reporter.progress("building the engine", None) as bar,
    ):
        config.progress_monitor = make_monitor(trt, bar, interruption)
        plan = parsed.builder.build_serialized_network(parsed.network, config)
    if plan is None:
        raise ArtifactError(f"{library} could not build the engine: {parsed.log.reason()}")
    if cache is not None and settings.timing_cache is not None:
        _write_timing_cache(config, settings.timing_cache)
    return bytes(plan)


def _add_profiles(parsed: Parsed, config: Any, profiles: Sequence[Profile]) -> None:
    for profile in profiles:
        made = parsed.builder.create_optimization_profile()
        made.set_shape(parsed.input.name, profile.min, profile.opt, profile.max)
        if config.add_optimization_profile(made) < 0:  # it logs the error and does not raise
            raise UsageError(
                f"the profile {profile.min}, {profile.opt}, {profile.max} does not fit: {parsed.log.reason()}"
            )


def _set_capability(trt: Any, config: Any, gpu: Gpu) -> None:
    name = f"SM{gpu.compute_capability[0]}{gpu.compute_capability[1]}"
    capability = getattr(trt.ComputeCapability, name, None)
    if capability is None:
        known = ", ".join(each for each in trt.ComputeCapability.__members__ if each.startswith("SM"))
        raise UsageError(
            f"TensorRT-RTX does not support the GPU {gpu.name} ({name})",
            hint=f"it supports {known}; use TensorRT",
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(capability, 0)


def set_timing_cache(config: Any, path: Path) -> Any:
    """Let a builder use a file of kernel timings, or an empty cache if the file does not exist.

    Raises:
        UsageError: the file is not a timing cache, or that of another TensorRT or GPU.
    """
    known = read_regular(path, most_bytes=_GIB) if path.exists() else b""
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        raise UsageError(
            f"{path} is not a timing cache of this TensorRT and GPU", hint="name another file, or delete it"
        )
    return cache


def _write_timing_cache(config: Any, path: Path) -> None:
    from segplug.files import writing

    with writing(path, force=True) as temporary:
        temporary.write_bytes(bytes(config.get_timing_cache().serialize()))
