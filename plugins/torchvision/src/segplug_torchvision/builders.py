"""The functions of torchvision that build segmentation networks. Nothing is fetched."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError, UsageError, first_line
from segplug.limits import MOST_CHANNELS
from segplug.options import nearest
from segplug.quiet import quiet
from segplug_torchvision.library import import_models

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SCHEME", "Builder", "builder_names", "find_builder"]

SCHEME = "torchvision:"
_WEIGHTS = ("weights", "weights_backbone", "pretrained", "pretrained_backbone")
"""Arguments that make torchvision fetch weights."""
_COUNT, _AUX = "num_classes", "aux_loss"
_ARGUMENTS = (_COUNT, _AUX)
"""Those that a user can give; a network takes one or both."""


@dataclass(frozen=True)
class Builder:
    """One segmentation network of torchvision."""

    name: str
    """As torchvision registers it: ``deeplabv3_resnet50``."""
    function: Callable[..., Any]

    @property
    def takes_aux(self) -> bool:
        """Whether the network can have an auxiliary classifier."""
        return _AUX in inspect.signature(self.function).parameters

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check the arguments that a user gives; a string is read as a Python literal.

        Raises:
            UsageError: the function has no such argument, it would fetch weights, or its value is wrong.
        """
        known = [name for name in _ARGUMENTS if name in inspect.signature(self.function).parameters]
        found = {}
        for name, value in given.items():
            if name in _WEIGHTS:
                raise UsageError(
                    f"{name} makes torchvision fetch weights, and nothing is fetched here",
                    hint="download them, and name the file with --checkpoint",
                )
            if name not in known:
                guess = nearest(name, known)
                raise UsageError(
                    f"{self.name} has no argument '{name}'" + (f"; did you mean '{guess}'?" if guess else ""),
                    hint=f"it takes {' and '.join(known)}",
                )
            found[name] = _value(name, value)
        return found

    def build(self, num_classes: int, *, aux: bool = False) -> nn.Module:
        """The network with random weights, in training mode.

        Args:
            num_classes: The number of its classes.
            aux: With the auxiliary classifier; only where it takes one.

        Raises:
            ModelError: torchvision cannot build it.
        """
        keywords = {_AUX: aux} if self.takes_aux else {}
        try:
            with quiet():
                network: nn.Module = self.function(
                    weights=None, weights_backbone=None, num_classes=num_classes, **keywords
                )
        except (RuntimeError, TypeError, ValueError) as error:
            raise ModelError(f"torchvision cannot build {self.name}: {first_line(error)}") from error
        return network


def builder_names() -> tuple[str, ...]:
    """The names of torchvision's segmentation networks.

    Raises:
        MissingDependencyError: torchvision cannot be imported.
    """
    models = import_models()
    return tuple(models.list_models(module=models.segmentation))


def find_builder(location: str) -> Builder:
    """The network that a location names (``torchvision:deeplabv3_resnet50``).

    Raises:
        UsageError: torchvision has no such network, or it is not for segmentation.
        MissingDependencyError: torchvision cannot be imported.
    """
    name = location.removeprefix(SCHEME)
    names = builder_names()
    models = import_models()
    if name in names:
        return Builder(name, models.get_model_builder(name))
    listing = f"its segmentation networks: {', '.join(names)}"
    if not name:
        raise UsageError(f"{location} names no network of torchvision", hint=listing)
    if name in models.list_models():
        raise UsageError(f"torchvision's {name} is no segmentation network", hint=listing)
    guess = nearest(name, names)
    raise UsageError(
        f"torchvision has no network '{name}'" + (f"; did you mean '{guess}'?" if guess else ""), hint=listing
    )


def _value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = {"true": True, "false": False}.get(value.lower(), value)
    if name == _AUX:
        if not isinstance(value, bool):
            raise UsageError(f"{name} takes True or False, not {value!r}")
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{name} takes a whole number, not {value!r}")
    if not 1 <= value <= MOST_CHANNELS:
        raise UsageError(f"{name} is 1 to {MOST_CHANNELS}, not {value}")
    return value
