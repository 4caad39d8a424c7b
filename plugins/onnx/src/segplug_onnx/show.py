"""Format a graph as text: inputs and outputs, one line for each node, totals."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from segplug.text import counted

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["format_graph"]


def format_graph(model: ir.Model) -> str:
    """The graph of ``model``: one line for each node, then the totals."""
    graph = model.graph
    weights = [value.const_value for value in graph.initializers.values() if value.const_value is not None]
    lines = [f"graph {graph.name}, opset {model.opset_imports.get('')}"]
    lines += [f"  input   {_format_value(value)}" for value in graph.inputs]
    lines += [f"  output  {_format_value(value)}" for value in graph.outputs]
    lines += [f"  {index:4d}  {_format_node(node)}" for index, node in enumerate(graph)]
    counts = Counter(node.op_type for node in graph.all_nodes())
    lines.append("  " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    size = sum(tensor.nbytes for tensor in weights)
    lines.append(
        f"  {counted(counts.total(), 'node')}, {counted(len(weights), 'tensor')} of weights, "
        f"{size / 1e6:.2f} MB"
    )
    return "\n".join(lines)


def _format_node(node: ir.Node) -> str:
    inputs = ", ".join(_format_value(value) if value is not None else "-" for value in node.inputs)
    outputs = ", ".join(_format_value(value) for value in node.outputs)
    attributes = ", ".join(
        str(attribute).split("name=")[-1] if attribute.type.name == "GRAPH" else f"{name}={attribute.value}"
        for name, attribute in node.attributes.items()
    )
    return f"{node.op_type}({inputs})" + (f" [{attributes}]" if attributes else "") + f" -> {outputs}"


def _format_value(value: ir.Value) -> str:
    shape = "" if value.shape is None else "x".join(str(size) for size in value.shape)
    return f"{value.name}:{shape}" if shape else f"{value.name}"
