"""A folder's network with its weights, which have to fit exactly.

transformers itself renames and converts what older versions wrote, and so does this, through its own loader.
But where it fills what is missing with random numbers, this refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from segplug_torch.weights import other_model
from torch import nn

from segplug.checkpoint import Checkpoint, read_checkpoint
from segplug.errors import CheckpointError
from segplug.progress import Reporter
from segplug_transformers.architectures import Architecture
from segplug_transformers.construct import built, model_class
from segplug_transformers.folder import Folder
from segplug_transformers.offline import offline

__all__ = ["load_network"]

_COUNTER = "num_batches_tracked"
"""The batch norms' counter of training batches: it changes no result, and old files lack it."""
_WEIGHTS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_PLAIN = (*_WEIGHTS, torch.int64, torch.int32, torch.bool)
"""The types of what a network's file holds: weights, counters, tables. Others have a scale beside them."""


def load_network(
    folder: Folder, architecture: Architecture, config: Any, *, trust: bool, reporter: Reporter
) -> nn.Module:
    """The model of transformers with the folder's weights: float32, on the CPU, in eval mode.

    Args:
        folder: Its ``weights`` are read.
        architecture: The class of the model.
        config: The config of transformers that it is built from.
        trust: Allow the full unpickler for weights that are a pickle, which can run code in the file.
        reporter: Gets a note where the weights have another type than float32.

    Raises:
        CheckpointError: weights are missing, left over, of another shape, or quantised; or the file is
            damaged.
        ModelError: the network cannot be built from its config.
    """
    assert folder.weights is not None
    checkpoint = read_checkpoint(str(folder.weights), trust=trust)
    note = _note_of_types(checkpoint, folder.config)
    with built(f"{architecture.name} from {folder.path}"), offline():
        network, info = model_class(architecture).from_pretrained(
            None,
            config=config,
            state_dict=dict(checkpoint.state),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _refuse_misfit(checkpoint, info)
    if note:
        reporter.note(note)
    return _with_own_memory(network, checkpoint).eval()


def _refuse_misfit(checkpoint: Checkpoint, info: dict[str, Any]) -> None:
    missing = sorted(name for name in info["missing_keys"] if not name.endswith(_COUNTER))
    unexpected = sorted(name for name in info["unexpected_keys"] if not name.endswith(_COUNTER))
    reshaped = sorted((name, tuple(found), tuple(own)) for name, found, own in info["mismatched_keys"])
    if missing or unexpected or reshaped:
        raise other_model(checkpoint.path, missing, unexpected, reshaped)
    if errors := info.get("error_msgs"):
        raise CheckpointError(f"cannot load {checkpoint.path}: {' '.join(str(errors[0]).split())}")


def _note_of_types(checkpoint: Checkpoint, config: Mapping[str, Any]) -> str:
    """What a user should know of the types of the weights; empty: they are float32, and the config agrees."""
    # Single numbers tell nothing: PyTorch makes float64 of a number of NumPy.
    types = {value.dtype for value in checkpoint.state.values() if value.dim()}
    if narrow := types.difference(_PLAIN):
        raise CheckpointError(
            f"{checkpoint.path} holds weights of {_names(narrow)}, which are quantised",
            hint="give the weights that were quantised",
        )
    named = config.get("dtype") or config.get("torch_dtype")
    declared = None if named is None else getattr(torch, str(named), None)
    theirs = types if declared is None else {declared}
    others = types.union(theirs).intersection(_WEIGHTS) - {torch.float32}
    if not others:
        return ""
    note = f"the model is saved as {_names(others)}, and the network computes in float32"
    if theirs.isdisjoint(others):
        return note
    return f"{note}; transformers itself would compute in {_names(others)} unless it is told otherwise"


def _names(types: Collection[torch.dtype]) -> str:
    return " and ".join(sorted(str(kind).removeprefix("torch.") for kind in types))


def _with_own_memory(network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """The network with tensors that no file is mapped into: the file may be written again."""
    mapped = {value.untyped_storage().data_ptr() for value in checkpoint.state.values()}
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):
            if value.untyped_storage().data_ptr() in mapped:
                value.data = value.clone()
    return network
