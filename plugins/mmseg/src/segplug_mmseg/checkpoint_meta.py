"""What the notes of a checkpoint (``meta``) say, of either generation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug_mmseg.installed import Name
from segplug_mmseg.values import colours, names

__all__ = ["Writer", "class_names", "class_palette", "writer"]

_DATASET = "dataset_meta"
"""The key of what mmengine notes of the training data; mmcv noted its parts in ``meta`` itself."""
_WRITERS: tuple[tuple[str, str, Name], ...] = (
    ("mmengine_version", "mmengine", "1.x"),
    ("mmcv_version", "mmcv", "0.x"),
    ("mmseg_version", "mmsegmentation", "0.x"),
)

_COMMIT = re.compile(r"\+?(unknown|[0-9a-f]{40})$")
"""What mmengine appends to its version: the commit of the folder in which the training was started."""


@dataclass(frozen=True)
class Writer:
    """What wrote a checkpoint."""

    library: str
    """With its version: ``mmengine 0.10.7``."""
    generation: Name
    """The mmsegmentation that is trained with it."""


def class_names(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes; empty if there are none."""
    return names(_of_dataset(meta, "classes"))


def class_palette(meta: Mapping[str, Any]) -> tuple[tuple[int, int, int], ...]:
    """Colours of the classes; empty if there are none."""
    return colours(_of_dataset(meta, "palette"))


def writer(meta: Mapping[str, Any]) -> Writer | None:
    """What wrote the checkpoint; ``None``: it does not say."""
    for key, library, generation in _WRITERS:
        if isinstance(meta.get(key), str):
            return Writer(f"{library} {_COMMIT.sub('', meta[key])}", generation)
    return None


def _of_dataset(meta: Mapping[str, Any], name: str) -> Any:
    """An entry of the training data's notes: first releases of 1.x have it in capitals, as 0.x."""
    inner = meta.get(_DATASET)
    for notes in (inner if isinstance(inner, Mapping) else {}, meta):
        for key in (name, name.upper()):
            if notes.get(key) is not None:
                return notes[key]
    return None
