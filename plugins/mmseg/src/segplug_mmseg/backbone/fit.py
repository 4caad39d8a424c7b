"""Weights under a backbone's own names: compared, resized, and loaded strictly."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segplug.errors import CheckpointError, ModelError
from segplug.results import BackboneFit, ResizedTensor
from segplug_mmseg.backbone.resize import resize

__all__ = ["find_backbone", "fit"]

_COUNTER = "num_batches_tracked"
_INDEX = "relative_position_index"


def find_backbone(segmentor: nn.Module, location: str) -> nn.Module:
    """The network that pretrained weights are made for: the innermost ``backbone`` of the segmentor's own.

    For mmseg STDCContextPathNet, BiSeNetV1 and ICNet are backbones, which hold the network of that name.

    Raises:
        ModelError: the model of the config ``location`` has none, or more than one.
    """
    found: dict[str, nn.Module] = {
        name: module
        for name, module in segmentor.named_modules()
        if name.split(".")[0] == "backbone" and name.split(".")[-1] == "backbone"
    }
    model = f"the model of {location} ({type(segmentor).__name__})"
    if not found:
        raise ModelError(f"{model} has no `backbone` to load weights into")
    innermost = max(found, key=len)
    if not all(f"{innermost}.".startswith(f"{name}.") for name in found):
        raise ModelError(f"{model} has several backbones to load weights into: {', '.join(found)}")
    return found[innermost]


def fit(backbone: nn.Module, state: Mapping[str, Tensor], optional: Collection[str] = ()) -> BackboneFit:
    """Load ``state`` into ``backbone`` strictly, if its names and shapes allow.

    The backbone takes the tensors themselves (``assign``), and the result holds the same objects, except for
    those that it lists as resized. Two kinds of names do not count as missing:

    * BatchNorm's ``num_batches_tracked``. Files written before PyTorch 0.4.1 have none; only a BatchNorm
      without a momentum uses it, and PyTorch's own strict loading keeps the network's where a file has no
      version.
    * ``relative_position_index``. It depends on the window alone, so it is a constant of the network, and
      today's libraries do not save it: the network's own is used, as it is where the window is another. A
      BEiT or MAE always keeps its own, as in mmseg.

    Args:
        backbone: Any backbone of mmseg; its values are replaced.
        state: Name to tensor, under the backbone's names. Not modified.
        optional: Names of ``state`` that the backbone may lack.

    Raises:
        CheckpointError: a tensor for a weight is not of a floating-point type.
        MissingDependencyError: a table needs SciPy to be resized.
    """
    own: dict[str, Tensor] = backbone.state_dict()
    left_out = tuple(name for name in state if name not in own and name in optional)
    loaded = {name: tensor for name, tensor in state.items() if name in own or name not in optional}
    resized = []
    for name, target in own.items():
        if name.endswith(_INDEX):
            change = _index(backbone, loaded, name, target)
        else:
            change = _table(backbone, loaded, name, target)
        if change is not None:
            resized.append(change)
    result = BackboneFit(
        backbone=type(backbone).__name__,
        state=loaded,
        resized=tuple(resized),
        left_out=left_out,
        missing=tuple(name for name in own if name not in loaded and not name.endswith(_COUNTER)),
        unexpected=tuple(name for name in loaded if name not in own),
        misshaped=tuple(
            (name, tuple(loaded[name].shape), tuple(target.shape))
            for name, target in own.items()
            if name in loaded and loaded[name].shape != target.shape
        ),
    )
    if result.fits:
        _load(backbone, loaded)
    return result


def _table(backbone: Any, loaded: dict[str, Tensor], name: str, target: Tensor) -> ResizedTensor | None:
    """Resize a tensor of another shape, if it is a table that mmseg can resize."""
    given = loaded.get(name)
    if given is None or given.shape == target.shape:
        return None
    resized = resize(backbone, name, given, target.shape)
    if resized is None:
        return None
    loaded[name] = resized.values
    return ResizedTensor(name, tuple(given.shape), tuple(target.shape), resized.how)


def _index(backbone: Any, loaded: dict[str, Tensor], name: str, target: Tensor) -> ResizedTensor | None:
    """Use the network's own index where there is none, or one for another network."""
    from mmseg.models.backbones import BEiT

    given = loaded.setdefault(name, target)
    fits = given.shape == target.shape and (not isinstance(backbone, BEiT) or torch.equal(given, target))
    if fits:
        return None
    loaded[name] = target
    return ResizedTensor(name, tuple(given.shape), tuple(target.shape), "the network's own")


def _load(backbone: nn.Module, state: Mapping[str, Tensor]) -> None:
    whole = [name for name, weight in backbone.named_parameters() if not state[name].is_floating_point()]
    if whole:
        more = f" and {len(whole) - 1} more" if len(whole) > 1 else ""
        dtype = state[whole[0]].dtype
        raise CheckpointError(
            f"{whole[0]}{more} cannot be weights of {type(backbone).__name__}: the type is {dtype}",
            hint="they may be quantised; the network needs floating-point numbers",
        )
    # Detached, since an assigned parameter takes the flags of the one that it replaces.
    tensors = {name: tensor.detach() for name, tensor in state.items()}
    backbone.load_state_dict(tensors, strict=True, assign=True)
