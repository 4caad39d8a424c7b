"""Which output of a network holds its scores, where it returns a dict or a tuple of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from segplug.errors import ModelError
from segplug.options import nearest

__all__ = ["SelectedOutput", "named_outputs", "select_output"]

_MOST_LISTED = 8


class SelectedOutput(nn.Module):
    """A network of which one output is taken: its parameters are those of the network.

    ``forward`` takes preprocessed float32 images ``(N, C, H, W)`` and gives the output that ``key`` names.
    """

    def __init__(self, network: nn.Module, key: str) -> None:
        super().__init__()
        self.network = network
        self.key = key

    def forward(self, images: torch.Tensor) -> Any:
        """The chosen output; raises :class:`ModelError` if the network does not return it."""
        outputs = self.network(images)
        named = named_outputs(outputs)
        if self.key not in named:
            raise _unknown(self.key, outputs, named)
        return named[self.key]


def select_output(network: nn.Module, key: str | None) -> nn.Module:
    """The network with one of its outputs; ``None``: the network itself.

    Args:
        network: Returns a dict, a tuple, a list, or an object with fields.
        key: A key of the dict, the name of a field, or a number from 0.
    """
    return network if key is None else SelectedOutput(network, key)


def named_outputs(outputs: Any) -> dict[str, Any]:
    """What a network returned, by the names that choose one of it; empty: it is no collection.

    The items of a tuple or list are numbered from 0; those of a named tuple have their names, too.
    """
    if isinstance(outputs, Mapping):  # an OrderedDict, and the outputs of transformers, too
        return {str(key): value for key, value in outputs.items()}
    if isinstance(outputs, (tuple, list)):
        fields = getattr(outputs, "_fields", ())
        numbered = {str(number): value for number, value in enumerate(outputs)}
        return {**numbered, **{name: getattr(outputs, name) for name in fields}}
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        return {field.name: getattr(outputs, field.name) for field in dataclasses.fields(outputs)}
    if isinstance(outputs, torch.Tensor) or not hasattr(outputs, "__dict__"):
        return {}
    return {name: value for name, value in vars(outputs).items() if isinstance(value, torch.Tensor)}


def _unknown(key: str, outputs: Any, named: Mapping[str, Any]) -> ModelError:
    kind = type(outputs).__name__
    if not named:
        what = "one tensor" if isinstance(outputs, torch.Tensor) else f"the type {kind}"
        return ModelError(f"output_key is {key}, and the network returns {what}", hint="leave out output_key")
    if isinstance(outputs, (tuple, list)) and key.lstrip("-").isdigit():
        return ModelError(
            f"output_key is {key}, and the network returns a {kind} of {len(outputs)}",
            hint=f"its outputs are numbered 0 to {len(outputs) - 1}",
        )
    guess = nearest(key, named)
    listed = list(named)[:_MOST_LISTED]
    more = f" and {len(named) - len(listed)} more" if len(named) > len(listed) else ""
    return ModelError(
        f"the network returns no output '{key}'" + (f"; did you mean '{guess}'?" if guess else ""),
        hint=f"it returns a {kind} of {', '.join(listed)}{more}",
    )
