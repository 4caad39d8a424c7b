"""From an ONNX graph to a serialised plan: one way for TensorRT 10.13 and later, 11, and TensorRT-RTX.

Networks are strongly typed: every tensor has the type that the graph gives it, so precision is the graph's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segplug.errors import ArtifactError, UsageError
from segplug.progress import Reporter
from segplug_tensorrt.driver import Gpu
from segplug_tensorrt.library import Library
from segplug_tensorrt.log import log_of
from segplug_tensorrt.printed import prints_on_stderr
from segplug_tensorrt.profiles import Profile
from segplug_tensorrt.progress import interruptible, make_monitor
from segplug_tensorrt.record import Tensor

__all__ = ["Parsed", "Settings", "build", "parse", "set_timing_cache"]

_GIB = 1 << 30


@dataclass(frozen=True)
class Settings:
    """What a build is told beside the graph."""

    profiles: tuple[Profile, ...]
    workspace_gib: float | None = None
    """Scratch memory that a layer may use; ``None``: the library's default, all that there is."""
    timing_cache: Path | None = None
    gpu: Gpu | None = None
    """``None``: no GPU is looked at, for whatever GPU the flavour knows."""


@dataclass(frozen=True)
class Parsed:
    """A network in the builder's hands, and what must live as long as it."""

    builder: Any
    network: Any
    parser: Any
    """The network refers to the parser's weights, and does not keep them alive."""
    log: Any
    input: Tensor
    output: Tensor


def parse(library: Library, graph: Path, reporter: Reporter, *, verbose: bool = False) -> Parsed:
    """Read an ONNX file into a network.

    Raises:
        ArtifactError: the parser refuses it; the operator that it lacks is named.
        UsageError: it is no segmentation network of one image input.
    """
    trt = library.module
    log = log_of(trt, reporter, verbose=verbose)
    builder = trt.Builder(log)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        reasons = [" ".join(parser.get_error(number).desc().split()) for number in range(parser.num_errors)]
        named = "; ".join(dict.fromkeys(reasons)) or log.reason()
        raise ArtifactError(f"{library} cannot read the graph: {named}")
    if network.num_inputs != 1 or len(network.get_input(0).shape) != 4:
        raise UsageError("the file is no network of one image input (N, C, H, W)")
    outputs = [network.get_output(number) for number in range(network.num_outputs)]
    output = next((tensor for tensor in outputs if tensor.name == "output"), outputs[0])
    if len(outputs) > 1:
        # Every output costs memory and a copy; one is what an engine gives.
        for tensor in outputs:
            if tensor is not output:
                network.unmark_output(tensor)
    image = network.get_input(0)
    return Parsed(builder, network, parser, log, _tensor(trt, image), _tensor(trt, output))


def _tensor(trt: Any, tensor: Any) -> Tensor:
    return Tensor(tensor.name, _name_of(trt, tensor.dtype), tuple(int(size) for size in tensor.shape))


def _name_of(trt: Any, dtype: Any) -> str:
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
    """Compile a network. Ctrl-C ends it within a step.

    Raises:
        UsageError: a profile does not fit the network, or the settings the flavour.
        ArtifactError: the builder gave up; its reason is quoted.
    """
    trt = library.module
    config = parsed.builder.create_builder_config()
    # On by default: it would round fp32's products to 10 bits where the graph says fp32.
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
    with prints_on_stderr(), interruptible() as wish, reporter.progress("building", None) as bar:
        config.progress_monitor = make_monitor(trt, bar, wish)
        plan = parsed.builder.build_serialized_network(parsed.network, config)
    if plan is None:
        raise ArtifactError(f"{library} could not build the engine: {parsed.log.reason()}")
    if cache is not None and settings.timing_cache is not None:
        _keep(config, settings.timing_cache)
    return bytes(plan)


def _add_profiles(parsed: Parsed, config: Any, profiles: Sequence[Profile]) -> None:
    for profile in profiles:
        made = parsed.builder.create_optimization_profile()
        made.set_shape(parsed.input.name, profile.min, profile.opt, profile.max)
        if config.add_optimization_profile(made) < 0:  # it logs, and does not raise
            raise UsageError(
                f"the profile {profile.min}, {profile.opt}, {profile.max} does not fit: {parsed.log.reason()}"
            )


def _set_capability(trt: Any, config: Any, gpu: Gpu) -> None:
    name = f"SM{gpu.compute_capability[0]}{gpu.compute_capability[1]}"
    capability = getattr(trt.ComputeCapability, name, None)
    if capability is None:
        known = ", ".join(each for each in trt.ComputeCapability.__members__ if each.startswith("SM"))
        raise UsageError(
            f"TensorRT-RTX does not know the GPU {gpu.name} ({name})", hint=f"it knows {known}; use TensorRT"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(capability, 0)


def set_timing_cache(config: Any, path: Path) -> Any:
    """Let a builder start from a file of measured kernels, or from none if there is no file.

    Raises:
        UsageError: it is none, or of another TensorRT or GPU.
    """
    known = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        raise UsageError(
            f"{path} is no timing cache of this TensorRT and GPU", hint="name another file, or delete it"
        )
    return cache


def _keep(config: Any, path: Path) -> None:
    from segplug.files import writing

    with writing(path, force=True) as temporary:
        temporary.write_bytes(bytes(config.get_timing_cache().serialize()))
