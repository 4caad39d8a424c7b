"""Count an ONNX file: every node of its graph, with its actual shapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from segplug.errors import UsageError
from segplug_analysis.flops.onnx_file import check_limits, image_input, read_file, read_meta
from segplug_analysis.flops.onnx_groups import module_paths
from segplug_analysis.flops.onnx_rules import ONNX_RULES
from segplug_analysis.flops.onnx_shapes import value_shapes
from segplug_analysis.flops.rules import Call, Count, Shape
from segplug_analysis.flops.tally import Complexity, Part, Tally, upwards
from segplug_analysis.flops.windows import notes_on_model

__all__ = ["count_file"]

_COUNTED_TYPES = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.DOUBLE,
        TensorProto.INT8,
        TensorProto.UINT8,
    }
)

_PARAMETERS = (
    "Parameters are the values of the graph's floating-point or 8-bit constants: the weights, and other "
    "stored tensors such as running statistics and tables."
)


def count_file(path: Path, shape: tuple[int, int] | None) -> Complexity:
    """Count the work of one run of an ONNX file.

    Args:
        path: The file; weights may be in files beside it.
        shape: Input (height, width) in pixels; ``None``: the file's own.

    Raises:
        UsageError: there is no such file, or it fixes no size and ``shape`` is ``None``.
        ArtifactError: it is damaged, or its input is not one image.
        ShapeError: the network cannot take the shape.
    """
    model = read_file(path)
    meta = read_meta(model, path)
    image = image_input(model, path, None if meta is None else meta.in_channels)
    size = shape or image.own_size or (meta.input_size if meta is not None else None)
    if size is None:
        raise UsageError(f"{path} takes inputs of many sizes", hint="give --shape H W")
    check_limits(meta, size, path)
    nodes, weights = list(model.graph.node), _weights(model.graph)
    fed = image.fed(size, path)
    shapes = value_shapes(model, path, image.name, fed)
    paths = module_paths(nodes, {name: weight.name for name, weight in weights.items()})
    named = any(paths)
    if not named:
        paths = [node.name.replace(".", "_") or f"{node.op_type}_{at}" for at, node in enumerate(nodes)]
    tally = Tally()
    for node, module in zip(nodes, paths, strict=True):
        tally.add(module, *_counted(node, shapes))
    return Complexity(
        shape=size,
        channels=image.channels,
        batch=fed[0],
        lines=tally.lines(),
        parts=_parts(nodes, paths, weights),
        notes=(_PARAMETERS, _naming(paths, named=named), *notes_on_model(meta, size)),
    )


def _counted(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> tuple[str, Count, str | None]:
    """A node's operator, its work, and the rule in words."""
    operator = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    rule = ONNX_RULES.get(operator)
    if rule is None or not all(name in shapes for name in (*node.input, *node.output) if name):
        return operator, Count(), None
    call = Call(
        inputs=tuple(shapes[name] if name else None for name in node.input),
        outputs=tuple(shapes[name] if name else None for name in node.output),
        details=_attributes(node),
    )
    count = rule.apply(call)
    return (operator, Count(), None) if count is None else (operator, count, rule.how)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


@dataclass(frozen=True)
class _Weight:
    name: str
    """Name of the stored tensor."""
    values: int


def _weights(graph: onnx.GraphProto) -> dict[str, _Weight]:
    """The constants of a graph, also under the names of values that are computed only from them.

    A weight that is transposed or dequantised before its product is still the same weight.
    """
    stored = [(tensor.name, tensor) for tensor in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant":
            stored += [(node.output[0], entry.t) for entry in node.attribute if entry.name == "value"]
    weights = {
        name: _Weight(name, prod(tensor.dims) if tensor.data_type in _COUNTED_TYPES else 0)
        for name, tensor in stored
    }
    for node in graph.node:
        sources = [weights.get(name) for name in node.input if name]
        if sources and sources[0] is not None and None not in sources:
            weights |= dict.fromkeys(node.output, sources[0])
    return weights


def _parts(
    nodes: Sequence[onnx.NodeProto], paths: Sequence[str], weights: Mapping[str, _Weight]
) -> tuple[Part, ...]:
    """The groups of nodes with their parameters; a weight belongs to the first node that takes it."""
    held: dict[str, int] = defaultdict(int)
    seen: set[str] = set()
    order: dict[str, None] = {"": None}
    for node, path in zip(nodes, paths, strict=True):
        order |= dict.fromkeys(reversed(list(upwards(path))))
        for name in node.input:
            weight = weights.get(name)
            if weight is not None and weight.name not in seen:
                seen.add(weight.name)
                for above in upwards(path):
                    held[above] += weight.values
    return tuple(Part(path, "", held[path]) for path in order)


def _naming(paths: Sequence[str], *, named: bool) -> str:
    if not named:
        return "The file has no names of modules: the table has single nodes."
    without = sum(not path for path in paths)
    return (
        f"Each node is counted in the module that its name in the file belongs to; {without} of {len(paths)} "
        "nodes have no such name, and are counted in the total only."
    )
