"""Read a folder that ``save_pretrained`` wrote: its JSON as data, and which files hold the weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segplug.checkpoint import require_checkpoint
from segplug.errors import ModelError, UsageError
from segplug.model_folder import CONFIG, inner_models, is_there, read_json
from segplug.regular_files import (
    MOST_TEXT,
    expanded,
    is_regular,
    require_regular,
    why_no_file,
)
from segplug_transformers.overrides import apply_overrides

__all__ = [
    "ADAPTER",
    "INNER",
    "PROCESSORS",
    "WEIGHTS",
    "Folder",
    "adapter_error",
    "read_folder",
    "read_processor",
    "tokenizer_files",
    "weight_files",
]

PROCESSORS = (
    ("processor_config.json", "image_processor"),
    ("preprocessor_config.json", None),
    ("processor_config.json", "video_processor"),
    ("video_preprocessor_config.json", None),
)
"""The files of a processor, in the order in which transformers looks for them, and the key in them."""

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The files of the weights, in the order in which transformers looks for them."""
_OTHER_WEIGHTS = ("tf_model.h5", "flax_model.msgpack")
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json"),
)
_ARGUMENTS = "training_args.bin"
"""What a Trainer leaves beside the weights."""
_SHARD = "-of-"
ADAPTER = "adapter_config.json"
INNER = ("checkpoint-*", "snapshots/*")
"""Where the models lie in a folder of a Trainer, and in one of the hub's cache."""


@dataclass(frozen=True)
class Folder:
    """The content of a folder, with the overrides of ``--cfg-options`` applied."""

    path: Path
    config: Mapping[str, Any]
    """``config.json``."""
    processor: Mapping[str, Any] | None
    """The settings of its image processor; ``None``: the folder has none."""
    weights: Path | None
    """The file of the weights, or the index of several; ``None``: none is needed."""
    config_file: Path
    processor_file: Path | None


def read_folder(
    location: str,
    cfg_options: Mapping[str, Any] | None = None,
    *,
    checkpoint: str | None = None,
    need_weights: bool = True,
) -> Folder:
    """Read the JSON of a folder, and find its weights. Nothing is fetched, and nothing of it runs.

    Args:
        location: The folder, which may be a snapshot in the cache of the Hugging Face hub.
        cfg_options: Dotted keys of ``config.json`` to their new values; keys that begin with
            ``preprocessor.`` change the settings of the processor.
        checkpoint: A file of weights in place of the folder's own.
        need_weights: Whether the folder's own weights are looked for.

    Raises:
        UsageError: there is no such folder, or an override is of nothing that is there.
        ModelError: a file is missing, or is no JSON.
    """
    path = expanded(location)
    if not os.path.isdir(path):
        if is_regular(path):
            raise UsageError(f"{location} is a file", hint=f"name its folder: {path.parent}")
        raise UsageError(f"there is no folder {location}", hint="name one that save_pretrained wrote")
    config_file = path / CONFIG
    if reason := why_no_file(config_file):
        raise _no_config(path, reason)
    config = read_json(config_file)
    processor, processor_file = read_processor(path)
    config, processor = apply_overrides(config, processor, cfg_options or {})
    weights = None
    if checkpoint is not None:
        weights = require_checkpoint(checkpoint)
    elif need_weights:
        weights = _find_weights(path)
        if weights is None:
            raise _no_weights(path, location)
    return Folder(path, config, processor, weights, config_file, processor_file)


def tokenizer_files(path: Path) -> tuple[Path, ...]:
    """The files of a folder's tokenizer, which OneFormer needs.

    Raises:
        ModelError: what has the name of one is no file, or too large for the text that it should be.
    """
    files = tuple(path / name for name in _TOKENIZER if is_there(path / name))
    for file in files:
        if require_regular(file) > MOST_TEXT:
            raise ModelError(f"{file} has more than the {MOST_TEXT:,} bytes that are read")
    return files


def weight_files(weights: Path | None) -> tuple[Path, ...]:
    """The file of the weights; or an index that was read, and the files that it lists."""
    if weights is None:
        return ()
    if weights.suffix != ".json":
        return (weights,)
    return (
        weights,
        *(weights.parent / name for name in sorted({*read_json(weights)["weight_map"].values()})),
    )


def read_processor(path: Path) -> tuple[dict[str, Any] | None, Path | None]:
    """The settings of a folder's image processor as they are stored, and their file; ``None``: it has none.

    Raises:
        ModelError: the file cannot be read, or holds something else.
    """
    for name, key in PROCESSORS:
        file = path / name
        if not is_there(file):
            continue
        content = read_json(file)
        found = content if key is None else content.get(key)
        if isinstance(found, dict):
            return found, file
    return None, None


def _find_weights(path: Path) -> Path | None:
    return next((path / name for name in WEIGHTS if is_there(path / name)), None)


def _no_weights(path: Path, location: str) -> ModelError:
    message = f"the folder {location} has no weights: none of {', '.join(WEIGHTS)}"
    others = [name for name in _OTHER_WEIGHTS if is_regular(path / name)]
    if others:
        return ModelError(
            f"{message}, but {', '.join(others)}",
            hint="load it with a transformers that reads it, and save it as safetensors",
        )
    ends = (".safetensors", ".bin")
    found = sorted(file.name for file in path.iterdir() if file.suffix in ends and file.name != _ARGUMENTS)
    if any(_SHARD in name for name in found):
        return ModelError(
            f"the folder {location} has the files of a checkpoint, such as {found[0]}, and not their index",
            hint="download the whole folder",
        )
    hint = f"--checkpoint {path / found[0]}" if found else None  # such as model.fp16.safetensors
    return ModelError(message, hint=hint or "download the whole folder, or name a file with --checkpoint")


def _no_config(path: Path, reason: str) -> ModelError:
    if is_regular(path / ADAPTER):
        return adapter_error(path)
    inner = inner_models(path, *INNER)
    return ModelError(reason, hint=f"name one of the models in it: {inner[-1]}" if inner else None)


def adapter_error(path: Path) -> ModelError:
    """The error for weights that change those of another model."""
    return ModelError(
        f"{path} holds an adapter ({ADAPTER}), whose weights are apart from the model's",
        hint="merge it with peft (merge_and_unload), and save the result with save_pretrained",
    )
