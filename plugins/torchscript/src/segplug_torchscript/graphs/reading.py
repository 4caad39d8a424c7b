"""Read the graph of a TorchScript file as plain steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from segplug.errors import ModelError
from segplug_torchscript.graphs.operations import FUNCTIONS, PRIMITIVES, PYTHON
from segplug_torchscript.graphs.sizes import as_scalar

__all__ = ["Block", "Step", "Tensors", "read_graph"]

_STRUCTURES = frozenset(
    {
        "prim::If", "prim::Loop", "prim::ListConstruct", "prim::TupleConstruct", "prim::DictConstruct",
        "prim::ListUnpack", "prim::TupleUnpack", "prim::NumToTensor", "prim::isinstance",
    }
)  # fmt: skip
"""Nodes that the network runs itself."""

_OVERLOAD = re.compile(r"aten::\w+\.(\w+)\(")
_FIELD = re.compile(r"[(,]\s*(\w+) : ")
_LIST_OF_TENSORS = re.compile(r"Tensor\b")


@dataclass(frozen=True)
class Step:
    """One node: values are named, each once in the whole graph."""

    kind: str
    """``aten::conv2d``"""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    function: Callable[..., Any] | None = None
    """What computes it; ``None``: one of the structures."""
    by_name: tuple[str, ...] = ()
    """The names of the last arguments, where ``function`` takes them by name."""
    on_scalars: str = ""
    """The name of an operator of tensors, which may get scalars in place of them."""
    gives_tensors: bool = True
    """Whether the operator of tensors gives some, and not a number."""
    blocks: tuple[Block, ...] = ()
    truth: bool | None = None
    """Of ``prim::isinstance``: the answer, which the types alone give."""
    fields: tuple[str, ...] = ()
    """Of ``prim::TupleConstruct``: the names of a named tuple's items."""


@dataclass(frozen=True)
class Block:
    """Steps that run together: a graph, a branch, the body of a loop."""

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    only_raises: bool = False


@dataclass
class Tensors:
    """What a graph takes from its file: by the names of the values, and of the attributes."""

    weights: dict[str, str] = field(default_factory=dict)
    """The name of a value to the dotted name of a weight."""
    constants: dict[str, Any] = field(default_factory=dict)
    """The name of a value to a number, a list, a tensor or ``None``."""
    attributes: dict[str, torch.Tensor] = field(default_factory=dict)
    """The dotted name of a weight to the weight."""


def read_graph(script: torch.jit.ScriptModule) -> tuple[Block, Tensors]:
    """The steps of ``script.forward``, with all that it calls in their places.

    Raises:
        ModelError: a node is not known.
    """
    graph: Any = script.inlined_graph
    reader = _Reader()
    own, *images = list(graph.inputs())
    if len(images) != 1:
        raise ModelError(
            f"the network of the file takes {len(images)} inputs, and one is expected: the images"
        )
    reader.modules[own.debugName()] = ("", script)
    block = reader.block(graph, [images[0].debugName()], graph.outputs())
    return block, reader.tensors


class _Reader:
    def __init__(self) -> None:
        self.tensors = Tensors()
        self.modules: dict[str, tuple[str, Any]] = {}

    def block(self, block: Any, inputs: Any, outputs: Any) -> Block:
        nodes = list(block.nodes())
        steps = tuple(step for node in nodes if (step := self.step(node)) is not None)
        raising = any(step.kind == "prim::RaiseException" for step in steps)
        return Block(tuple(inputs), steps, tuple(value.debugName() for value in outputs), raising)

    def step(self, node: Any) -> Step | None:
        """A step; ``None``: the node gives a constant or a weight, which are noted."""
        kind: str = node.kind()
        if kind == "prim::Constant":
            self.tensors.constants[node.output().debugName()] = _constant(node)
            return None
        if kind == "prim::GetAttr":
            self.attribute(node)
            return None
        names = tuple(value.debugName() for value in node.inputs())
        outputs = tuple(value.debugName() for value in node.outputs())
        if kind in _STRUCTURES:
            blocks = tuple(
                self.block(part, [value.debugName() for value in part.inputs()], part.outputs())
                for part in node.blocks()
            )
            truth = _is_instance(node) if kind == "prim::isinstance" else None
            return Step(kind, names, outputs, blocks=blocks, truth=truth, fields=_fields(node))
        namespace, _, name = kind.partition("::")
        if namespace == "prim" and name in PRIMITIVES:
            return Step(kind, names if name != "SetAttr" else (), outputs, PRIMITIVES[name])
        if namespace != "aten":
            raise ModelError(
                f"the network of the file has a part that segplug cannot follow: {kind}",
                hint="infer pytorch runs the file; export it from the code that made it",
            )
        return _operator(node, name, names, outputs)

    def attribute(self, node: Any) -> None:
        owner = node.input().debugName()
        path, module = self.modules[owner]
        name = node.s("name")
        value = getattr(module, name)
        full = f"{path}.{name}" if path else name
        output = node.output().debugName()
        if isinstance(value, torch.Tensor):
            self.tensors.weights[output] = full
            self.tensors.attributes[full] = value
        elif isinstance(value, torch.jit.ScriptModule) or hasattr(value, "_c"):
            self.modules[output] = (full, value)
        else:
            self.tensors.constants[output] = value


def _operator(node: Any, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Step:
    schema: str = node.schema()
    arguments, _, results = schema.partition(" -> ")
    gives_tensors = bool(_LIST_OF_TENSORS.search(results))
    if name in PYTHON and not (gives_tensors and _takes_tensors(arguments)):
        return Step(node.kind(), inputs, outputs, PYTHON[name])
    if name in FUNCTIONS:
        return Step(node.kind(), inputs, outputs, FUNCTIONS[name], on_scalars=name)
    found = _OVERLOAD.match(schema)
    packet = getattr(torch.ops.aten, name, None)
    overload = getattr(packet, found[1] if found else "default", None)
    if overload is None:
        if name in PYTHON:  # of lists of tensors
            return Step(node.kind(), inputs, outputs, PYTHON[name])
        raise ModelError(f"the network of the file uses {node.kind()}, which segplug cannot follow")
    by_name = tuple(argument.name for argument in overload._schema.arguments if argument.kwarg_only)
    return Step(
        node.kind(),
        inputs,
        outputs,
        overload,
        by_name=by_name,
        on_scalars=name,
        gives_tensors=gives_tensors,
    )


def _takes_tensors(arguments: str) -> bool:
    """Whether the first argument is a tensor, not a list of something."""
    return arguments.partition("(")[2].startswith(("Tensor ", "Tensor("))


def _constant(node: Any) -> Any:
    if not node.hasAttribute("value"):
        return None
    value = node.output().toIValue()
    return as_scalar(value) if isinstance(value, torch.Tensor) else value


def _fields(node: Any) -> tuple[str, ...]:
    """The names of the items of the named tuple that a node makes."""
    if node.kind() != "prim::TupleConstruct":
        return ()
    kind = node.output().type().str()
    return tuple(_FIELD.findall(kind)) if kind.startswith("NamedTuple(") else ()


def _is_instance(node: Any) -> bool:
    """``prim::isinstance`` of a value whose type is known; its types are listed on the node."""
    given = node.input().type().annotation_str
    return any(kind.annotation_str == given for kind in node.tys("types"))
