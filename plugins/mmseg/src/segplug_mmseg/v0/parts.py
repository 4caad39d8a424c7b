"""One data set of mmseg: its samples, and how their images and masks are read."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from segplug.errors import DatasetError
from segplug_mmseg.explain import explained
from segplug_mmseg.framework_reading import (
    BYTE_LABELS,
    WIDE_IGNORED,
    chained,
    image_of,
    labels_of,
    read_with,
)
from segplug_mmseg.label_formats import label_format
from segplug_mmseg.v0.leaves import check_files, leaves
from segplug_mmseg.values import colours, names

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.dataset import LabelFormat
    from segplug.preprocessing import Decoding
    from segplug.progress import Reporter

__all__ = ["Part", "open_part", "open_parts"]


@dataclass
class Part:
    """One data set object of mmseg."""

    dataset: Any
    settings: dict[str, Any]
    """What it was built from; of the pipeline only the transform that loads images."""
    times: int = 1
    """How often a ``RepeatDataset`` repeats it."""
    reads_images_itself: bool = False
    """Whether the class or config reads images in a special way, whatever decoding the model wants."""
    reads_masks_itself: bool = False
    """Whether the class or config reads masks in a special way."""
    has_masks: bool = False
    labels: Any = field(default=None, repr=False)
    """Table from the values of a mask, as it was read, to labels; ``None``: the values are the labels."""

    setting: ClassVar[str] = "data.test"
    masks_hint: ClassVar[str] = "set data.test.data_root or data.test.ann_dir with --cfg-options"
    nan_to_num: ClassVar[float | None] = None
    beta: ClassVar[float] = 1.0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in label order."""
        return names(self.dataset.CLASSES)

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Their colours, if the class or the config has some."""
        return colours(self.dataset.PALETTE)

    @property
    def reduces_zero_label(self) -> bool:
        """Whether the loader of masks, or the scoring, takes the zero label for the ignored one."""
        loader = getattr(self.dataset, "gt_seg_map_loader", None)
        return bool(self.dataset.reduce_zero_label or getattr(loader, "reduce_zero_label", False))

    @property
    def title(self) -> str:
        """The name of the class and of the images' folder."""
        folder = os.path.basename(os.path.normpath(self.dataset.img_dir)) if self.dataset.img_dir else ""
        return f"{type(self.dataset).__name__} {folder}".strip()

    @property
    def label_format(self) -> LabelFormat | None:
        """The format in which the data set's evaluation server wants label maps."""
        return label_format([kind.__name__ for kind in type(self.dataset).__mro__], self.classes)

    @property
    def wide(self) -> bool:
        """Whether there are more classes than a byte has values."""
        return len(self.dataset.CLASSES) > BYTE_LABELS

    @property
    def ignore_index(self) -> Any:
        """The label that is not scored. Where labels are wider than a byte, mmseg's 255 is a class."""
        index = self.dataset.ignore_index
        return WIDE_IGNORED if self.wide and index == BYTE_LABELS - 1 else index

    def indices(self) -> Iterator[int]:
        """The indices of the samples, repeated ones included."""
        return iter(range(len(self.dataset.img_infos) * self.times))

    def name(self, index: int) -> str:
        """The image's path in its folder."""
        copy_number, index = divmod(index, len(self.dataset.img_infos))
        file = str(self.dataset.img_infos[index]["filename"])
        return f"repeat{copy_number}/{file}" if copy_number else file

    def image_path(self, index: int) -> Path:
        """The file of the image."""
        return Path(self.dataset.img_dir or "", self._sample(index)["filename"])

    def mask_path(self, index: int) -> Path | None:
        """The file of the mask; ``None``: there is none."""
        annotation = self._sample(index).get("ann")
        if not self.has_masks or annotation is None:
            return None
        return Path(self.dataset.ann_dir or "", annotation.get("seg_map", ""))

    def _sample(self, index: int) -> dict[str, Any]:
        sample: dict[str, Any] = self.dataset.img_infos[self._inner(index)]
        return sample

    def _inner(self, index: int) -> int:
        return index % len(self.dataset.img_infos)

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        """The image, ``(H, W, C)``, of the type that its loader gives, without a mask of nodata pixels."""
        import numpy as np

        from segplug.runtime.reading import read_image

        path = self.image_path(index)
        if not self.reads_images_itself:
            return np.asarray(read_image(path, decoding))  # mmseg knows no nodata value
        # The pipeline of the object ends after the loader.
        found = read_with(lambda: np.asarray(self.dataset[self._inner(index)]["img"]), path, "image")
        return image_of(found, path)

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        """The labels that mmseg scores against, uint8 ``(H, W)``; uint16 where there are more than 256."""
        from segplug.runtime.reading import read_mask

        path = self.mask_path(index)
        if path is None:
            raise DatasetError(f"there is no mask for {self.name(index)}")
        if self.reads_masks_itself:
            mask = labels_of(
                read_with(lambda: self.dataset.get_gt_seg_map_by_idx(self._inner(index)), path, "mask"),
                path,
                classes=len(self.dataset.CLASSES),
                setting="data.test.gt_seg_map_loader_cfg",
            )
        else:
            mask = read_mask(path, wide=self.wide, nodata=False)  # mmseg knows no nodata value
        labels: npt.NDArray[Any] = mask if self.labels is None else self.labels[mask]
        return labels

    def describe(self) -> dict[str, Any]:
        """All that changes how images and masks are read, and every sample's name; for a fingerprint."""
        dataset = self.dataset
        special = self.reads_images_itself or self.reads_masks_itself
        return {
            "type": f"{type(dataset).__module__}.{type(dataset).__qualname__}",
            "loader": self.settings["pipeline"],
            "reading": {key: self.settings[key] for key in self.settings if special and key not in _LISTING},
            "images": os.path.abspath(dataset.img_dir),
            "masks": os.path.abspath(dataset.ann_dir) if self.has_masks else None,
            "samples": [[s["filename"], s.get("ann", {}).get("seg_map")] for s in dataset.img_infos],
            "times": self.times,
            "classes": list(dataset.CLASSES),
            "ignore": self.ignore_index,
            "reduce_zero_label": bool(dataset.reduce_zero_label),
            "labels": None if self.labels is None else self.labels.tolist(),
        }


_LISTING = {"data_root", "img_dir", "ann_dir", "split", "test_mode"}
"""Settings that say which samples there are, not how they are read."""


def open_parts(config: Any, location: str, reporter: Reporter) -> tuple[list[Part], bool]:
    """The data sets of ``data.test``; whether they are scored separately.

    Args:
        config: The mmcv ``Config``, overrides merged.
        location: The config's path, for messages.
        reporter: Gets warnings.

    Raises:
        DatasetError: there is no ``data.test``, or a data set of it cannot be opened.
    """
    data = config.get("data") or {}
    if not isinstance(data, dict):
        raise DatasetError(f"data of the config {location} must be a dict, not {data!r}")
    test = data.get("test")
    if not test:
        raise DatasetError(
            f"the config {location} has no data.test",
            hint="set data.test.type, data.test.img_dir, ... with --cfg-options, or name a folder",
        )
    settings, separate = leaves(copy.deepcopy(test))
    return [open_part(leaf, times, reporter) for leaf, times in settings], separate


def open_part(settings: dict[str, Any], times: int, reporter: Reporter) -> Part:
    """Build the data set object of mmseg for the settings, and find out how it reads.

    Args:
        settings: Those of one data set. Changed: of its pipeline the loader remains.
        times: How often it is repeated.
        reporter: Gets warnings.

    Raises:
        DatasetError: it cannot be built, or has no images.
    """
    from mmseg.datasets import CustomDataset, build_dataset

    from segplug_mmseg.compat import report_warnings
    from segplug_mmseg.v0.pipeline import split_loader

    # mmseg only reads images here: the rest of the pipeline need not be buildable.
    loader, _ = split_loader(settings.get("pipeline") or [])
    settings["pipeline"] = [] if loader is None else [loader]
    check_files(settings)
    with explained(DatasetError, "cannot open data.test"), report_warnings(reporter):
        dataset = build_dataset(settings, {"test_mode": True})
    if not isinstance(dataset, CustomDataset):
        raise DatasetError(f"{type(dataset).__name__} does not derive from mmseg's CustomDataset")
    if dataset.split and all(sample["filename"] == dataset.img_suffix for sample in dataset.img_infos):
        raise DatasetError(f"data.test has no images: the split file {dataset.split} is empty")
    if not dataset.img_infos:
        raise DatasetError(
            f"data.test has no images: nothing ends with '{dataset.img_suffix}' in {dataset.img_dir}",
            hint="set data.test.data_root, data.test.img_dir or data.test.img_suffix with --cfg-options",
        )
    if not dataset.split:
        dataset.img_infos.sort(
            key=lambda sample: str(sample["filename"])
        )  # iSAID leaves the order to the file system
    part = Part(dataset, settings, times=times, has_masks=_has_masks(dataset, reporter))
    part.reads_images_itself = _reads_images_itself(dataset)
    part.reads_masks_itself = _reads_masks_itself(dataset)
    part.labels = _label_table(part)
    return part


def _has_masks(dataset: Any, reporter: Reporter) -> bool:
    folder = dataset.ann_dir
    if not folder or any("ann" not in sample for sample in dataset.img_infos):
        return False
    on_disk = (dataset.file_client_args or {}).get("backend", "disk") == "disk" and "://" not in folder
    if on_disk and not os.path.isdir(folder):
        reporter.warn(f"the data set has no masks: its folder {folder} is not there (data.test.ann_dir)")
        return False
    return True


def _reads_images_itself(dataset: Any) -> bool:
    from mmseg.datasets.pipelines import LoadImageFromFile

    if _overrides(dataset, "__getitem__", "prepare_test_img", "pre_pipeline"):
        return bool(dataset.pipeline.transforms)
    loaders = dataset.pipeline.transforms
    return any(
        type(loader) is not LoadImageFromFile or loader.file_client_args != {"backend": "disk"}
        for loader in loaders
    )


def _reads_masks_itself(dataset: Any) -> bool:
    from mmseg.datasets.pipelines import LoadAnnotations

    loader = dataset.gt_seg_map_loader
    if type(loader) is not LoadAnnotations or loader.imdecode_backend != "pillow":
        return True
    if loader.file_client_args != {"backend": "disk"}:
        return True
    return _overrides(dataset, "get_gt_seg_map_by_idx", "pre_pipeline", "get_ann_info")


def _overrides(dataset: Any, *methods: str) -> bool:
    """Whether the class has a method of its own in place of one of mmseg's."""
    from mmseg.datasets import CustomDataset

    return any(getattr(type(dataset), name) is not getattr(CustomDataset, name) for name in methods)


def _label_table(part: Part) -> Any:
    """The table from the values of a mask to the labels that are scored.

    mmseg applies the label map of custom classes and the loader's zero-label reduction when it reads a
    mask, and the data set's own zero-label reduction when it scores: after the loader's, if both are set.
    """
    from segplug.runtime.reading import label_table

    dataset = part.dataset
    tables: list[npt.NDArray[Any] | None] = []
    mapping = dataset.label_map if getattr(dataset, "custom_classes", False) else None
    if part.reads_masks_itself:
        if mapping:  # -1, "none of the classes", no longer fits into a byte with numpy 2
            dataset.label_map = {old: new if new >= 0 else 255 for old, new in mapping.items()}
    else:
        reduces = dataset.gt_seg_map_loader.reduce_zero_label
        tables.append(label_table(mapping, reduce_zero_label=reduces, wide=part.wide))
    tables.append(label_table(reduce_zero_label=bool(dataset.reduce_zero_label), wide=part.wide))
    return chained(tables)
