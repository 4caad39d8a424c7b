"""``export onnx``: export a loaded model to one self-contained ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import metadata as distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import MissingDependencyError, UsageError
from segplug.hookspecs import hookimpl
from segplug.limits import MOST_CLASSES_OF_A_BIT_MASK
from segplug.model import ModelMeta
from segplug.options import option
from segplug.preprocessing import keeps_size
from segplug.providers import Exporter
from segplug.requests import ExportRequest, MakePlan
from segplug.results import Artifact
from segplug.tracing import TracePlan, explain_size_errors, plan_trace
from segplug_onnx import metadata

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from segplug.description import FileDescription

__all__ = ["Options", "provider"]

OutputKind = Literal["labels", "logits"]

_NEEDED = ("torch", "onnx_ir", "onnxscript")


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
        help="The output: the scores of all classes (logits, or probabilities if the model gives those), "
        "exact for images of any size, or the label of each pixel, a smaller output. 'auto': labels where "
        "they are as exact (--dynamic, and a model that resizes no image), else scores.",
    )
    show: bool = option(False, help="Print the graph.")


class OnnxExporter(Exporter[Options]):
    """Exports the model to one self-contained ONNX file (fp32) that returns labels or scores.

    The file also holds the classes, colours and preprocessing, so it runs without the config and the
    checkpoint. If neither --shape nor the config gives the input size, the size of the first --input-img is
    used; the graph does not depend on its pixels.
    """

    hook_version = 2
    example = "CONFIG.py --checkpoint WEIGHTS.pth --output model.onnx --shape 512 1024 --dynamic --verify"
    options = Options
    verify_with = "onnxruntime"
    output_flags = ("--output-file",)

    def check_plan(self, plan: MakePlan[Options]) -> None:
        """What is installed."""
        if missing := [name for name in _NEEDED if find_spec(name) is None]:
            raise _not_installed(missing[0])

    @hookimpl
    def export(self, request: ExportRequest[Options]) -> Artifact:
        """Write ``request.model`` as ONNX; see :func:`segplug.hookspecs.export`."""
        meta = request.model.meta
        if request.options.output_kind == "labels":
            from segplug.runtime.postprocess import refuse_many_classes

            refuse_many_classes(meta)
        if request.options.output_kind == "labels" and meta.inference.mode == "slide":
            raise UsageError(
                "sliding-window inference needs scores: the labels of overlapping windows cannot be averaged",
                hint="leave out --output-kind",
            )
        if request.options.output_kind == "labels" and meta.default_tta:
            request.reporter.warn(
                "the model's test-time augmentation needs scores, and this file gives labels: export with "
                "--output-kind logits, or run it with --no-tta"
            )
        plan = plan_trace(request)
        kind = _output_kind(request.options, meta, plan)
        with explain_size_errors(request, plan.size):
            model = _trace_model(request, plan, kind)
        meta = _artifact_meta(request, plan, kind)
        if request.options.show:
            from segplug_onnx.show import format_graph

            request.reporter.note(format_graph(model))
        with request.reporter.progress("writing", None):
            _write(request, model, meta)
        return request.made(meta)

    def write_meta(self, path: Path, meta: ModelMeta) -> None:
        """Replace the metadata inside an artifact, in one step. Graph and weights stay as they are."""
        metadata.write_meta(path, meta)

    def read_meta(self, path: Path) -> ModelMeta | None:
        """Read the metadata inside a file, a few hundred bytes of it; another tool's file has none."""
        return metadata.read_meta(path)

    def describe(self, path: Path) -> FileDescription:
        """Read the graph's inputs, outputs and operators, of another tool's file, too."""
        from segplug_onnx.description import describe

        return describe(path, described=metadata.read_meta(path) is not None)


def _output_kind(options: Options, meta: ModelMeta, plan: TracePlan) -> OutputKind:
    """What the file gives. Labels can only be resized by nearest neighbour: they are exact if the network's
    input always has the image's own size.
    """
    if options.output_kind != "auto":
        return options.output_kind
    own_size = plan.sizes_vary and keeps_size(meta.preprocessing)
    too_many = meta.multilabel and meta.out_channels > MOST_CLASSES_OF_A_BIT_MASK
    needs_scores = meta.inference.mode == "slide" or meta.default_tta or too_many
    return "labels" if own_size and not needs_scores else "logits"


def _trace_model(request: ExportRequest[Options], plan: TracePlan, kind: OutputKind) -> ir.Model:
    try:
        from segplug_onnx import heads, tracing
    except ImportError as error:
        raise _not_installed(error.name) from error

    network = request.model.exportable()
    trace = partial(
        tracing.trace,
        sample=_sample(plan, network, request.model.meta.in_channels),
        opset=request.options.opset,
        free=plan.free,
        multiple_of=plan.multiple_of,
        reporter=request.reporter,
    )
    if kind == "logits":
        return trace(heads.ScoresOnly(network), outputs=("output",))
    # The scores keep a name, so that an engine can return them as well, but are not an output of the file.
    model = trace(heads.WithLabels(network, request.model.meta), outputs=("output", "logits"))
    model.graph.outputs.pop()
    return model


def _not_installed(name: str | None) -> MissingDependencyError:
    return MissingDependencyError(f"export onnx needs {name}", hint="pip install 'segplug-onnx[export]'")


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
