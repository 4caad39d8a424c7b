"""Find the weights in the content of a pickle, and the other entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.checkpoint.formats import META_KEY
from segplug.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = ["Unwrapped", "unwrap"]

_WEIGHTS_KEYS = ("state_dict", "model", "model_ema")
_LONE_KEYS = ("module", "state_dict_ema", "teacher")
"""More keys of weights: used only if no other entry holds a network."""
_DEEPEST = 4
_NAMED = 6
"""The number of entries that an error lists."""


@dataclass(frozen=True)
class Unwrapped:
    """The parts of a pickle's content; see :class:`segplug.checkpoint.Checkpoint`."""

    state: Mapping[str, torch.Tensor]
    meta: Mapping[str, Any]
    versions: Mapping[Any, Any]
    rest: Mapping[str, Any]


def unwrap(content: Any, location: str) -> Unwrapped:
    """Find the weights, under known keys or at the top, and the other entries.

    Raises:
        CheckpointError: there are no weights, or several networks and none of them under a known key.
    """
    whole = content = _plain(content)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{location} holds a {type(content).__name__}, not a checkpoint")
    meta: Mapping[str, Any] | None = None
    rest: dict[str, Any] = {}
    keys: list[str] = []
    while (key := _wrapper_key(content, location, outermost=not keys)) is not None:
        if len(keys) == _DEEPEST:  # a pickle may even hold itself
            raise CheckpointError(f"{location} wraps its weights more than {_DEEPEST} times")
        others = {str(name): value for name, value in content.items() if name != key}
        if meta is None and isinstance(others.get(META_KEY), Mapping):
            meta = others.pop(META_KEY)
        rest |= {".".join([*keys, name]): value for name, value in others.items()}
        keys.append(key)
        content = _plain(content[key])
        if not isinstance(content, Mapping):
            raise CheckpointError(
                f"the weights in {location} are a {type(content).__name__}, not a state dict"
            )
    state = _tensors(content)
    if not state:
        raise CheckpointError(f"{location} holds no weights", hint=_format_entries(whole))
    rest |= {f"state_dict.{name}": value for name, value in content.items() if str(name) not in state}
    return Unwrapped(state, meta or {}, getattr(content, "_metadata", None) or {}, rest)


def _wrapper_key(content: Mapping[Any, Any], location: str, *, outermost: bool) -> str | None:
    """The key of the weights; ``None`` if ``content`` itself is the weights."""
    from torch import nn

    for key in _WEIGHTS_KEYS:
        if isinstance(content.get(key), (Mapping, nn.Module)):
            return key
    networks = [key for key, value in content.items() if _holds_weights(value)]
    if len(networks) == 1 and networks[0] in _LONE_KEYS:
        return str(networks[0])
    if len(networks) > 1 and not _tensors(content):
        raise CheckpointError(
            f"{location} holds several networks: {_format_keys(networks)}",
            hint="put the one you want into a file of its own",
        )
    if outermost and not _tensors(content):  # a checkpoint whose weights are something else
        return next((key for key in _WEIGHTS_KEYS if key in content), None)
    return None


def _holds_weights(value: Any, depth: int = 1) -> bool:
    """Whether an entry is a network's weights, or holds them under known keys."""
    value = _plain(value)
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return False
    inner = (value.get(key) for key in (*_WEIGHTS_KEYS, *_LONE_KEYS))
    return bool(_tensors(value)) or any(_holds_weights(item, depth + 1) for item in inner)


def _format_entries(content: Mapping[Any, Any]) -> str | None:
    """The top entries of a file without weights, for the hint."""
    if not content:
        return None
    known = ", ".join((*_WEIGHTS_KEYS, *_LONE_KEYS))
    return f"its entries: {_format_keys(list(content))}; weights are looked for there and under {known}"


def _format_keys(keys: Sequence[Any]) -> str:
    names = [str(key)[:40] for key in keys[:_NAMED]]
    return ", ".join(names + ["..."] * (len(keys) > _NAMED))


def _plain(content: Any) -> Any:
    """The state of a pickled network; other content as it is."""
    from torch import nn

    return content.state_dict() if isinstance(content, nn.Module) else content


def _tensors(state: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    import torch

    return {str(key): value.detach() for key, value in state.items() if isinstance(value, torch.Tensor)}
