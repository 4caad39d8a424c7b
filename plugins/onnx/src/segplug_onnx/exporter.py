"""``export onnx``: export a loaded model to one self-contained ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import MissingDependencyError, UsageError
from segplug.hookspecs import hookimpl
from segplug.model import ModelMeta
from segplug.options import option
from segplug.providers import Exporter
from segplug.requests import ExportRequest
from segplug.results import Artifact
from segplug.tracing import TracePlan, explain_size_errors, plan_trace
from segplug_onnx import metadata

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

__all__ = ["Options", "provider"]

OutputKind = Literal["labels", "logits"]


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
        help="The output: the label of each pixel, or the scores of all classes (logits, or probabilities if "
        "the model gives those). 'auto': labels, but scores for sliding-window inference, which averages "
        "those of overlapping windows.",
    )
    show: bool = option(False, help="Print the graph.")


class OnnxExporter(Exporter[Options]):
    """Exports the model to one self-contained ONNX file (fp32) that returns labels or scores.

    The file also holds the classes, colours and preprocessing, so it runs without the config and the
    checkpoint. If neither --shape nor the config gives the input size, the size of the first --input-img is
    used; the graph does not depend on its pixels.
    """

    hook_version = 2
    options = Options
    verify_with = "onnxruntime"
    output_flags = ("--output-file",)

    @hookimpl
    def export(self, request: ExportRequest[Options]) -> Artifact:
        """Write ``request.model`` as ONNX; see :func:`segplug.hookspecs.export`."""
        kind = _output_kind(request.options, request.model.meta)
        if kind == "labels" and request.model.meta.tta:
            request.reporter.warn(
                "the model's test-time augmentation needs scores, and this file gives labels: export with "
                "--output-kind logits, or run it with --no-tta"
            )
        with request.reporter.progress("exporting", None):
            plan = plan_trace(request)
            with explain_size_errors(request, plan.size):
                model = _trace_model(request, plan, kind)
            meta = _artifact_meta(request, plan, kind)
            if request.options.show:
                from segplug_onnx.show import format_graph

                request.reporter.note(format_graph(model))
            _write(request, model, meta)
        return request.made(meta)

    def write_meta(self, path: Path, meta: ModelMeta) -> None:
        """Replace the metadata inside an artifact, in one step. Graph and weights stay as they are."""
        metadata.write_meta(path, meta)

    def read_meta(self, path: Path) -> ModelMeta | None:
        """Read the metadata inside a file, a few hundred bytes of it; another tool's file has none."""
        return metadata.read_meta(path)


def _output_kind(options: Options, meta: ModelMeta) -> OutputKind:
    slides = meta.inference.mode == "slide"
    if options.output_kind == "auto":
        return "logits" if slides else "labels"
    if slides and options.output_kind == "labels":
        raise UsageError(
            "sliding-window inference needs scores: the labels of overlapping windows cannot be averaged",
            hint="leave out --output-kind",
        )
    return options.output_kind


def _trace_model(request: ExportRequest[Options], plan: TracePlan, kind: OutputKind) -> ir.Model:
    try:
        from segplug_onnx import heads, tracing
    except ImportError as error:
        raise MissingDependencyError(
            f"export onnx needs {error.name}", hint="pip install 'segplug-onnx[export]'"
        ) from error

    network = request.model.exportable()
    trace = partial(
        tracing.trace,
        sample=_sample(plan, network, request.model.meta.in_channels),
        opset=request.options.opset,
        free=plan.free,
        multiple_of=plan.multiple_of,
    )
    if kind == "logits":
        return trace(heads.ScoresOnly(network), outputs=("output",))
    # The scores keep a name, so that an engine can return them as well, but are not an output of the file.
    model = trace(heads.WithLabels(network, request.model.meta), outputs=("output", "logits"))
    model.graph.outputs.pop()
    return model


def _sample(plan: TracePlan, network: torch.nn.Module, channels: int) -> torch.Tensor:
    """An input to trace with. Tracing computes nothing: only its shape matters."""
    import torch

    parameter = next(network.parameters(), None)
    device = "cpu" if parameter is None else parameter.device
    return torch.zeros((plan.batch, channels, *plan.traced), device=device)


def _artifact_meta(request: ExportRequest[Options], plan: TracePlan, kind: OutputKind) -> ModelMeta:
    meta = plan.meta(request)
    details: dict[str, Any] = {
        "opset": request.options.opset,
        "dynamic": bool(plan.free),
        "output_kind": kind,
        "traced_size": list(plan.traced),
        "logits": "logits" if kind == "labels" else "output",
    }
    versions = {**meta.versions, **_versions()}
    return meta.replace(versions=versions, extra={**meta.extra, "onnx": details})


def _versions() -> dict[str, str]:
    made_by = ("segplug", "segplug-onnx", "torch", "onnx", "onnxscript", "onnx-ir")
    return {name: distributions.version(name) for name in made_by}


def _write(request: ExportRequest[Options], model: ir.Model, meta: ModelMeta) -> None:
    from segplug_onnx.writer import data_path, write_model

    model.producer_name = "segplug-onnx"
    model.producer_version = meta.versions["segplug-onnx"]
    model.graph.name = meta.name
    if write_model(model, request.output, meta):
        request.reporter.warn(
            f"the weights do not fit into one ONNX file: they are in {data_path(request.destination)}, "
            "which must stay beside the model"
        )


provider = OnnxExporter()
