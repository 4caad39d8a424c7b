"""Read a folder that ``save_pretrained`` wrote: its JSON as data, and which files hold the weights."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segplug.checkpoint import require_checkpoint
from segplug.errors import ModelError, UsageError
from segplug.regular_files import (
    MOST_TEXT,
    expanded,
    is_regular,
    read_regular_text,
    require_regular,
    why_no_file,
)
from segplug_transformers.overrides import apply_overrides

__all__ = [
    "ADAPTER",
    "CONFIG",
    "PROCESSORS",
    "WEIGHTS",
    "Folder",
    "adapter_error",
    "inner_models",
    "read_folder",
    "read_json",
    "read_processor",
    "tokenizer_files",
    "weight_files",
]

CONFIG = "config.json"

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
_INNER = ("checkpoint-*", "snapshots/*")
_STEPS = re.compile(r"[0-9]{1,18}")
ADAPTER = "adapter_config.json"
_MOST_JSON = 1 << 24
"""Bytes. The longest config of a model of its own has some 100,000: the names of 20,000 classes."""
_MOST_NESTED = 64
"""Objects and lists in each other. Real configs have at most 6."""


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


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ModelError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(read_regular_text(file, most_bytes=_MOST_JSON))
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} holds no JSON object")
    if _is_nested(content):
        raise ModelError(f"{file} has more than {_MOST_NESTED} objects and lists in each other")
    return content


def tokenizer_files(path: Path) -> tuple[Path, ...]:
    """The files of a folder's tokenizer, which OneFormer needs.

    Raises:
        ModelError: what has the name of one is no file, or too large for the text that it should be.
    """
    files = tuple(path / name for name in _TOKENIZER if _is_there(path / name))
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
        if not _is_there(file):
            continue
        content = read_json(file)
        found = content if key is None else content.get(key)
        if isinstance(found, dict):
            return found, file
    return None, None


def _find_weights(path: Path) -> Path | None:
    return next((path / name for name in WEIGHTS if _is_there(path / name)), None)


def _is_there(file: Path) -> bool:
    """Whether a file is there.

    Raises:
        ModelError: what has its name is no file, and to take the next one would hide that.
    """
    if not os.path.lexists(file):
        return False
    reason = why_no_file(file)
    if reason is None:
        return True
    if os.path.exists(file):
        raise ModelError(reason)
    raise ModelError(f"{file} is a link that leads to no file", hint="download the whole folder")


def _is_nested(content: Any) -> bool:
    """Whether more objects and lists are in each other than code that calls itself should follow."""
    level = [content]
    for _ in range(_MOST_NESTED):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return bool(level)


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


def inner_models(path: Path) -> list[Path]:
    """The models in a folder of a Trainer or of the hub's cache, the newest last."""
    found = [file for pattern in _INNER for file in path.glob(f"{pattern}/{CONFIG}") if is_regular(file)]
    return [file.parent for file in sorted(found, key=_age)]


def _age(file: Path) -> tuple[float, int, Path]:
    _, _, steps = file.parent.name.partition("-")  # a copy may have one time for all
    return os.path.getmtime(file), int(steps) if _STEPS.fullmatch(steps) else 0, file


def _no_config(path: Path, reason: str) -> ModelError:
    if is_regular(path / ADAPTER):
        return adapter_error(path)
    inner = inner_models(path)
    return ModelError(reason, hint=f"name one of the models in it: {inner[-1]}" if inner else None)


def adapter_error(path: Path) -> ModelError:
    """The error for weights that change those of another model."""
    return ModelError(
        f"{path} holds an adapter ({ADAPTER}), whose weights are apart from the model's",
        hint="merge it with peft (merge_and_unload), and save the result with save_pretrained",
    )
