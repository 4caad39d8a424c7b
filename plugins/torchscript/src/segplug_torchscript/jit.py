"""TorchScript: a network traced, saved, loaded, and put on another device.

This module imports torch; it is imported when something is traced or opened, never before.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

import torch
from segplug_torch.errors import one_line
from torch import nn
from torch.overrides import TorchFunctionMode

from segplug.errors import ArtifactError, ModelError, ShapeError
from segplug.quiet import quiet
from segplug_torchscript.graphs.network import GraphNetwork

__all__ = ["as_text", "load", "move_constants", "opened_again", "save", "trace"]

_jit: Any = torch.jit
"""Typed in some versions of PyTorch only."""


def trace(network: nn.Module, sample: torch.Tensor, *, optimize: bool) -> torch.jit.ScriptModule:
    """Trace ``network``, whose weights the result shares unless it is optimised.

    Args:
        network: In eval mode.
        sample: Float32 ``(N, C, H, W)`` on the network's device.
        optimize: Make weights constants, and fold norms into convolutions.

    Raises:
        ShapeError: the network itself cannot take the sample's shape.
        ModelError: it cannot be traced.
    """
    for part in network.modules():
        if isinstance(part, GraphNetwork):
            part.call_file()
    with quiet(), torch.no_grad():
        try:
            with _sizes_followed():
                module: torch.jit.ScriptModule = _jit.trace(network, sample, check_trace=False)
            return _jit.freeze(module) if optimize else module
        except MemoryError:
            raise
        except Exception as error:
            raise _explained(network, sample, error) from error


@contextmanager
def _sizes_followed() -> Iterator[None]:
    """Let the trace follow sizes through code that is written for the symbolic sizes of torch.export.

    While it traces, a size is a tensor without dimensions. A Python number made of it would be a constant.
    """
    check: Any = torch._check

    def check_sample(condition: Any, message: Callable[[], str] | None = None) -> None:
        check(bool(condition), message)  # checks the sample alone: nothing is recorded

    sizes: Any = _Sizes  # untyped in PyTorch
    with mock.patch.object(torch, "_check", check_sample), sizes():
        yield


_CHOICES = {torch.sym_max: torch.maximum, torch.sym_min: torch.minimum}


class _Sizes(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.item and args[0].dim() == 0 and not args[0].is_floating_point():
            return args[0]
        if func in _CHOICES and any(isinstance(size, torch.Tensor) for size in args):
            return _CHOICES[func](*(torch.as_tensor(size) for size in args))
        return func(*args, **(kwargs or {}))


def _explained(network: nn.Module, sample: torch.Tensor, error: Exception) -> ModelError | ShapeError:
    """The error to raise: the network's own if it also fails without a trace."""
    try:
        network(sample)
    except Exception as own:
        height, width = sample.shape[-2:]
        return ShapeError(f"the network cannot take {height}x{width} images: {one_line(own)}")
    return ModelError(f"the network cannot be traced: {one_line(error)}", hint="try export torch-export")


def save(module: torch.jit.ScriptModule, file: BinaryIO) -> None:
    """Pack a traced network."""
    _jit.save(module, file)


def load(path: Path, device: torch.device) -> torch.jit.ScriptModule:
    """Open a TorchScript file on ``device``.

    Raises:
        ArtifactError: PyTorch cannot read it.
    """
    try:
        with quiet():
            module: torch.jit.ScriptModule = _jit.load(str(path), map_location=device)
    except MemoryError:
        raise
    except Exception as error:  # a damaged or hostile file raises almost anything
        raise ArtifactError(f"PyTorch cannot open {path}: {one_line(error)}") from error
    move_constants(module, device)
    return module


def opened_again(module: torch.jit.ScriptModule, device: torch.device) -> torch.jit.ScriptModule:
    """The same network on ``device``: one that has run keeps the code of its first device."""
    content = io.BytesIO()
    with quiet():
        _jit.save(module, content)
        content.seek(0)
        moved: torch.jit.ScriptModule = _jit.load(content, map_location=device)
    move_constants(moved, device)
    for parameter in moved.parameters():
        parameter.requires_grad_(False)
    return moved


def move_constants(module: torch.jit.ScriptModule, device: torch.device) -> None:
    """Let the graph create its tensors on ``device``: PyTorch itself moves only the weights."""
    for part in module.modules():
        try:
            graph: Any = part.graph
        except RuntimeError:  # it holds parts, and has no forward of its own
            continue
        for node in graph.findAllNodes("prim::Constant"):
            if node.output().type().kind() == "DeviceObjType":
                node.s_("value", str(device))


def as_text(module: torch.jit.ScriptModule) -> str:
    """The graph, one node a line, then how many of each operator."""
    graph = module.inlined_graph
    # The lines of the network's source code are no part of what it computes.
    lines = [re.sub(r"(, scope: \S+)?( # .*)?$", "", line) for line in str(graph).splitlines()]
    counts = Counter(node.kind() for node in graph.nodes() if node.kind().startswith("aten::"))
    return "\n".join([*lines, "  " + ", ".join(f"{count} {name}" for name, count in counts.most_common())])
