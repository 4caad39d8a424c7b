"""The network of a TorchScript file as a module that Python runs."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import torch
from torch import nn

from segplug.errors import ModelError
from segplug_torchscript.graphs.reading import Block, Step, Tensors, read_graph
from segplug_torchscript.graphs.sizes import Scalar, as_tensors, is_symbol, rounding, scalar_operation

__all__ = ["GraphNetwork"]

Values = dict[str, Any]


class GraphNetwork(nn.Module):
    """The network of a TorchScript file, run node by node: it shares the weights of the file.

    ``forward`` takes what the file's network takes, and gives the same.

    Args:
        script: The file's network, in eval mode.

    Raises:
        ModelError: it has a part that cannot be followed.
    """

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        self._calls_file = False
        block, tensors = read_graph(script)
        self._file = _Shared(script, block, tensors)
        learned = {name for name, _ in script.named_parameters()}
        for name, tensor in tensors.attributes.items():
            _place(self, name, tensor.detach(), learned=name in learned)
        for name, value in tensors.constants.items():
            if isinstance(value, torch.Tensor):
                self.register_buffer(_constant_name(name), value.detach(), persistent=False)

    def forward(self, images: torch.Tensor) -> Any:
        """What the file's network gives for preprocessed float32 images ``(N, C, H, W)``."""
        if self._calls_file:
            return self.script(images)
        if torch.compiler.is_dynamo_compiling():
            # Exporters try it after torch.export's own way has refused a size; it takes symbols for numbers.
            raise ModelError("the network of the file is followed by torch.export alone")
        tensors = self._file.tensors
        values: Values = {
            name: getattr(self, _constant_name(name)) if isinstance(value, torch.Tensor) else value
            for name, value in tensors.constants.items()
        }
        values |= {name: _weight(self, path) for name, path in tensors.weights.items()}
        (answer,) = _run(self._file.block, [images], values)
        return as_tensors(answer)

    def call_file(self) -> None:
        """From now on call the file's network itself, which tracing to TorchScript follows and keeps."""
        self._calls_file = True
        for own in (self._parameters, self._buffers, self._modules):
            own.clear()  # else the new file has every weight twice
        self.script = self._file.script


class _Shared:
    """What copies of the network have in common."""

    def __init__(self, script: torch.jit.ScriptModule, block: Block, tensors: Tensors) -> None:
        self.script, self.block, self.tensors = script, block, tensors

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def _place(module: nn.Module, name: str, tensor: torch.Tensor, *, learned: bool) -> None:
    *path, last = name.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        found = module._modules[part]
        assert found is not None
        module = found
    if learned:
        module.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
    else:
        module.register_buffer(last, tensor)


def _weight(module: nn.Module, name: str) -> torch.Tensor:
    path, _, last = name.rpartition(".")
    found: torch.Tensor = getattr(module.get_submodule(path), last)
    return found


def _constant_name(value: str) -> str:
    return f"constant_{value.replace('.', '_')}"


def _run(block: Block, arguments: list[Any], values: Values) -> list[Any]:
    values.update(zip(block.inputs, arguments, strict=True))
    for step in block.steps:
        inputs = [values[name] for name in step.inputs]
        results = _results(step, inputs, values)
        values.update(zip(step.outputs, results, strict=False))
    return [values[name] for name in block.outputs]


def _results(step: Step, inputs: list[Any], values: Values) -> Any:
    if step.function is not None:
        answer = _call(step, inputs)
        return answer if len(step.outputs) > 1 else (answer,)
    kind = step.kind.removeprefix("prim::")
    if kind == "If":
        return _run(_branch(step, inputs[0]), [], values)
    if kind == "Loop":
        return _loop(step, inputs, values)
    if kind in ("ListUnpack", "TupleUnpack"):
        return inputs[0]
    if kind == "ListConstruct":
        return (inputs,)
    if kind == "TupleConstruct":
        return (namedtuple("Outputs", step.fields)(*inputs) if step.fields else tuple(inputs),)
    if kind == "DictConstruct":
        return (dict(zip(inputs[::2], inputs[1::2], strict=True)),)
    if kind == "NumToTensor":
        return (Scalar(inputs[0]) if not isinstance(inputs[0], float) else torch.tensor(inputs[0]),)
    return (step.truth,)


def _call(step: Step, inputs: list[Any]) -> Any:
    assert step.function is not None
    if step.on_scalars and any(isinstance(value, Scalar) for value in inputs):
        operation = scalar_operation(step.on_scalars)
        answer = None if operation is None else operation(*inputs)
        if answer is not None:
            return answer
    if step.on_scalars:
        if not step.gives_tensors and any(map(is_symbol, inputs)):
            raise rounding(f"the operator {step.kind}")  # it would become a constant
        inputs = [as_tensors(value) for value in inputs]
    if not step.by_name:
        return step.function(*inputs)
    positional = len(inputs) - len(step.by_name)
    named = dict(zip(step.by_name, inputs[positional:], strict=True))
    return step.function(*inputs[:positional], **named)


def _branch(step: Step, condition: Any) -> Block:
    """The branch of a condition. One that depends on free sizes is refused, unless the other only raises."""
    yes, no = step.blocks
    if isinstance(condition, torch.SymBool):
        from torch.fx.experimental.symbolic_shapes import statically_known_true

        if statically_known_true(condition):
            return yes
        if statically_known_true(torch.sym_not(condition)):  # type: ignore[no-untyped-call]
            return no
        if yes.only_raises or no.only_raises:
            return no if yes.only_raises else yes
        raise ModelError(
            "the network of the file decides by the size of the image what it computes",
            hint="export without --dynamic, for one --shape",
        )
    if isinstance(condition, torch.Tensor):
        condition = condition.item()
    return yes if condition else no


def _loop(step: Step, inputs: list[Any], values: Values) -> list[Any]:
    most, condition, *carried = inputs
    (body,) = step.blocks
    index = 0
    while condition and index < most:
        condition, *carried = _run(body, [index, *carried], values)
        index += 1
    return carried
