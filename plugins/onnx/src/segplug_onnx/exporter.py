"""``export onnx``: a loaded model becomes one self-contained ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.artifact import describe, ensure_free
from segplug.engine import Axis, limited
from segplug.errors import MissingDependencyError, ShapeError, UsageError
from segplug.hookspecs import hookimpl
from segplug.model import InputLimits, ModelMeta
from segplug.options import option
from segplug.requests import Artifact, ExportRequest
from segplug_onnx import metadata

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

__all__ = ["Options", "provider"]

OutputKind = Literal["labels", "logits"]

_ANY_SIZE = (512, 768)
"""Where a dynamic model is traced that names no size: unequal sides that most strides divide."""

_LARGE = 480
"""Pixels that each side has at least where free axes are traced."""


@dataclass(frozen=True)
class Options:
    """Options of ``export onnx``."""

    opset: int = option(
        18,
        help="ONNX operator set; 18 is the oldest that PyTorch's exporter can write.",
        minimum=18,
        maximum=26,
        aliases=("--opset-version",),
    )
    output_kind: Literal["auto", "labels", "logits"] = option(
        "auto",
        help="What the graph gives: the class of each pixel, or the logits of all classes. "
        "'auto' gives labels, and logits where a window slides and its logits are averaged.",
    )
    show: bool = option(False, help="Print the graph.")


class OnnxExporter:
    """Writes the model as one self-contained ONNX file (fp32), with its labels or logits as output.

    Classes, colours and preprocessing are kept in the file. An image that is given to trace with says
    only which size to export for: the graph does not depend on its pixels.
    """

    api_version = 1
    options = Options
    takes = "model"
    verify_with = "onnxruntime"

    @hookimpl
    def export(self, request: ExportRequest) -> Artifact:
        """Write ``request.model`` as ONNX; see :func:`segplug.hookspecs.export`."""
        options: Options = request.options or Options()
        if request.precision != "fp32":
            raise UsageError(f"export onnx writes fp32 models, not {request.precision}")
        ensure_free(request.output, force=request.force)
        kind = _output_kind(options, request.model.meta)
        size = _network_size(request)
        with request.reporter.progress(f"exporting for {size[0]}x{size[1]}", None):
            plan = _plan(request, size)
            with _limits_named(request, plan.size):
                model = _traced(request, plan, options.opset, kind)
            meta = _completed(request, plan, options.opset, kind)
            if options.show:
                from segplug_onnx.show import as_text

                request.reporter.note(as_text(model))
            _write(request, model, meta)
        return describe(request.output, format="onnx", meta=meta)

    def write_meta(self, path: Path, meta: ModelMeta) -> None:
        """Replace the metadata inside an artifact, in one step; the graph and weights keep their bytes."""
        metadata.write_meta(path, meta)


def _output_kind(options: Options, meta: ModelMeta) -> OutputKind:
    slides = meta.inference.mode == "slide"
    if options.output_kind == "auto":
        return "logits" if slides else "labels"
    if slides and options.output_kind == "labels":
        raise UsageError(
            "the labels of sliding windows cannot be averaged: this model must give logits",
            hint="leave --output-kind away",
        )
    return options.output_kind


def _network_size(request: ExportRequest) -> tuple[int, int]:
    """The (height, width) that the network is exported for."""
    inference = request.model.meta.inference
    if inference.mode == "slide" and inference.crop_size is not None:
        if request.shape not in (None, inference.crop_size):
            height, width = inference.crop_size
            raise UsageError(
                f"this model slides a window of {height}x{width}, and the network sees nothing else",
                hint=f"leave --shape away, or give --shape {height} {width}",
            )
        return inference.crop_size
    size = request.shape or request.model.meta.input_size
    if size is None and request.sample is not None:
        size = (int(request.sample.shape[-2]), int(request.sample.shape[-1]))
    if size is None and request.dynamic:
        size = _ANY_SIZE
    if size is None:
        raise UsageError("the model does not say its input size", hint="give --shape HEIGHT WIDTH")
    if min(size) < 1:
        raise UsageError(f"--shape takes two sizes in pixels, not {size[0]} {size[1]}")
    return size


@dataclass(frozen=True)
class _Plan:
    """What to trace, and what the file will take."""

    size: tuple[int, int]
    """The (height, width) that is exported for."""
    traced: tuple[int, int]
    free: Mapping[int, str]
    """Axes that may vary, and their names in the graph."""
    limits: InputLimits | None = None
    """What the network takes, where height and width vary."""


def _plan(request: ExportRequest, size: tuple[int, int]) -> _Plan:
    if not request.dynamic:
        return _Plan(size, traced=size, free={})
    limits = request.model.input_limits()
    if limits is not None and not _takes(limits, size):
        raise ShapeError(
            f"the network cannot take {size[0]}x{size[1]} images",
            hint=f"it takes {limits}: give another --shape",
        )
    if limits is not None and limits.is_fixed:
        request.reporter.warn(f"the network takes {limits}: the batch alone is free in this file")
        return _Plan(size, traced=size, free={0: "batch"})
    return _Plan(size, traced=_generous(size), free={0: "batch", 2: "height", 3: "width"}, limits=limits)


def _takes(limits: InputLimits, size: tuple[int, int]) -> bool:
    return all(axis.accepts(edge) for axis, edge in zip(limited(Axis(), Axis(), limits), size, strict=True))


@contextmanager
def _limits_named(request: ExportRequest, size: tuple[int, int]) -> Iterator[None]:
    """Add to the network's own words on a size that it does not take those that it does take."""
    try:
        yield
    except ShapeError as error:
        limits = request.model.input_limits()
        if limits is None or _takes(limits, size):
            raise
        raise ShapeError(error.message, hint=f"it takes {limits}: give another --shape") from error


def _traced(request: ExportRequest, plan: _Plan, opset: int, kind: OutputKind) -> ir.Model:
    try:
        from segplug_onnx import heads, tracing
    except ImportError as error:
        raise MissingDependencyError(
            f"export onnx needs {error.name}", hint="pip install 'segplug-onnx[export]'"
        ) from error

    network = request.model.exportable()
    sample = _sample(plan.traced, network, batch=2 if plan.free else 1)
    multiple_of = plan.limits.multiple_of if plan.limits else 1
    trace = partial(tracing.trace, sample=sample, opset=opset, free=plan.free, multiple_of=multiple_of)
    if kind == "logits":
        return trace(heads.LogitsOnly(network), outputs=("output",))
    # The logits are named, so that an engine can give them too, but are no output of the file.
    model = trace(heads.WithLabels(network, request.model.meta), outputs=("output", "logits"))
    model.graph.outputs.pop()
    return model


def _generous(size: tuple[int, int]) -> tuple[int, int]:
    """A size to trace free axes at: a multiple of ``size``, large, height and width different.

    What happens to be 1 at the traced size (a pooled map, the number of windows) or equal to another
    size would be taken for always so. Multiples keep what the network may ask of its input's size. A
    larger size costs nothing, since no arithmetic is done.
    """
    height, width = (edge * -(-_LARGE // edge) for edge in size)
    return (height, width + size[1]) if height == width else (height, width)


def _sample(size: tuple[int, int], network: torch.nn.Module, *, batch: int) -> torch.Tensor:
    """An input to trace with: no arithmetic is done on it, only its shape matters.

    A batch of one would let the tracer take things for broadcast that are not.
    """
    import torch

    parameter = next(network.parameters(), None)
    device = "cpu" if parameter is None else parameter.device
    return torch.zeros((batch, 3, *size), device=device)


def _completed(request: ExportRequest, plan: _Plan, opset: int, kind: OutputKind) -> ModelMeta:
    meta = request.model.meta
    sizes_vary = 2 in plan.free
    details: dict[str, Any] = {
        "opset": opset,
        "dynamic": bool(plan.free),
        "output_kind": kind,
        "traced_size": list(plan.traced),
        "logits": "logits" if kind == "labels" else "output",
    }
    return meta.replace(
        input_size=(request.shape or meta.input_size) if sizes_vary else plan.size,
        input_limits=plan.limits,
        versions={**meta.versions, **_versions()},
        verification=None,
        extra={**meta.extra, "onnx": details},
    )


def _versions() -> dict[str, str]:
    made_by = ("segplug", "segplug-onnx", "torch", "onnx", "onnxscript", "onnx-ir")
    return {name: distributions.version(name) for name in made_by}


def _write(request: ExportRequest, model: ir.Model, meta: ModelMeta) -> None:
    from segplug_onnx.writer import data_path, write_model

    model.producer_name = "segplug-onnx"
    model.producer_version = meta.versions["segplug-onnx"]
    model.graph.name = meta.name
    if write_model(model, request.output, meta, force=request.force):
        request.reporter.warn(
            f"the weights are larger than one ONNX file can hold: they are in {data_path(request.output)}, "
            "which must stay beside the model"
        )


provider = OnnxExporter()
