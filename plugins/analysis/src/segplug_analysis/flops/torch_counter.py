"""Count a torch network: every operator that one pass calls, under the module that calls it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segplug_analysis.flops.aten_rules import ATEN_RULES
from segplug_analysis.flops.rules import MOVES, Call, Count, Rule
from segplug_analysis.flops.tally import Complexity, Part, Tally
from segplug_analysis.modules.calls import watching_calls
from segplug_analysis.modules.passing import pass_once, wrapped_network
from segplug_analysis.modules.tree import count_parameters

__all__ = ["count_network"]


def count_network(module: nn.Module, channels: int, shape: tuple[int, int]) -> Complexity:
    """Count the work of one pass of ``module`` over one image.

    Args:
        module: float32 ``(1, C, H, W)`` to anything, in eval mode. It is not changed.
        channels: C.
        shape: Input (height, width) in pixels.

    Raises:
        ShapeError: the network cannot take this shape.
    """
    _, network = wrapped_network(module)
    passed = pass_once(module, channels, shape, lambda: _counting(module, network))
    record = passed.record
    parts = tuple(_parts(network, record.used))
    return Complexity(
        shape=shape,
        channels=channels,
        lines=record.tally.lines(),
        parts=parts,
        notes=(*_computed(passed.computed_because), *_idle(parts), *_uncounted(network, record)),
    )


@dataclass
class _Record:
    """What is recorded during a pass."""

    tally: Tally = field(default_factory=Tally)
    used: set[int] = field(default_factory=set)
    """``id`` of each parameter that an operator took."""
    called: set[str] = field(default_factory=set)
    path: list[str] = field(default_factory=lambda: [""])
    """The modules that are running, the innermost last."""


@contextmanager
def _counting(module: nn.Module, network: nn.Module) -> Iterator[_Record]:
    record = _Record()

    def enter(path: str) -> None:
        record.path.append(path)
        record.called.add(path)

    def leave(path: str, output: Any) -> None:
        record.path.pop()

    with watching_calls(module, network, enter=enter, leave=leave), _Counter(record):
        yield record


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Is called in place of every operator; counts the call and makes it."""

    def __init__(self, record: _Record) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._record = record

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func.namespace == "prim":  # asks for a property of a tensor, such as its device
            return func(*args, **kwargs)
        name = _operator_name(func)
        rule = ATEN_RULES.get(name) or (MOVES if func.is_view else None)
        if rule is None:
            with self:
                result = func.decompose(*args, **kwargs)  # into operators that have rules
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self._note(name, rule, args, kwargs, result)
        return result

    def _note(self, name: str, rule: Rule | None, args: Any, kwargs: Any, result: Any) -> None:
        taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        given = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self._record.used.update(id(tensor) for tensor in taken if isinstance(tensor, nn.Parameter))
        call = Call(
            inputs=tuple(tuple(tensor.shape) for tensor in taken),
            outputs=tuple(tuple(tensor.shape) for tensor in given),
            details=args,
        )
        count = None if rule is None else rule.apply(call)
        how = None if rule is None or count is None else rule.how
        self._record.tally.add(self._record.path[-1], name, count or Count(), how)


def _operator_name(func: Any) -> str:
    """``add`` for ``aten::add_``; operators that are not torch's own keep their namespace."""
    namespace, _, name = str(func._schema.name).partition("::")
    if not name.startswith("__"):
        name = name.removesuffix("_")
    return name if namespace == "aten" else f"{namespace}::{name}"


def _parts(network: nn.Module, used: set[int]) -> Iterator[Part]:
    for path, part in network.named_modules():
        taken = sum(parameter.numel() for parameter in part.parameters() if id(parameter) in used)
        yield Part(path, type(part).__name__, count_parameters(part), taken)


def _computed(reason: str | None) -> Iterator[str]:
    if reason is not None:
        yield (
            f"The network was computed with random values, because its control flow depends on values "
            f"({reason}): the counts may differ from image to image."
        )


def _idle(parts: tuple[Part, ...]) -> Iterator[str]:
    """The largest modules whose parameters are not used in inference."""
    idle: list[Part] = []
    for part in parts:
        inside = any(part.path.startswith(f"{above.path}.") for above in idle)
        if part.path and part.parameters and not part.used and not inside:
            idle.append(part)
    if idle:
        names = ", ".join(f"{part.path} ({part.parameters:,})" for part in idle)
        yield f"The parameters of {names} are used in training only: no operator of inference takes them."


def _uncounted(network: nn.Module, record: _Record) -> Iterator[str]:
    """Modules that ran while no operator took their parameters: they compute in a compiled extension."""
    for path, part in network.named_modules():
        own = list(part.parameters(recurse=False))
        if path in record.called and own and not any(id(parameter) in record.used for parameter in own):
            yield (
                f"NOT counted: {path} ({type(part).__name__}) ran, but no operator of torch took its "
                "parameters. It seems to compute in a compiled extension."
            )
