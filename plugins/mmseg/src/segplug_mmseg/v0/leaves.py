"""The settings of ``data.test``: split into those of single data sets, and their folders checked."""

from __future__ import annotations

import copy
import os
from typing import Any

from segplug.errors import DatasetError
from segplug.regular_files import is_regular
from segplug_mmseg.values import is_list

__all__ = ["check_files", "leaves"]


def leaves(settings: Any) -> tuple[list[tuple[dict[str, Any], int]], bool]:
    """Split ``data.test`` into single data sets.

    Returns:
        The settings of every data set and how often it is repeated; whether they are scored separately.
    """
    if is_list(settings):
        found = [leaf for item in settings for leaf in leaves(item)[0]]
        return found, len(found) > 1
    if not isinstance(settings, dict) or "type" not in settings:
        raise DatasetError("data.test of the config has no type", hint="--cfg-options data.test.type=...")
    if settings["type"] == "RepeatDataset":
        repeats = settings.get("times")
        if not isinstance(repeats, int) or repeats < 1 or "dataset" not in settings:
            raise DatasetError(
                "data.test is a RepeatDataset, which needs a `dataset` and `times` of 1 or more"
            )
        inner, separate = leaves(settings["dataset"])
        return [(leaf, times * repeats) for leaf, times in inner], separate
    if settings["type"] == "MultiImageMixDataset":
        raise DatasetError("data.test mixes images (MultiImageMixDataset): it has no masks to score against")
    separate = bool(settings.pop("separate_eval", True))
    keys = [key for key in ("img_dir", "ann_dir", "split") if is_list(settings.get(key))]
    if not keys or keys == ["ann_dir"]:
        return [(settings, 1)], False
    counts = {len(settings[key]) for key in keys}
    if len(counts) != 1:
        raise DatasetError(f"data.test has lists of different lengths: {', '.join(keys)}")
    found = [
        ({**copy.deepcopy(settings), **{key: settings[key][number] for key in keys}}, 1)
        for number in range(counts.pop())
    ]
    return found, separate and len(found) > 1


def check_files(settings: dict[str, Any]) -> None:
    """Raise a clear error for what mmseg's classes would assert without a message."""
    for key in ("data_root", "img_dir", "ann_dir"):
        if not isinstance(settings.get(key), (str, os.PathLike, type(None))):
            raise DatasetError(f"data.test.{key} must be a path, not {settings[key]!r}")
    backend = (settings.get("file_client_args") or {}).get("backend", "disk")
    if backend != "disk":
        return
    for key, is_there in (("img_dir", os.path.isdir), ("split", is_regular), ("classes", is_regular)):
        value = settings.get(key)
        if isinstance(value, str) and "://" not in value:
            # mmcv reads the names of classes from a path as it is given.
            path = value if key == "classes" else os.path.join(settings.get("data_root") or "", value)
            if not is_there(path):
                wanted = "folder" if key == "img_dir" else "file"
                found = "no " + wanted if os.path.exists(path) else "not there"
                raise DatasetError(
                    f"data.test.{key} is the {wanted} {path}, which is {found}",
                    hint=f"set --cfg-options data.test.data_root=... or data.test.{key}=...",
                )
