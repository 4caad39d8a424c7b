"""``build_engine torch-tensorrt``: build a TensorRT engine from a loaded model, without an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from segplug.errors import DeviceError, UsageError
from segplug.hookspecs import hookimpl
from segplug.model import InputLimits, ModelMeta
from segplug.providers import EngineBuilder
from segplug.requests import BuildEngineRequest, MakePlan
from segplug.results import Artifact
from segplug_tensorrt.description import describe
from segplug_tensorrt.driver import cuda_version, find_gpu
from segplug_tensorrt.library import load_library
from segplug_tensorrt.log import get_log
from segplug_tensorrt.options import BuildOptions
from segplug_tensorrt.profiles import (
    Profile,
    Shape,
    engine_meta,
    parse_shapes,
    plan_profiles,
    warn_of_one_size,
)
from segplug_tensorrt.record import Record

if TYPE_CHECKING:
    from segplug.description import FileDescription

__all__ = ["provider"]


class TorchTensorRTBuilder(EngineBuilder[BuildOptions]):
    """Builds an engine from a loaded model with torch_tensorrt (2.9 or later), without an ONNX file.

    It needs PyTorch with CUDA and a GPU, and builds for that kind of GPU. The engine returns scores. With
    fp16 and bf16 the whole network is computed in that precision; input and output stay fp32. Run the engine
    with infer tensorrt. A file beside it (<engine>.json) records how it was built. Ctrl-C takes effect when
    TensorRT has finished.
    """

    hook_version = 2
    options = BuildOptions
    takes = "model"
    suffix = ".engine"
    verify_with = "tensorrt"
    precisions = ("fp32", "fp16", "bf16")
    precision_flags: ClassVar = {"--fp16": "fp16"}

    def describe(self, path: Path) -> FileDescription | None:
        """Read the record beside an engine."""
        return describe(path, from_model=True)

    def check_plan(self, plan: MakePlan[BuildOptions]) -> None:
        """The GPU, and what is installed."""
        if plan.device == "cpu":
            raise DeviceError("TensorRT builds on a GPU only", hint="use --device cuda")
        from segplug_tensorrt import torch_compile

        torch_compile.require_packages()
        find_gpu(plan.device or "cuda:0")
        load_library("tensorrt")

    @hookimpl
    def build_engine(self, request: BuildEngineRequest[BuildOptions]) -> Artifact:
        """Build ``request.model``; see :func:`segplug.hookspecs.build_engine`."""
        model, options = request.loaded, request.options
        shapes = _Shapes.read(options, model.meta)
        from segplug_tensorrt import torch_compile

        gpu = find_gpu(request.device or "cuda:0")
        library = load_library("tensorrt")
        log = get_log(library.module, request.reporter, verbose=options.verbose)
        compiler = torch_compile.Compiler.load(library, log)
        if options.timing_cache is not None:
            compiler.check_cache(options.timing_cache)
        limits = model.input_limits() if shapes.sizes_vary else None
        profile = shapes.profile(limits)
        warn_of_one_size([profile], model.meta, request.reporter)
        with torch_compile.on_gpu(gpu) as device:
            with request.reporter.progress("tracing", None):
                network = torch_compile.TypedNetwork(model.exportable(), device, request.precision)
                program = torch_compile.export(network, request, profile)
            with request.reporter.progress("building the engine", None):
                plan = compiler.build(program, profile, options, device)
            image, scores = compiler.tensors_of(plan)
        for warning in log.warnings():
            request.reporter.warn(warning)
        record = Record(
            flavor=library.flavor,
            version=library.version,
            precision=request.precision,
            input=image,
            output=scores,
            profiles=(profile,),
            onnx_sha256=None,
            plan_sha256=sha256(plan).hexdigest(),
        ).with_gpu(gpu, cuda_version())
        versions = {**model.meta.versions, library.flavor: library.version, **compiler.versions}
        meta = record.add_to(engine_meta(model.meta, [profile], limits).replace(versions=versions))
        request.output.write_bytes(plan)
        self.write_meta(request.output, meta)
        return request.made(meta)


@dataclass(frozen=True)
class _Shapes:
    """The requested shapes, at most one with each flag."""

    smallest: tuple[Shape, ...]
    usual: tuple[Shape, ...]
    largest: tuple[Shape, ...]
    size: tuple[int, int] | None
    """The model's own (height, width): that of the window for sliding-window inference."""
    channels: int

    @classmethod
    def read(cls, options: BuildOptions, meta: ModelMeta) -> _Shapes:
        """Read the options, and refuse shapes that cannot work before anything is loaded."""
        given = {
            "--min-shape": parse_shapes(options.min_shape, "--min-shape", meta.in_channels),
            "--opt-shape": parse_shapes(options.opt_shape, "--opt-shape", meta.in_channels),
            "--max-shape": parse_shapes(options.max_shape, "--max-shape", meta.in_channels),
        }
        if any(len(shapes) > 1 for shapes in given.values()):
            raise UsageError(
                "build_engine torch-tensorrt builds for one range of shapes, but several are given",
                hint="give each flag once; build_engine tensorrt takes several ranges",
            )
        window = meta.inference.crop_size if meta.inference.mode == "slide" else None
        for flag, shapes in given.items():
            for _, _, height, width in shapes:
                if window is not None and window != (height, width):
                    raise UsageError(
                        f"{flag}: the input of the engine is the sliding window, {window[0]}x{window[1]}, "
                        f"not {height}x{width}"
                    )
        size = window or meta.input_size
        if size is None and not any(given.values()):
            raise UsageError(
                "the model does not say its input size",
                hint=f"give --max-shape 1x{meta.in_channels}xHEIGHTxWIDTH",
            )
        smallest, usual, largest = given.values()
        return cls(smallest, usual, largest, size, meta.in_channels)

    @property
    def sizes_vary(self) -> bool:
        """Whether more than one (height, width) is requested."""
        return len({shape[2:] for shape in (*self.smallest, *self.usual, *self.largest)}) > 1

    def profile(self, limits: InputLimits | None) -> Profile:
        """The profile to build for; see :func:`plan_profiles`, also for the errors."""
        free = (-1, self.channels, -1, -1)
        (profile,) = plan_profiles(
            free, self.smallest, self.usual, self.largest, size=self.size, limits=limits
        )
        return profile


provider = TorchTensorRTBuilder()
