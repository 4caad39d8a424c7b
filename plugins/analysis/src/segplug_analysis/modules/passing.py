"""One pass of an image through a network, to record its calls; its output is not used.

The pass runs on tensors that have a shape and no values (torch's fake tensors): a network at 2048 x 1024
takes seconds and no memory. Where the control flow depends on values, as in a selection by a mask, the pass
is repeated with random values.
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

Record = TypeVar("Record")

_REFUSALS = (RuntimeError, ValueError, AssertionError, IndexError, TypeError, ArithmeticError)
"""The errors that networks raise for an input that they cannot take."""


@dataclass(frozen=True)
class Passed(Generic[Record]):
    """A pass that succeeded."""

    record: Record
    """What the observer recorded."""
    computed_because: str | None
    """Why values had to be computed; ``None``: no values were computed."""


def pass_once(
    module: nn.Module,
    channels: int,
    shape: tuple[int, int],
    observing: Callable[[], AbstractContextManager[Record]],
) -> Passed[Record]:
    """Send one image through ``module``. It is not changed, except for what its ``forward`` itself stores.

    Args:
        module: float32 ``(1, C, H, W)`` to anything, in eval mode.
        channels: C.
        shape: Input (height, width) in pixels.
        observing: Makes a new context around each attempt. The value of the successful one is returned.

    Raises:
        ShapeError: the network cannot take this shape.
        DeviceError: the pass had to be computed, and there is not enough memory for it.
    """
    try:
        with torch.no_grad(), _separate_attention(), _without_values():
            image = torch.empty(1, channels, *shape, device=_device_of(module))
            return Passed(_observed(module, image, observing), None)
    except _REFUSALS as error:
        # A wrong shape, or a control flow that needs values: only computing shows which.
        reason = _one_line(error)
    try:
        with torch.no_grad(), _separate_attention():
            generator = torch.Generator().manual_seed(0)
            image = torch.randn(1, channels, *shape, generator=generator).to(_device_of(module))
            return Passed(_observed(module, image, observing), reason)
    except _REFUSALS as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise DeviceError(
                f"not enough memory to run the network on {shape[0]}x{shape[1]} pixels",
                hint="its control flow depends on values, so it has to be computed: give a smaller --shape",
            ) from error
        raise ShapeError(
            f"the network cannot take an input of {shape[0]}x{shape[1]} pixels: {_one_line(error)}"
        ) from error


def wrapped_network(module: nn.Module) -> tuple[str, nn.Module]:
    """The network that ``module`` wraps, if it wraps one, and the prefix of its names in ``module``.

    A root with one child and no tensors of its own only adapts an interface. The names that people know, from
    the framework and its checkpoints, begin below it.
    """
    children = list(module.named_children())
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    if len(children) == 1 and not own and any(True for _ in children[0][1].children()):
        return f"{children[0][0]}.", children[0][1]
    return "", module


def _observed(
    module: nn.Module, image: torch.Tensor, observing: Callable[[], AbstractContextManager[Record]]
) -> Record:
    with observing() as record:
        module(image)
    return record


def _device_of(module: nn.Module) -> torch.device:
    parameter = next(module.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def _separate_attention() -> Iterator[None]:
    """Let ``nn.MultiheadAttention`` call separate operators: a fused one would hide its products."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def _without_values() -> Iterator[None]:
    """Make new tensors without values.

    A compiled extension that gets such a tensor must raise an error, and not read memory that does not exist.
    Torch would log the traceback of such an error; it is not shown, because a pass with values comes next.
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
