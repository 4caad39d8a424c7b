"""``data``: three data loaders, and the evaluators of two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug_mmseg.v1.upgrade.datasets import leaves, reduces_zero, upgrade_dataset
from segplug_mmseg.v1.upgrade.images import Images
from segplug_mmseg.v1.upgrade.notes import Notes
from segplug_mmseg.v1.upgrade.plain import as_list, plain, without
from segplug_mmseg.v1.upgrade.testing import TestPipeline, upgrade_test_pipeline
from segplug_mmseg.v1.upgrade.training import TrainPipeline, upgrade_train_pipeline

__all__ = ["Data", "evaluator", "test_data", "train_data"]

_IGNORED = 255
_METRICS = ("mIoU", "mDice", "mFscore")
_NOT_OF_A_LOADER = ("type", "samples_per_gpu", "workers_per_gpu", "shuffle", "dataset")


@dataclass(frozen=True)
class Data:
    """One of the three loaders, and what its pipeline says."""

    loader: dict[str, Any]
    images: Images | None
    pipeline: list[Any] | None
    tta: list[Any] | None = None


def train_data(data: Mapping[str, Any], notes: Notes, *, by_epoch: bool) -> Data | None:
    """``train_dataloader`` of ``data.train``; ``None``: there is none."""
    settings = data.get("train")
    if not settings:
        return None
    found: list[TrainPipeline] = []

    def pipeline(one: Mapping[str, Any]) -> Any:
        found.append(upgrade_train_pipeline(as_list(one.get("pipeline")), notes))
        return found[-1].steps

    def reduces(one: Mapping[str, Any]) -> bool:
        loads = upgrade_train_pipeline(as_list(one.get("pipeline")), Notes("")).reduce_zero_label
        return reduces_zero(one) if loads is None else loads

    dataset = upgrade_dataset(settings, pipeline, reduces, notes)
    sampler = {"type": "DefaultSampler" if by_epoch else "InfiniteSampler", "shuffle": True}
    loader = _loader(data, "train", {}, sampler, dataset, notes)
    shown = next((one for one in found if one.images.normalize), found[-1] if found else None)
    return Data(loader, shown.images if shown else None, found[0].steps if found else None)


def test_data(data: Mapping[str, Any], split: str, shared: list[Any], notes: Notes) -> Data | None:
    """``val_dataloader`` or ``test_dataloader``; ``None``: there is no such data.

    Args:
        data: ``data`` of the config.
        split: ``val`` or ``test``.
        shared: ``test_pipeline`` of the config, for a data set that has none.
        notes: Gets what 1.x does otherwise.
    """
    settings = data.get(split)
    if not settings:
        return None
    found: list[tuple[TestPipeline, Mapping[str, Any] | None]] = []

    def pipeline(one: Mapping[str, Any]) -> Any:
        translated = upgrade_test_pipeline(as_list(one.get("pipeline")) or shared, notes)
        masks = None if one.get("ann_dir") is None else dict(one.get("gt_seg_map_loader_cfg") or {})
        found.append((translated, masks))
        return translated.flat(masks)

    dataset = upgrade_dataset(settings, pipeline, lambda one: _scored_without_zero(one, notes), notes)
    if any(one.images != found[0][0].images for one, _ in found):
        notes.refuse(f"the data sets of data.{split} normalise or pad images differently")
    parts = leaves(settings)
    if len(parts) > 1 and _scored_apart(settings):
        notes.on_prediction(f"the data sets of data.{split} are scored together, 0.x scores each")
    loader = _loader(
        data, split, {"samples_per_gpu": 1}, {"type": "DefaultSampler", "shuffle": False}, dataset, notes
    )
    first, masks = found[0]
    return Data(loader, first.images, first.flat(masks), first.tta(masks))


def _scored_apart(settings: Any) -> bool:
    return not (isinstance(settings, dict) and settings.get("separate_eval") is False)


def _scored_without_zero(settings: Mapping[str, Any], notes: Notes) -> bool:
    read = bool((settings.get("gt_seg_map_loader_cfg") or {}).get("reduce_zero_label"))
    if read and reduces_zero(settings):
        notes.refuse("a data set reduces its labels twice: by gt_seg_map_loader_cfg and by reduce_zero_label")
    return read or reduces_zero(settings)


def _loader(
    data: Mapping[str, Any],
    split: str,
    defaults: Mapping[str, Any],
    sampler: dict[str, Any],
    dataset: Any,
    notes: Notes,
) -> dict[str, Any]:
    shared = without(data, "train", "val", "test", "train_dataloader", "val_dataloader", "test_dataloader")
    settings = {**shared, **defaults, **(data.get(f"{split}_dataloader") or {})}
    workers = int(settings.get("workers_per_gpu", 0) or 0)
    if "shuffle" in settings and split == "train":
        sampler = {**sampler, "shuffle": bool(settings["shuffle"])}
    rest = without(settings, *_NOT_OF_A_LOADER)
    return {
        "batch_size": settings.get("samples_per_gpu", 1),
        "num_workers": workers,
        **{"persistent_workers": True, **rest, **({} if workers else {"persistent_workers": False})},
        "sampler": sampler,
        "dataset": plain(dataset),
    }


def evaluator(evaluation: Mapping[str, Any], settings: Any, split: str, notes: Notes) -> dict[str, Any]:
    """``val_evaluator`` or ``test_evaluator``: the metrics of ``evaluation``.

    Args:
        evaluation: ``evaluation`` of the config.
        settings: ``data.val`` or ``data.test``.
        split: Its name.
        notes: Refuses data sets that ignore different labels.
    """
    parts = leaves(settings)
    given = [str(name) for name in as_list(evaluation.get("metric", "mIoU"))]
    for name in given:
        if name not in _METRICS:
            notes.on_prediction(f"the metric {name} is none of IoUMetric's: it is left out")
    known = [name for name in given if name in _METRICS]
    found: dict[str, Any] = {"type": "IoUMetric", "iou_metrics": known or ["mIoU"]}
    ignored = {one.get("ignore_index", _IGNORED) for one in parts}
    if len(ignored) > 1:
        notes.refuse(f"the data sets of data.{split} have different ignore_index")
    if ignored and ignored != {_IGNORED}:
        found["ignore_index"] = ignored.pop()
    if any(one.get("ann_dir") is None for one in parts):
        notes.on_prediction(f"data.{split} has no ann_dir: 1.x formats its predictions, and scores none")
        found |= {"format_only": True, "output_dir": "work_dirs/format_results"}
    return found
