"""Data sets: folders and lists of files under other names, labels reduced in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segplug_mmseg.v1.upgrade.notes import Notes
from segplug_mmseg.v1.upgrade.plain import as_list, plain, without
from segplug_mmseg.v1.upgrade.transforms import backend_args

__all__ = ["leaves", "reduces_zero", "upgrade_dataset"]

_REDUCING = (
    "ADE20KDataset",
    "ISPRSDataset",
    "LoveDADataset",
    "PascalContextDataset59",
    "PotsdamDataset",
)
"""Classes that leave out the label 0, in both generations."""

_KNOWN = (
    *_REDUCING,
    *("COCOStuffDataset", "ChaseDB1Dataset", "CityscapesDataset", "DRIVEDataset", "DarkZurichDataset"),
    *("HRFDataset", "NightDrivingDataset", "PascalContextDataset", "PascalVOCDataset", "STAREDataset"),
    "iSAIDDataset",
)
"""mmseg's classes with classes of their own, equal in both generations."""

_CUSTOM = "CustomDataset"
_FACES = "FaceOccludedDataset"
_FACE_META = {"classes": ("background", "face"), "palette": [[0, 0, 0], [128, 0, 0]]}
_OLD = ("img_dir", "ann_dir", "split", "classes", "palette", "gt_seg_map_loader_cfg", "file_client_args")

Pipeline = Callable[[Mapping[str, Any]], Any]
"""Gives the pipeline of 1.x for the settings of a single data set of 0.x."""


def leaves(settings: Any) -> list[dict[str, Any]]:
    """The single data sets in the settings of ``data.train``, ``data.val`` or ``data.test``."""
    if isinstance(settings, (list, tuple)):
        return [leaf for item in settings for leaf in leaves(item)]
    if not isinstance(settings, dict):
        return []
    if isinstance(settings.get("datasets"), (list, tuple)):
        return leaves(settings["datasets"])
    if isinstance(settings.get("dataset"), (dict, list, tuple)):
        return leaves(settings["dataset"])
    return _separated(settings)


def reduces_zero(settings: Mapping[str, Any]) -> bool:
    """Whether a single data set of 0.x leaves out the label 0 when it is scored."""
    return settings.get("type") in _REDUCING or bool(settings.get("reduce_zero_label", False))


def upgrade_dataset(settings: Any, pipeline: Pipeline, reduces: Callable[[Any], bool], notes: Notes) -> Any:
    """The settings of ``data.train``, ``data.val`` or ``data.test`` for 1.x.

    Args:
        settings: A data set, a list of them, or one that holds others.
        pipeline: Gives the pipeline of a single data set.
        reduces: Whether a single data set leaves out the label 0.
        notes: Gets what 1.x does otherwise.
    """

    def upgraded(inner: Any) -> Any:
        return upgrade_dataset(inner, pipeline, reduces, notes)

    if isinstance(settings, (list, tuple)):
        return {"type": "ConcatDataset", "datasets": [upgraded(item) for item in settings]}
    if not isinstance(settings, dict) or "type" not in settings:
        notes.refuse(f"a data set of `data` is {settings!r}, not settings with a type")
    kind = settings["type"]
    if kind == "ConcatDataset":
        rest = without(settings, "separate_eval")
        return {**rest, "datasets": [upgraded(item) for item in as_list(settings.get("datasets"))]}
    if isinstance(settings.get("dataset"), (dict, list, tuple)):
        if "skip_type_keys" in settings:
            notes.on_training(
                f"{kind}.skip_type_keys is as it was: its transforms may have other names in 1.x"
            )
        found = {**settings, "dataset": upgraded(settings["dataset"])}
        return {**found, "pipeline": pipeline(settings)} if "pipeline" in settings else found
    parts = _separated(settings)
    if len(parts) > 1:
        return {
            "type": "ConcatDataset",
            "datasets": [_single(one, pipeline, reduces, notes) for one in parts],
        }
    return _single(parts[0], pipeline, reduces, notes)


def _separated(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """One data set for each folder or list of files."""
    listed = {
        key: list(settings[key])
        for key in ("img_dir", "ann_dir", "split")
        if isinstance(settings.get(key), (list, tuple))
    }
    if not listed:
        return [settings]
    settings = without(settings, "separate_eval")
    count = max(map(len, listed.values()))
    return [
        {**settings, **{key: value[min(index, len(value) - 1)] for key, value in listed.items()}}
        for index in range(count)
    ]


def _single(
    settings: dict[str, Any], pipeline: Pipeline, reduces: Callable[[Any], bool], notes: Notes
) -> dict[str, Any]:
    kind, zero = settings["type"], reduces(settings)
    found = {**backend_args(settings), "type": _class(kind)}
    prefix = {"img_path": settings.get("img_dir", "")}
    if settings.get("ann_dir") is not None:
        prefix["seg_map_path"] = settings["ann_dir"]
    meta = _metainfo(settings, zero, notes)
    found = without(found, *_OLD, "pipeline", "reduce_zero_label")
    found["data_prefix"] = prefix
    if settings.get("split") is not None:
        found["ann_file"] = settings["split"]
    if kind == _FACES:
        found = {"img_suffix": ".jpg", "seg_map_suffix": ".png", **found}
    if meta:
        found["metainfo"] = meta
    if zero != (kind in _REDUCING):
        found["reduce_zero_label"] = zero
    if kind not in (*_KNOWN, _CUSTOM, _FACES):
        notes.on_prediction(f"the data set class {kind} is not mmsegmentation's: it must be one for 1.x")
    return {"type": found.pop("type"), **found, "pipeline": pipeline(settings)}


def _class(kind: Any) -> Any:
    return "BaseSegDataset" if kind in (_CUSTOM, _FACES) else kind


def _metainfo(settings: Mapping[str, Any], zero: bool, notes: Notes) -> dict[str, Any]:
    kind, classes, palette = settings["type"], settings.get("classes"), settings.get("palette")
    if classes is None:  # 0.x does not look at the palette then
        return dict(_FACE_META) if kind == _FACES else {}
    if kind in _KNOWN:
        if zero:
            notes.on_prediction(
                f"{kind} with `classes` of its own: 1.x reduces labels before it chooses classes, 0.x after"
            )
        return {"classes": classes}  # the palette is that of the class
    return {"classes": classes} if palette is None else {"classes": classes, "palette": plain(palette)}
