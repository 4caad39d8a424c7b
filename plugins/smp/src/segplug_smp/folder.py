"""Read a folder that ``save_pretrained`` of smp wrote: its config as data, and where its weights are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segplug.checkpoint import require_checkpoint
from segplug.errors import ModelError, UsageError
from segplug.model_folder import CONFIG, inner_models, is_there, literal, read_json
from segplug.options import nearest
from segplug.regular_files import expanded, is_regular, why_no_file
from segplug_smp.architectures import ARCHITECTURES

__all__ = ["CARD", "INNER", "MODEL_CLASS", "WEIGHTS", "Folder", "read_folder"]

CARD = "README.md"
MODEL_CLASS = "_model_class"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The files of the weights, in the order in which smp looks for them."""
INNER = ("snapshots/*",)
"""Where the models lie in a folder of the hub's cache."""
_OF_TRANSFORMERS = ("architectures", "model_type")


@dataclass(frozen=True)
class Folder:
    """The content of a folder, with the overrides of ``--cfg-options`` applied."""

    path: Path
    config_file: Path
    architecture: str
    """One of ``ARCHITECTURES``."""
    arguments: Mapping[str, Any]
    """What the architecture's class is called with."""
    overridden: frozenset[str]
    """The names of the arguments that the user gives."""
    weights: Path | None
    """``None``: only the structure is asked for."""


def read_folder(
    location: str,
    cfg_options: Mapping[str, Any],
    *,
    checkpoint: str | None = None,
    need_weights: bool = True,
) -> Folder:
    """Read the config of a folder, and find its weights. Nothing is fetched, and nothing of it runs.

    Args:
        location: The folder, which may be a snapshot in the cache of the Hugging Face hub.
        cfg_options: Arguments of the architecture's class to their new values.
        checkpoint: A file of weights in place of the folder's own.
        need_weights: Whether the folder's own weights are looked for.

    Raises:
        UsageError: there is no such folder.
        ModelError: a file is missing or no JSON, or the folder is of another library.
    """
    path = expanded(location)
    if not os.path.isdir(path):
        if is_regular(path):
            raise UsageError(f"{location} is a file", hint=f"name its folder: {path.parent}")
        raise UsageError(f"there is no folder {location}", hint="name one that save_pretrained wrote")
    file = path / CONFIG
    if reason := why_no_file(file):
        inner = inner_models(path, *INNER)
        raise ModelError(reason, hint=f"name one of the models in it: {inner[-1]}" if inner else None)
    config = read_json(file)
    architecture = _architecture(config, file)
    # smp drops these, too: they are notes of the folder, and no arguments.
    arguments = {name: value for name, value in config.items() if not name.startswith("_")}
    overrides = {name: literal(value) for name, value in cfg_options.items()}
    weights = None
    if checkpoint is not None:
        weights = require_checkpoint(checkpoint)
    elif need_weights:
        weights = _weights(path, location)
    return Folder(path, file, architecture, arguments | overrides, frozenset(overrides), weights)


def _architecture(config: Mapping[str, Any], file: Path) -> str:
    name = config.get(MODEL_CLASS)
    if name in ARCHITECTURES:
        return str(name)
    if isinstance(name, str):
        guess = nearest(name, ARCHITECTURES)
        raise ModelError(
            f"{file}: {MODEL_CLASS} is '{name}', which segmentation-models-pytorch does not have"
            + (f"; did you mean '{guess}'?" if guess else ""),
            hint=f"it has {', '.join(ARCHITECTURES)}",
        )
    if any(key in config for key in _OF_TRANSFORMERS):
        raise ModelError(
            f"{file} is of a model of transformers, not of segmentation-models-pytorch",
            hint="pip install segplug-transformers, and leave out --source",
        )
    if name is not None:
        raise ModelError(f"{file}: {MODEL_CLASS} is no text")
    hint = "save the model with save_pretrained of segmentation-models-pytorch"
    if "encoder_name" in config:  # a version before 0.3.4, which did not write it
        hint = f'add "{MODEL_CLASS}": "Unet" to it, or whichever class the model is of'
    raise ModelError(
        f"{file} has no {MODEL_CLASS}, which says which network of segmentation-models-pytorch it is of",
        hint=hint,
    )


def _weights(path: Path, location: str) -> Path:
    for name in WEIGHTS:
        if is_there(path / name):
            return path / name
    ends = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
    found = sorted(file for file in path.iterdir() if file.suffix in ends)
    raise ModelError(
        f"the folder {location} has no weights: none of {', '.join(WEIGHTS)}",
        hint=f"--checkpoint {found[0]}"
        if found
        else "download the whole folder, or name a file with --checkpoint",
    )
