"""How sure the source is that a location is a model of transformers: its JSON is read as data."""

from __future__ import annotations

import os
from pathlib import Path

from segplug.errors import ModelError
from segplug.locations import has_scheme
from segplug.model_folder import CONFIG, inner_models, read_json
from segplug.providers import Confidence
from segplug.regular_files import expanded, is_regular
from segplug_transformers.architectures import ARCHITECTURES
from segplug_transformers.folder import ADAPTER, INNER, WEIGHTS

__all__ = ["confidence"]

_PROCESSOR = "preprocessor_config.json"
_KEYS = ("architectures", "model_type")
"""What tells a config of transformers from the ``config.json`` of another library."""


def confidence(location: str) -> Confidence:
    """How sure it is that ``location`` is a folder that ``save_pretrained`` of transformers wrote.

    Likely for a segmentation model. Possible for what the loader says more of: another model, a config that
    cannot be read or is not there, the file in place of its folder, or a folder of a Trainer or of the hub's
    cache in place of a model in it.

    Args:
        location: As the user gave it.
    """
    if has_scheme(location):
        return Confidence.NO
    path = expanded(location)
    if path.name == CONFIG and is_regular(path):
        return min(_of_config(path.parent), Confidence.POSSIBLE)
    if not os.path.isdir(path):
        return Confidence.NO
    if is_regular(path / CONFIG):
        return _of_config(path)
    rest = any(is_regular(path / name) for name in (*WEIGHTS, ADAPTER, _PROCESSOR))
    return Confidence.POSSIBLE if rest or inner_models(path, *INNER) else Confidence.NO


def _of_config(folder: Path) -> Confidence:
    try:
        config = read_json(folder / CONFIG)
    except ModelError:
        return Confidence.POSSIBLE
    if not any(key in config for key in _KEYS):
        return Confidence.POSSIBLE if is_regular(folder / _PROCESSOR) else Confidence.NO
    names = config.get("architectures")
    known = isinstance(names, list) and names[:1] and isinstance(names[0], str) and names[0] in ARCHITECTURES
    return Confidence.LIKELY if known else Confidence.POSSIBLE
