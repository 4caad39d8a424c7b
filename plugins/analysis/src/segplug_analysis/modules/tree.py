"""The modules of a network with their outputs and parameters, as a tree in the order of its definition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from segplug_analysis.modules.calls import watching_calls
from segplug_analysis.modules.passing import pass_once, wrapped_network

__all__ = ["ModuleRecord", "count_parameters", "trace_modules"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModuleRecord:
    """One module of a network."""

    path: str
    """Dotted, as in a checkpoint of the framework; empty for the network itself."""
    kind: str
    """Name of its class."""
    outputs: tuple[Shape, ...]
    """Shapes of the tensors that its first call returned; empty: it is never called."""
    calls: int
    """How often a pass calls it. 0: only training calls it, or its parameters are used without a call."""
    own_parameters: int
    """Number of values in its own parameters."""
    parameters: int
    """Number of values in the parameters of it and all modules below; shared parameters count once."""

    @property
    def name(self) -> str:
        """The last part of ``path``."""
        return self.path.rpartition(".")[2]

    @property
    def depth(self) -> int:
        """0 for the network itself, 1 for its children."""
        return self.path.count(".") + 1 if self.path else 0


def trace_modules(module: nn.Module, channels: int, shape: tuple[int, int]) -> tuple[ModuleRecord, ...]:
    """Every module of a network, each before its children.

    The network runs once without computing values (:func:`segplug_analysis.modules.passing.pass_once`),
    and is not changed. A module that is registered in two places is listed in the first.

    Args:
        module: float32 ``(1, C, H, W)`` to anything, in eval mode: ``SegmentationModel.module``. A root that
            only wraps one network is left out.
        channels: C.
        shape: Input (height, width) in pixels.

    Raises:
        ShapeError: the network cannot take this shape.
    """
    _, network = wrapped_network(module)
    outputs = pass_once(module, channels, shape, lambda: _watching(module, network)).record
    return tuple(
        ModuleRecord(
            path=path,
            kind=type(part).__name__,
            outputs=outputs[path][0] if outputs[path] else (),
            calls=len(outputs[path]),
            own_parameters=count_parameters(part, below=False),
            parameters=count_parameters(part),
        )
        for path, part in network.named_modules()
    )


def count_parameters(module: nn.Module, *, below: bool = True) -> int:
    """Number of values in the parameters of a module (and of all ``below`` it), each parameter once."""
    return sum(parameter.numel() for parameter in module.parameters(recurse=below))


@contextmanager
def _watching(module: nn.Module, network: nn.Module) -> Iterator[dict[str, list[tuple[Shape, ...]]]]:
    """Collect, by path, the shapes that each call of a module returns."""
    outputs: dict[str, list[tuple[Shape, ...]]] = defaultdict(list)

    def note(path: str, output: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        outputs[path].append(tuple(tuple(tensor.shape) for tensor in tensors))

    with watching_calls(module, network, enter=lambda path: None, leave=note):
        yield outputs
