"""How sure the source is that a location is a model of smp: its files are read as data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segplug.errors import ModelError
from segplug.locations import has_scheme
from segplug.model_folder import CONFIG, inner_models, read_json
from segplug.providers import Confidence
from segplug.regular_files import expanded, is_regular, read_regular_text
from segplug_smp.folder import CARD, INNER, MODEL_CLASS, WEIGHTS

__all__ = ["confidence"]

_ARGUMENTS = {"encoder_name", "encoder_weights"}
"""Arguments of every network of smp."""
_LIBRARY = "segmentation-models-pytorch"
_MOST_TEXT = 1 << 20


def confidence(location: str) -> Confidence:
    """How sure it is that ``location`` is a folder that ``save_pretrained`` of smp wrote.

    Likely, too, for what the loader says more of: a network that smp does not have, a config without the name
    of the network, a damaged one, the file in place of its folder, a folder without its config, and the
    folder of the hub's cache in place of the model in it. Other libraries may claim those for which the name
    of a file is enough.

    Args:
        location: As the user gave it.
    """
    if has_scheme(location):
        return Confidence.NO
    path = expanded(location)
    if path.name == CONFIG and is_regular(path):
        return _likely(_is_of_smp(path))
    if not os.path.isdir(path):
        return Confidence.NO
    if is_regular(path / CONFIG):
        return _likely(_is_of_smp(path / CONFIG))
    inner = inner_models(path, *INNER)
    if inner:
        return _likely(_is_of_smp(inner[-1] / CONFIG))
    weights = any(is_regular(path / name) for name in WEIGHTS)
    return _likely(weights and _LIBRARY in _text(path / CARD))


def _likely(found: bool) -> Confidence:
    return Confidence.LIKELY if found else Confidence.NO


def _is_of_smp(file: Path) -> bool:
    try:
        config: Mapping[str, Any] = read_json(file)
    except ModelError:
        return f'"{MODEL_CLASS}"' in _text(file)
    if "architectures" in config:  # of transformers
        return False
    return MODEL_CLASS in config or config.keys() >= _ARGUMENTS


def _text(file: Path) -> str:
    """The text of a short file; empty if it has none."""
    try:
        return read_regular_text(file, most_bytes=_MOST_TEXT)
    except (OSError, ValueError):
        return ""
