"""The modules of a network with what they give and hold: a tree, in the order of its definition."""

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
    """Shapes of the tensors that its first call gave; empty where it is never called."""
    calls: int
    """How often a pass calls it. 0: only in training, or used without being called."""
    own_parameters: int
    """Values in the parameters that it holds itself."""
    parameters: int
    """Values in the parameters of it and all below; a parameter that is shared counts once."""

    @property
    def name(self) -> str:
        """The last part of ``path``."""
        return self.path.rpartition(".")[2]

    @property
    def depth(self) -> int:
        """0 for the network itself, 1 for its children."""
        return self.path.count(".") + 1 if self.path else 0


def trace_modules(module: nn.Module, shape: tuple[int, int]) -> tuple[ModuleRecord, ...]:
    """Every module of a network, each before those that it holds.

    The network runs once without computing anything (:func:`segplug_analysis.modules.passing.pass_once`),
    and is unchanged. A module that is registered in two places is listed in the first.

    Args:
        module: float32 ``(1, 3, H, W)`` to anything, in eval mode: ``SegmentationModel.module``. A root that
            only wraps one network is left out.
        shape: Input (height, width) in pixels.

    Raises:
        ShapeError: the network cannot take this shape.
    """
    _, network = wrapped_network(module)
    given = pass_once(module, shape, lambda: _watching(module, network)).seen
    return tuple(
        ModuleRecord(
            path=path,
            kind=type(part).__name__,
            outputs=given[path][0] if given[path] else (),
            calls=len(given[path]),
            own_parameters=count_parameters(part, below=False),
            parameters=count_parameters(part),
        )
        for path, part in network.named_modules()
    )


def count_parameters(module: nn.Module, *, below: bool = True) -> int:
    """Values in the parameters of a module (and of all ``below`` it), each parameter once."""
    return sum(parameter.numel() for parameter in module.parameters(recurse=below))


@contextmanager
def _watching(module: nn.Module, network: nn.Module) -> Iterator[dict[str, list[tuple[Shape, ...]]]]:
    """Collect, under each module's path, the shapes that each of its calls gives."""
    given: dict[str, list[tuple[Shape, ...]]] = defaultdict(list)

    def note(path: str, output: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        given[path].append(tuple(tuple(tensor.shape) for tensor in tensors))

    with watching_calls(module, network, enter=lambda path: None, leave=note):
        yield given
