"""``build_engine tensorrt``: build a TensorRT or TensorRT-RTX engine from an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from segplug.artifact import file_sha256
from segplug.companions import named_companion, require_companion
from segplug.errors import ArtifactError, DeviceError, UsageError
from segplug.files import scratch_folder
from segplug.hookspecs import hookimpl
from segplug.model import META_ENTRY, ModelMeta
from segplug.options import option
from segplug.preprocessing import Decoding
from segplug.progress import Reporter
from segplug.providers import EngineBuilder
from segplug.requests import BuildEngineRequest, MakePlan
from segplug.results import Artifact, Precision
from segplug.text import counted
from segplug_tensorrt.building import Settings, build, parse
from segplug_tensorrt.description import describe
from segplug_tensorrt.driver import Gpu, cuda_version, find_gpu
from segplug_tensorrt.library import Library, load_library
from segplug_tensorrt.options import BuildOptions
from segplug_tensorrt.profiles import engine_meta, parse_shapes, plan_profiles, warn_of_one_size
from segplug_tensorrt.record import Record

if TYPE_CHECKING:
    from segplug.description import FileDescription
    from segplug_tensorrt.graphs.converted import Converted

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options(BuildOptions):
    """Options of ``build_engine tensorrt``."""

    flavor: Literal["auto", "tensorrt", "tensorrt-rtx"] = option(
        "auto", help="The library to build with. 'auto': the installed one; TensorRT if both are installed."
    )
    calibration_images: int = option(
        128,
        help="With --precision int8: calibrate on at most N images, spread evenly over those given.",
        minimum=1,
    )


class TensorRTBuilder(EngineBuilder[Options]):
    """Builds an engine from an ONNX file, with TensorRT (10.13 or later) or TensorRT-RTX.

    TensorRT needs a GPU, and builds for that kind of GPU. TensorRT-RTX needs no GPU: it builds for every GPU
    that it supports, or with --device for one. A file beside the engine (<engine>.json) records how it was
    built.
    """

    hook_version = 2
    example = "model.onnx --output model.engine --fp16 --verify"
    options = Options
    reads = ("onnx",)
    suffix = ".engine"
    verify_with = "tensorrt"
    precisions = ("fp32", "fp16", "bf16", "int8")
    # The flags of mmseg's onnx2tensorrt.py.
    output_flags = ("--trt-file",)
    precision_flags: ClassVar[Mapping[str, Precision]] = {"--fp16": "fp16"}

    def describe(self, path: Path) -> FileDescription | None:
        """Read the record beside an engine."""
        return describe(path, from_model=False)

    def check_plan(self, plan: MakePlan[Options]) -> None:
        """The images to calibrate on, the library and the GPU."""
        if plan.precision == "int8" and not plan.images:
            raise UsageError(
                "int8 must be calibrated on images, and none are given",
                hint="give some with --input-img or --dataset",
            )
        _gpu(_library(plan.options), plan.device)

    @hookimpl
    def build_engine(self, request: BuildEngineRequest[Options]) -> Artifact:
        """Build ``request.artifact``; see :func:`segplug.hookspecs.build_engine`."""
        options, precision = request.options, request.precision
        library = _library(options)
        gpu = _gpu(library, request.device)
        source = _OnnxFile.read(request.file)
        if not source.described:
            request.reporter.warn(
                f"{request.file} has no metadata of segplug: the engine knows no classes, and takes images "
                "as they are decoded, without preprocessing"
            )
        channels = source.meta.in_channels
        profiles = plan_profiles(
            source.shape,
            parse_shapes(options.min_shape, "--min-shape", channels),
            parse_shapes(options.opt_shape, "--opt-shape", channels),
            parse_shapes(options.max_shape, "--max-shape", channels),
            size=source.meta.input_size,
            limits=source.meta.input_limits,
        )
        warn_of_one_size(profiles, source.meta, request.reporter)
        settings = Settings(profiles, options.workspace_size, options.timing_cache, gpu)
        with scratch_folder() as folder:
            graph = _write_graph(request, source, folder)
            with request.reporter.progress("reading the graph", None):
                parsed = parse(library, graph, request.reporter, verbose=options.verbose)
            plan = build(library, parsed, settings, request.reporter)
        for warning in parsed.log.warnings():
            request.reporter.warn(warning)
        record = Record(
            flavor=library.flavor,
            version=library.version,
            precision=precision,
            input=parsed.input,
            output=parsed.output,
            profiles=profiles,
            onnx_sha256=file_sha256(source.path),
            plan_sha256=sha256(plan).hexdigest(),
        )
        if gpu is not None:
            record = record.with_gpu(gpu, cuda_version())
        versions = {**source.meta.versions, library.flavor: library.version}
        meta = engine_meta(source.meta, profiles, source.meta.input_limits)
        meta = record.add_to(meta.replace(versions=versions))
        request.output.write_bytes(plan)
        self.write_meta(request.output, meta)
        return request.made(meta)


def _library(options: Options) -> Library:
    return load_library(None if options.flavor == "auto" else options.flavor)


def _gpu(library: Library, device: str | None) -> Gpu | None:
    """The GPU to build for. TensorRT times kernels on it; TensorRT-RTX needs none."""
    if library.flavor == "tensorrt-rtx" and device in (None, "cpu"):
        return None
    if device == "cpu":
        raise DeviceError(f"{library} builds on a GPU only", hint="TensorRT-RTX builds without one")
    return find_gpu(device or "cuda:0")


@dataclass(frozen=True)
class _OnnxFile:
    """The ONNX file to build from."""

    path: Path
    meta: ModelMeta
    input: str
    shape: tuple[int, ...]
    described: bool
    """Whether it holds segplug's metadata."""

    @classmethod
    def read(cls, path: Path) -> _OnnxFile:
        import onnx

        try:
            model = onnx.load(path, load_external_data=False)
            weights = {tensor.name for tensor in model.graph.initializer}
            (image,) = (value for value in model.graph.input if value.name not in weights)
        except Exception as error:
            raise ArtifactError(f"{path} is not an ONNX file with one input, or was cut") from error
        _check_external_weights(model, path)
        sizes = image.type.tensor_type.shape.dim
        shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in sizes)
        if len(shape) != 4:
            raise UsageError(f"{path} does not have one image input (N, C, H, W)")
        channels = shape[1]
        if channels < 1:
            raise ArtifactError(f"{path} does not say how many channels its input {image.name} has")
        entry = next((each.value for each in model.metadata_props if each.key == META_ENTRY), None)
        if entry is None:
            meta = ModelMeta(path.stem, in_channels=channels, decoding=Decoding.for_channels(channels))
        else:
            meta = ModelMeta.from_json(entry, file=path)
        if meta.in_channels != channels:
            raise ArtifactError(
                f"the input of {path} has {counted(channels, 'channel')}, and its metadata "
                f"says {meta.in_channels}"
            )
        return cls(path, meta, image.name, shape, entry is not None)


def _check_external_weights(model: Any, path: Path) -> None:
    """Check, before any library follows them, where the files of weights lie that a model names."""
    from onnx import external_data_helper as external

    locations = {
        external.ExternalDataInfo(tensor).location
        for tensor in external._get_all_tensors(model)
        if external.uses_external_data(tensor)
    }
    for location in sorted(locations):
        require_companion(path, named_companion(path, location))


def _write_graph(request: BuildEngineRequest[Options], source: _OnnxFile, folder: Path) -> Path:
    """The ONNX file to parse: the source itself, or a conversion of it to another precision."""
    precision = request.precision
    if precision == "fp32":
        return source.path
    import onnx

    model: Any = onnx.load(source.path)
    if precision == "int8":
        converted = _calibrated(model, request, source)
    else:
        from segplug_tensorrt.graphs import bf16, fp16

        with request.reporter.progress(f"converting the graph to {precision}", None):
            converted = bf16.convert(model) if precision == "bf16" else fp16.convert(model)
    _report(converted, precision, request.reporter)
    path = folder / "graph.onnx"
    onnx.save(converted.model, path)
    return path


def _calibrated(model: Any, request: BuildEngineRequest[Options], source: _OnnxFile) -> Converted:
    """The graph in int8."""
    from segplug_tensorrt.calibration import calibration_batches
    from segplug_tensorrt.graphs import int8

    count = min(request.options.calibration_images, len(request.images))
    with request.reporter.progress("calibrating on images", count) as progress:
        batches = calibration_batches(source.meta, source.input, source.shape, request, count, progress)
        return int8.convert(model, batches, request.reporter)


def _report(converted: Converted, precision: Precision, reporter: Reporter) -> None:
    if nodes := converted.out_of_range:
        reporter.warn(
            f"{len(nodes)} nodes stay in fp32, because their weights are out of {precision}'s range: "
            f"{', '.join(nodes[:5])}"
        )
    if nodes := converted.sensitive:
        reporter.note(
            f"{len(nodes)} nodes stay in fp32, because they would magnify {precision}'s rounding errors: "
            f"{', '.join(nodes[:5])}"
        )
    if nodes := converted.not_quantised:
        reporter.note(f"the classifier and depthwise convolutions stay in fp32: {len(nodes)} nodes")


provider = TensorRTBuilder()
