"""Modules around the network of a file.

This module imports torch; it is imported when a file is opened, never before.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import nn

from segplug.errors import ModelError

__all__ = ["OneByOne"]


class OneByOne(nn.Module):
    """A network that takes one image only, for any number of them: it runs once for each."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> Any:
        """Scores of images ``(N, channels, H, W)``; raises :class:`ModelError` where N is free."""
        if isinstance(images.shape[0], torch.SymInt):
            raise ModelError("the network of the file takes one image at a time")
        if images.shape[0] == 1:
            return self.network(images)
        return torch.cat([self.network(image[None]) for image in images])


class ScriptNetwork(nn.Module):
    """The network of a TorchScript file, which also follows its weights to another device."""

    def __init__(self, script: torch.jit.ScriptModule, device: torch.device) -> None:
        super().__init__()
        self.script = script.eval()
        self._device = device

    def forward(self, images: torch.Tensor) -> Any:
        """What the file's network gives."""
        return self.script(images)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> ScriptNetwork:
        """Move the weights, as PyTorch calls it, and let the graph make its tensors where they are."""
        from segplug_torchscript.jit import opened_again

        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        weight = next(chain(self.parameters(), self.buffers()), None)
        device = fn(torch.empty(0)).device if weight is None else weight.device
        if device != self._device:
            self.script = opened_again(self.script, device).eval()
            self._device = device
        return self


def as_plain_module(program: nn.Module) -> nn.Module:
    """The module of a program, which can be in eval mode: it is what it was when it was exported.

    PyTorch puts methods that raise in the place of ``train`` and ``eval``.
    """
    for name in ("train", "eval"):
        program.__dict__.pop(name, None)
    return program.eval()
