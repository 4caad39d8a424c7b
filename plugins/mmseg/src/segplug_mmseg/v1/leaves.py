"""The settings of ``test_dataloader.dataset``: split into single data sets, their folders checked."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from typing import Any

from segplug.errors import DatasetError
from segplug.regular_files import is_regular
from segplug_mmseg.values import is_list, type_name

__all__ = ["SETTING", "Leaf", "check_files", "is_local", "kind_of", "leaves"]

SETTING = "test_dataloader.dataset"

_REFUSED = {
    "MultiImageMixDataset": "it mixes images, and has no masks to score against",
    "ClassBalancedDataset": "it repeats images by their classes, which is for training",
    "NYUDataset": "its annotations are depths, not labels",
}


@dataclass(frozen=True)
class Leaf:
    """One data set among the test data."""

    settings: dict[str, Any]
    times: int = 1
    """How often it is repeated."""
    ignore_keys: tuple[str, ...] = ()
    """Metadata in which the data sets that are concatenated may differ."""


def kind_of(settings: Any) -> str:
    """The name of the class that settings build, without its scope; empty if they name none."""
    return type_name(settings.get("type")) if isinstance(settings, dict) else ""


def leaves(settings: Any) -> list[Leaf]:
    """Split the settings of the test data into single data sets.

    Raises:
        DatasetError: they are not those of a data set, or of one that cannot be scored.
    """
    if is_list(settings):
        return [leaf for item in settings for leaf in leaves(item)]
    name = kind_of(settings)
    if not name:
        raise DatasetError(f"{SETTING} of the config has no type", hint=f"--cfg-options {SETTING}.type=...")
    if name in _REFUSED:
        raise DatasetError(f"{SETTING} is a {name}: {_REFUSED[name]}")
    if name == "ConcatDataset":
        return _concatenated(settings)
    if name == "RepeatDataset":
        return _repeated(settings)
    return [Leaf(copy.deepcopy(settings))]


def _concatenated(settings: dict[str, Any]) -> list[Leaf]:
    inner = settings.get("datasets")
    if not is_list(inner) or not inner:
        raise DatasetError(f"{SETTING} is a ConcatDataset, which needs a list of `datasets`")
    ignored = settings.get("ignore_keys") or ()
    keys = (ignored,) if isinstance(ignored, str) else tuple(ignored)
    return [Leaf(leaf.settings, leaf.times, keys) for item in inner for leaf in leaves(item)]


def _repeated(settings: dict[str, Any]) -> list[Leaf]:
    times = settings.get("times")
    if not isinstance(times, int) or times < 1 or "dataset" not in settings:
        raise DatasetError(f"{SETTING} is a RepeatDataset, which needs a `dataset` and `times` of 1 or more")
    inner = leaves(settings["dataset"])
    return [Leaf(leaf.settings, leaf.times * times, leaf.ignore_keys) for leaf in inner]


def is_local(path: Any, backend_args: Any) -> bool:
    """Whether a path is read from the disk: neither it nor the settings name another place."""
    backend = (backend_args or {}).get("backend", "local")
    return (
        backend in ("local", "disk")
        and "://" not in str(path)
        and not (backend_args or {}).keys() - {"backend"}
    )


def check_files(settings: dict[str, Any]) -> None:
    """Prepare the settings of one data set, and check its folders.

    mmseg's classes list the files when they are built, and assert without a message.

    Args:
        settings: Those of one data set. Changed: prefixes that are ``None``, which mmengine cannot join, are
            left out.

    Raises:
        DatasetError: a path is none, or the images or the list of them are not there.
    """
    prefix = settings.get("data_prefix")
    if prefix is not None and not isinstance(prefix, dict):
        raise DatasetError(f"{SETTING}.data_prefix must be a dict, not {prefix!r}")
    if prefix is not None:
        settings["data_prefix"] = prefix = {key: path for key, path in prefix.items() if path is not None}
    paths = {f"data_prefix.{key}": path for key, path in (prefix or {}).items()}
    paths |= {key: settings[key] for key in ("data_root", "ann_file") if settings.get(key) is not None}
    for key, path in paths.items():
        if not isinstance(path, str):
            raise DatasetError(f"{SETTING}.{key} must be a path, not {path!r}")
    for key, is_there in (("data_prefix.img_path", os.path.isdir), ("ann_file", _is_list_of_files)):
        if paths.get(key):
            _check(settings, key, paths[key], is_there)


def _is_list_of_files(path: str) -> bool:
    return is_regular(path) or os.path.isdir(path)  # mmseg takes a folder for "no list"


def _check(settings: dict[str, Any], key: str, value: str, is_there: Any) -> None:
    from mmengine.utils import is_abs

    root = settings.get("data_root") or ""
    path = value if is_abs(value) else os.path.join(root, value)
    if not is_local(path, settings.get("backend_args")) or is_there(path):
        return
    wanted = "folder" if "." in key else "file"
    found = "no " + wanted if os.path.exists(path) else "not there"
    raise DatasetError(
        f"{SETTING}.{key} is the {wanted} {path}, which is {found}",
        hint=f"set --cfg-options {SETTING}.data_root=... or {SETTING}.{key}=...",
    )
