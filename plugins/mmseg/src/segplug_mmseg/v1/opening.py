"""Open the data sets of ``test_dataloader``: build mmseg's objects, and find out how they read."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from segplug.errors import DatasetError
from segplug_mmseg.compat import report_warnings
from segplug_mmseg.explain import explained
from segplug_mmseg.framework_reading import chained
from segplug_mmseg.v1.evaluator import Evaluator, read_evaluator
from segplug_mmseg.v1.leaves import SETTING, Leaf, check_files, is_local, leaves
from segplug_mmseg.v1.loaders import Reader, read_pipeline, usual_images, usual_masks
from segplug_mmseg.v1.parts import Part, Sample
from segplug_mmseg.v1.pipeline.settings import test_data
from segplug_mmseg.v1.scopes import data_set_class, default_scope

if TYPE_CHECKING:
    from segplug.progress import Reporter

__all__ = ["open_parts"]


def open_parts(config: Any, location: str, reporter: Reporter) -> tuple[list[Part], bool]:
    """The data sets of ``test_dataloader``; whether they are scored separately, which those of 1.x never are.

    Args:
        config: The mmengine ``Config``, overrides merged.
        location: The config's path, for messages.
        reporter: Gets warnings.

    Raises:
        DatasetError: there is no ``test_dataloader``, or a data set of it cannot be opened.
    """
    settings = test_data(config)
    if not settings:
        raise DatasetError(
            f"the config {location} has no {SETTING}",
            hint=f"set {SETTING}.type, {SETTING}.data_root, ... with --cfg-options, or name a folder",
        )
    if config.get("test_dataloader").get("num_batch_per_epoch"):
        raise DatasetError(
            "test_dataloader.num_batch_per_epoch leaves images out",
            hint="set --cfg-options test_dataloader.num_batch_per_epoch=None",
        )
    found = leaves(settings)
    evaluator = read_evaluator(config, reporter)
    with default_scope(config.get("default_scope")):
        parts = [_open_part(leaf, evaluator, reporter) for leaf in found]
    _check_together(parts, found)
    return parts, False


def _open_part(leaf: Leaf, evaluator: Evaluator, reporter: Reporter) -> Part:
    settings = leaf.settings
    with explained(DatasetError, f"cannot open {SETTING}"), report_warnings(reporter):
        _check_class(settings)
        pipeline = read_pipeline(settings.pop("pipeline", None))
        check_files(settings)
        dataset = _build(settings)
        samples, plain = _samples(dataset)
    part = Part(dataset, settings, samples, pipeline, evaluator, times=leaf.times)
    if not samples:
        _raise_empty(part)
    with explained(DatasetError, f"cannot open {SETTING}.pipeline"), report_warnings(reporter):
        _set_readers(part, plain=plain)
    part.has_masks = _has_masks(part, reporter)
    if part.has_masks:
        _check_labels(part, reporter)
    return part


def _check_class(settings: dict[str, Any]) -> None:
    from mmengine.dataset import BaseDataset
    from mmseg.datasets import BaseCDDataset, NYUDataset

    kind = data_set_class(settings["type"])
    if kind is None or not isinstance(kind, type):
        return  # building it says what is wrong
    if issubclass(kind, BaseCDDataset):
        raise DatasetError(
            f"{SETTING} is a {kind.__name__}: it has two images for each sample, to find changes, and "
            "segplug reads one"
        )
    if issubclass(kind, NYUDataset):
        raise DatasetError(f"{SETTING} is a {kind.__name__}: its annotations are depths, not labels")
    if not issubclass(kind, BaseDataset):
        raise DatasetError(f"{kind.__name__} does not derive from mmengine's BaseDataset")


def _build(settings: dict[str, Any]) -> Any:
    from mmseg.registry import DATASETS

    try:
        # mmengine cannot serialise a list without samples.
        plain = {"serialize_data": False} if _takes(settings["type"], "serialize_data") else {}
        dataset = DATASETS.build({**settings, **plain, "pipeline": []})
        dataset.full_init()
    except FileNotFoundError as error:
        raise DatasetError(
            f"cannot open {SETTING}: {error}",
            hint=f"set --cfg-options {SETTING}.data_root=... or {SETTING}.data_prefix.img_path=...",
        ) from error
    return dataset


def _takes(kind: Any, name: str) -> bool:
    """Whether a class takes an argument of this name, or any."""
    kind = data_set_class(kind)
    parameters = inspect.signature(kind).parameters.values() if isinstance(kind, type) else ()
    return any(parameter.name == name or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _samples(dataset: Any) -> tuple[tuple[Sample, ...], bool]:
    """The samples; whether mmseg would map the labels of all masks as the data set says."""
    found: list[tuple[str, str | None]] = []
    plain = True
    expected = tuple(getattr(dataset, key, None) for key in ("label_map", "reduce_zero_label"))
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        mask = info.get("seg_map_path")
        found.append((str(info["img_path"]), None if mask is None else str(mask)))
        plain = plain and (info.get("label_map"), info.get("reduce_zero_label")) == expected
    listed = Counter(image for image, _ in found)
    before: Counter[str] = Counter()
    samples = []
    for image, mask in found:
        samples.append(Sample(image, mask, before[image], listed[image]))
        before[image] += 1
    return tuple(samples), plain


def _raise_empty(part: Part) -> None:
    dataset = part.dataset
    if listed := getattr(dataset, "ann_file", None):
        raise DatasetError(f"{SETTING} has no images: the list {listed} is empty")
    raise DatasetError(
        f"{SETTING} has no images: nothing ends with '{getattr(dataset, 'img_suffix', '')}' in {part.folder}",
        hint=f"set {SETTING}.data_root, .data_prefix.img_path or .img_suffix with --cfg-options",
    )


def _set_readers(part: Part, *, plain: bool) -> None:
    dataset, pipeline = part.dataset, part.pipeline
    reads_itself = _overrides(dataset, "__getitem__", "prepare_data")
    if pipeline.images is not None:
        images = Reader(dataset, (pipeline.images,))
        part.images = images if reads_itself or not usual_images(pipeline.images) else None
    loader = pipeline.masks or {"type": "LoadAnnotations"}
    whole = pipeline.relabels or (reads_itself and pipeline.masks is not None)
    masks = Reader(dataset, pipeline.steps if whole else (loader,))
    if whole or not plain or not usual_masks(loader):
        part.masks = masks
    else:
        part.labels = _label_table(part)


def _overrides(dataset: Any, *methods: str) -> bool:
    """Whether the class has a method of its own in place of one of mmengine's."""
    from mmengine.dataset import BaseDataset

    return any(getattr(type(dataset), name) is not getattr(BaseDataset, name) for name in methods)


def _label_table(part: Part) -> Any:
    """The table from the values of a mask to labels: zero is reduced first, then classes are mapped."""
    from segplug.runtime.reading import label_table

    mapping = getattr(part.dataset, "label_map", None)
    if mapping and part.wide:
        known = set(part.classes)
        stored = type(part.dataset).METAINFO["classes"]
        mapping = {old: new if stored[old] in known else -1 for old, new in mapping.items()}
    return chained(
        (
            label_table(reduce_zero_label=part.reduces_zero_label, wide=part.wide),
            label_table(mapping, wide=part.wide),
        )
    )


def _has_masks(part: Part, reporter: Reporter) -> bool:
    if part.evaluator.formats_only:
        return False
    if part.pipeline.relabels and part.masks is not None:
        return part.masks.loads_masks()
    return all(sample.mask is not None for sample in part.samples) and _on_disk(part, reporter)


def _on_disk(part: Part, reporter: Reporter) -> bool:
    """Whether there is a mask at all; those that are not on the disk are taken to be there."""
    masks = [sample.mask or "" for sample in part.samples]
    backend = (part.pipeline.masks or {}).get("backend_args")
    if not is_local(masks[0], backend) or any(os.path.exists(mask) for mask in masks):
        return True
    reporter.warn(
        f"the data set has no masks: {masks[0]} is not there, nor those of the other images "
        f"({SETTING}.data_prefix.seg_map_path, {SETTING}.seg_map_suffix)"
    )
    return False


def _check_labels(part: Part, reporter: Reporter) -> None:
    """Refuse what mmseg refuses when it loads a mask, and say which label is not scored."""
    given = (part.pipeline.masks or {}).get("reduce_zero_label")
    if given is not None and bool(given) != part.reduces_zero_label:
        raise DatasetError(
            f"{SETTING}.reduce_zero_label is {part.reduces_zero_label}, and its LoadAnnotations has "
            f"reduce_zero_label={given}: mmseg loads no masks so",
            hint=f"--cfg-options {SETTING}.reduce_zero_label={bool(given)}",
        )
    own = getattr(part.dataset, "ignore_index", 255)
    if own not in (255, part.ignore_index):
        reporter.warn(
            f"{SETTING}.ignore_index is {own}, and test_evaluator ignores {part.ignore_index}: as in mmseg, "
            f"the evaluator's counts (--cfg-options test_evaluator.ignore_index={own} changes it)"
        )


def _check_together(parts: list[Part], found: list[Leaf]) -> None:
    """Data sets that are concatenated have equal metadata, as mmengine demands."""
    if not parts[1:]:
        return
    from mmengine.dataset import ConcatDataset

    keys = list(found[0].ignore_keys)
    with explained(DatasetError, f"cannot concatenate the data sets of {SETTING}"):
        ConcatDataset([part.dataset for part in parts], ignore_keys=keys)
