"""Trace a PyTorch module to an ONNX graph in memory, and check the graph.

This module imports torch, so it is imported only when an export runs.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir
import torch

# The exporter imports this lazily, where it catches every exception, Ctrl-C included, as an export error.
import torch._dynamo
from onnxscript import opset18 as ops
from torch import nn

from segplug.errors import ModelError, ShapeError, UsageError, first_line
from segplug.frozen_sizes import refuse_frozen_sizes
from segplug.progress import Reporter
from segplug.quiet import quiet
from segplug_onnx.padded_pools import keep_padding_before_pools

__all__ = ["trace"]

_STANDARD_DOMAINS = ("", "ai.onnx")


def trace(
    network: nn.Module,
    sample: torch.Tensor,
    *,
    outputs: tuple[str, ...],
    opset: int,
    free: Mapping[int, str],
    multiple_of: int = 1,
    reporter: Reporter,
) -> ir.Model:
    """Trace ``network`` and return its graph, with input ``input`` and the named outputs.

    Args:
        network: In eval mode. Neither it nor its parameters are changed.
        sample: Float32 ``(N, C, H, W)`` on the network's device. Only its shape matters.
        outputs: A name for each tensor that the network returns.
        opset: The operator set that the graph must use.
        free: The axes of the input that may vary, and their names in the graph.
        multiple_of: Free heights and widths are multiples of this.
        reporter: Gets the progress.

    Raises:
        ShapeError: the network itself does not accept the sample's shape.
        ModelError: the network cannot be exported, or not with these axes free.
        UsageError: the exporter cannot produce this operator set.
    """
    with quiet(), torch.no_grad():
        try:
            with reporter.progress("tracing", None):
                program = torch.onnx.export(
                    network,
                    (sample,),
                    dynamo=True,
                    opset_version=opset,
                    input_names=["input"],
                    output_names=list(outputs),
                    dynamic_shapes=(_dimensions(free, multiple_of),) if free else None,
                    custom_translation_table={operator.floordiv: _floor_division},
                    external_data=False,
                    optimize=False,
                    verify=False,
                    verbose=False,
                )
            if program is None:
                raise ModelError("torch.onnx.export returned nothing")
            if program.exported_program is not None:
                refuse_frozen_sizes(program.exported_program)
            with reporter.progress("optimising", None):
                program.optimize()
        except (MemoryError, ModelError):
            raise
        except Exception as error:
            raise _export_error(network, sample, error, free) from error
    model: ir.Model = program.model
    keep_padding_before_pools(model)
    _tidy(model)
    _check(model, opset, free)
    return model


def _dimensions(free: Mapping[int, str], multiple_of: int) -> dict[int, Any]:
    """The free axes as torch.export takes them.

    A name alone leaves the conditions on an axis to the exporter, and becomes the axis' name in the graph. If
    sizes must be multiples, the exporter must know it: only then does a size that is halved and doubled again
    stay the same.
    """
    return {
        axis: name if axis == 0 or multiple_of == 1 else multiple_of * torch.export.Dim(name)
        for axis, name in free.items()
    }


def _floor_division(a: Any, b: Any) -> Any:
    """Translate ``a // b`` of sizes. The exporter's own translation is a Div, which rounds towards zero.

    Sizes are not negative, but the exporter rearranges formulas: it turns ``(4 * u - n) // 2`` into
    ``2 * u + (-n) // 2``, which would be off by one for odd n.
    """
    return ops.Div(ops.Sub(a, ops.Mod(a, b)), b)


def _export_error(
    network: nn.Module, sample: torch.Tensor, error: Exception, free: Mapping[int, str]
) -> ModelError | ShapeError:
    """The error to raise. It quotes the network's own message if the network itself fails."""
    try:
        network(sample)
    except Exception as own:
        height, width = sample.shape[-2:]
        if free:
            return ModelError(
                f"the network does not take images of every size; at {height}x{width}: {first_line(own)}",
                hint="export without --dynamic, for one --shape",
            )
        return ShapeError(f"the network cannot take {height}x{width} images: {first_line(own)}")
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    hint = "export without --dynamic, for one --shape" if free else None
    if isinstance(root, ModelError):  # the network's own: PyTorch put others around it
        return ModelError(root.message, hint=root.hint or hint)
    return ModelError(f"the network cannot be exported to ONNX: {first_line(root)}", hint=hint)


def _tidy(model: ir.Model) -> None:
    """Remove the exporter's notes on nodes and values: paths and lines of the network's source code.

    The exporter itself has already inlined functions, folded constants and batch norms, and removed unused
    nodes.
    """
    from onnx_ir.passes import common

    common.ClearMetadataAndDocStringPass()(model)
    values = [value for node in model.graph.all_nodes() for value in node.outputs]
    for value in (*model.graph.inputs, *model.graph.initializers.values(), *values):
        value.metadata_props.clear()


def _check(model: ir.Model, opset: int, free: Mapping[int, str]) -> None:
    produced = model.opset_imports.get("")
    if produced != opset:
        raise UsageError(
            f"torch {torch.__version__} cannot export this network with opset {opset}; it wrote {produced}",
            hint=f"use --opset {produced}",
        )
    foreign = sorted(
        {
            f"{node.domain}::{node.op_type}"
            for node in model.graph.all_nodes()
            if node.domain not in _STANDARD_DOMAINS
        }
    )
    if foreign:
        raise ModelError(f"the graph needs operators that are not standard ONNX: {', '.join(foreign)}")
    shape = model.graph.inputs[0].shape
    fixed = [name for axis, name in free.items() if shape is None or isinstance(shape[axis], int)]
    if fixed:
        raise ModelError(
            f"the network fixes its {' and '.join(fixed)}", hint="export without --dynamic, for one --shape"
        )
