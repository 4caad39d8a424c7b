"""Networks that are built without weights of their own, to receive others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Uninitialised"]

_RANDOM = (torch.Tensor.uniform_, torch.Tensor.normal_)


class Uninitialised(TorchFunctionMode):
    """Build networks in this block without drawing random numbers for their weights.

    Drawing them takes longer than all the rest of building. And memory that nothing is written to is never
    allocated: a network that waits for the weights of a large file does not need their size a second time.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the tensor of an initialisation unchanged; every other call is made."""
        kwargs = kwargs or {}
        # Some functions of torch.nn.init arrive here themselves, some only by the drawing inside.
        if func in _RANDOM or getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
