"""A checkpoint loaded strictly into a network."""

from __future__ import annotations

import collections
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from segplug.checkpoint import Checkpoint, first_sentence
from segplug.errors import CheckpointError
from segplug.progress import Reporter
from segplug.text import counted, shortened

__all__ = ["load_weights", "other_model", "without_prefix"]

_MOST_NAMES = 100
"""Characters of the names that a note lists."""
_COUNTER = "num_batches_tracked"
"""The batch norms' counter of training batches: it changes no result, and old files lack it."""


def load_weights(
    network: nn.Module, checkpoint: Checkpoint, *, is_extra: Callable[[str], bool] = lambda _name: False
) -> list[str]:
    """Copy a checkpoint's weights into a network; every weight must be there, and none may be left over.

    Args:
        network: Its tensors are overwritten.
        checkpoint: The weights.
        is_extra: Whether a tensor of this name, which the network does not have, may be ignored.

    Returns:
        The names that were ignored.

    Raises:
        CheckpointError: names are missing or unexpected, or tensors have another shape, or hold numbers of
            another kind than the network's.
    """
    own = network.state_dict()
    _require_kinds(own, checkpoint)
    ignored = [
        name for name in checkpoint.state if name not in own and (name.endswith(_COUNTER) or is_extra(name))
    ]
    state = collections.OrderedDict((k, v) for k, v in checkpoint.state.items() if k not in set(ignored))
    reshaped = [name for name, value in state.items() if name in own and own[name].shape != value.shape]
    try:
        # The modules' own hooks may rename and reshape tensors: what they leave over is what counts.
        missing, unexpected = network.load_state_dict(state, strict=False)
        # A network may drop, before it loads, what has another shape.
        reshaped = [name for name in reshaped if name in missing]
        missing = [name for name in missing if name not in reshaped]
    except RuntimeError as error:
        if not reshaped:
            raise CheckpointError(f"cannot load {checkpoint.path}: {first_sentence(error)}") from error
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
    missing = [name for name in missing if not name.endswith(_COUNTER)]
    if missing or unexpected or reshaped:
        shapes = [(name, tuple(checkpoint.state[name].shape), tuple(own[name].shape)) for name in reshaped]
        raise other_model(checkpoint.path, missing, unexpected, shapes)
    return ignored


def without_prefix(checkpoint: Checkpoint, anchors: Collection[str], reporter: Reporter) -> Checkpoint:
    """A checkpoint without the prefix, such as ``model.``, that a trainer puts before a network's names.

    Args:
        checkpoint: The weights. What has other names, such as the weights of a loss, is left out.
        anchors: Names of which the network has one, of its head.
        reporter: Gets a note of what is left out.

    Raises:
        CheckpointError: several networks are in it.
    """
    if any(anchor in checkpoint.state for anchor in anchors):
        return checkpoint
    found = {
        name.removesuffix(anchor)
        for anchor in anchors
        for name in checkpoint.state
        if name.endswith(f".{anchor}")
    }
    if not found:
        return checkpoint
    if len(found) > 1:
        raise CheckpointError(
            f"{checkpoint.path} holds several networks: {', '.join(sorted(found))}",
            hint="put the one you want into a file of its own",
        )
    prefix = found.pop()
    state = {name: value for name, value in checkpoint.state.items() if name.startswith(prefix)}
    rest = [name for name in checkpoint.state if name not in state]
    if rest:
        names = shortened(", ".join(rest), _MOST_NAMES)
        reporter.note(f"{counted(len(rest), 'tensor')} beside the network ({prefix}*) left out: {names}")
    return replace(checkpoint, state={name.removeprefix(prefix): value for name, value in state.items()})


def _require_kinds(own: Mapping[str, Tensor], checkpoint: Checkpoint) -> None:
    """Refuse what PyTorch would copy all the same: whole numbers, whose scale it lacks, and complex ones."""
    for name, value in checkpoint.state.items():
        if name in own and own[name].is_floating_point() and not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{checkpoint.path} holds {name} as {kind}, and the network's are floating-point numbers",
                hint="save the weights as float32, before they are quantised",
            )


def other_model(
    path: str,
    missing: Sequence[str],
    unexpected: Sequence[str],
    reshaped: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> CheckpointError:
    """The error for weights that do not fit: how many of each kind, and the first few.

    Args:
        path: The checkpoint.
        missing: Names that the network has, and the checkpoint lacks.
        unexpected: Names that the checkpoint has, and the network lacks.
        reshaped: A name, its shape in the checkpoint, and that in the network.
    """
    shapes = [f"{name} {_shape(held)} for {_shape(own)}" for name, held, own in reshaped]
    return CheckpointError(
        f"the checkpoint {path} is of another model: {_count(missing, 'missing')}; "
        f"{_count(unexpected, 'unexpected')}; {_count(shapes, 'of another shape')}"
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _count(names: Sequence[str], what: str) -> str:
    first = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{counted(len(names), 'key')} {what}" + (f" ({first})" if names else "")
