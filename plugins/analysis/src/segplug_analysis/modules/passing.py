"""One pass of an image through a network, for what can be seen on the way and not for its answer.

The pass runs on tensors that have a shape and no values (torch's fake tensors), so that a network at
2048 x 1024 costs seconds and no memory. Where its flow asks for values, as a selection by a mask does, it is
computed after all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import nn
from torch._functorch import config as functorch_config
from torch._subclasses.fake_tensor import FakeTensorMode

from segplug.errors import DeviceError, ShapeError

__all__ = ["Passed", "pass_once", "wrapped_network"]

Seen = TypeVar("Seen")

_REFUSALS = (RuntimeError, ValueError, AssertionError, IndexError, TypeError, ArithmeticError)
"""What networks raise for an input that they cannot take."""


@dataclass(frozen=True)
class Passed(Generic[Seen]):
    """A pass that went through."""

    seen: Seen
    """What the observer made of it."""
    computed_because: str | None
    """Why values had to be computed; ``None``: nothing was computed."""


def pass_once(
    module: nn.Module, shape: tuple[int, int], observing: Callable[[], AbstractContextManager[Seen]]
) -> Passed[Seen]:
    """Send one image through ``module``, which is left as it was, but for what its ``forward`` itself keeps.

    Args:
        module: float32 ``(1, 3, H, W)`` to anything, in eval mode.
        shape: Input (height, width) in pixels.
        observing: Opens a fresh observer around each attempt; what it yields is given back for the one
            that went through.

    Raises:
        ShapeError: the network cannot take this shape.
        DeviceError: the pass had to be computed, and there is not enough memory for it.
    """
    try:
        with torch.no_grad(), _separate_attention(), _without_values():
            image = torch.empty(1, 3, *shape, device=_device_of(module))
            return Passed(_observed(module, image, observing), None)
    except _REFUSALS as error:
        # Whether this is a wrong shape or a flow that needs values is known for sure only by computing.
        reason = _one_line(error)
    try:
        with torch.no_grad(), _separate_attention():
            generator = torch.Generator().manual_seed(0)
            image = torch.randn(1, 3, *shape, generator=generator).to(_device_of(module))
            return Passed(_observed(module, image, observing), reason)
    except _REFUSALS as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise DeviceError(
                f"not enough memory to run the network on {shape[0]}x{shape[1]} pixels",
                hint="its flow depends on values, so it has to be computed: give a smaller --shape",
            ) from error
        raise ShapeError(
            f"the network cannot take an input of {shape[0]}x{shape[1]} pixels: {_one_line(error)}"
        ) from error


def wrapped_network(module: nn.Module) -> tuple[str, nn.Module]:
    """What ``module`` merely wraps, and the prefix of its names in ``module``.

    A root that has one child and no tensors of its own only adapts an interface; people know the modules by
    the names that the framework and its checkpoints have, which begin below it.
    """
    children = list(module.named_children())
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if len(children) == 1 and not own and any(True for _ in children[0][1].children()):
        return f"{children[0][0]}.", children[0][1]
    return "", module


def _observed(
    module: nn.Module, image: torch.Tensor, observing: Callable[[], AbstractContextManager[Seen]]
) -> Seen:
    with observing() as seen:
        module(image)
    return seen


def _device_of(module: nn.Module) -> torch.device:
    parameter = next(module.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def _separate_attention() -> Iterator[None]:
    """Let ``nn.MultiheadAttention`` take its steps one by one: fused, its products could not be seen."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def _without_values() -> Iterator[None]:
    """Give all tensors that are made shapes only.

    A compiled extension that is given such a tensor must fail, not read at its address: there is nothing. And
    torch is kept from printing the traceback of what fails so, for it is tried with values next.
    """
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        with (
            functorch_config.patch(fake_tensor_allow_unsafe_data_ptr_access=False),
            FakeTensorMode(allow_non_fake_inputs=True),
        ):
            yield
    finally:
        logger.disabled = before


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip()[:300] if lines else type(error).__name__
