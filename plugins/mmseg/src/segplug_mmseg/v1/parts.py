"""One data set of mmsegmentation 1.x: its samples, and how their images and masks are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from segplug.dataset import LabelFormat
from segplug.errors import DatasetError
from segplug_mmseg.framework_reading import BYTE_LABELS, WIDE_IGNORED, image_of, labels_of, read_with
from segplug_mmseg.label_formats import label_format
from segplug_mmseg.v1.evaluator import Evaluator
from segplug_mmseg.v1.leaves import SETTING
from segplug_mmseg.v1.loaders import Pipeline, Reader
from segplug_mmseg.values import colours, names

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Decoding

__all__ = ["Part", "Sample"]

_DEFAULT_IGNORED = 255


@dataclass(frozen=True)
class Sample:
    """The paths of one sample."""

    image: str
    mask: str | None
    number: int = 0
    """How often the image was listed before: a list may repeat one, and mmseg scores it again."""
    listed: int = 1
    """How often it is listed."""


@dataclass
class Part:
    """One data set object of mmengine."""

    dataset: Any
    settings: dict[str, Any]
    """What it was built from, without the pipeline."""
    samples: tuple[Sample, ...]
    pipeline: Pipeline
    evaluator: Evaluator
    times: int = 1
    """How often a ``RepeatDataset`` repeats it."""
    images: Reader | None = None
    """Reads images in the config's own way, whatever decoding the model wants; ``None``: nothing special."""
    masks: Reader | None = None
    """Reads masks in the config's own way; ``None``: nothing special."""
    has_masks: bool = False
    labels: Any = field(default=None, repr=False)
    """Table from the values of a mask, as it was read, to labels; ``None``: the values are the labels."""

    setting: ClassVar[str] = SETTING

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in label order."""
        return names(self.dataset.metainfo.get("classes"))

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Their colours: those of the class or the config, else mmseg's random ones."""
        return colours(self.dataset.metainfo.get("palette"))

    @property
    def title(self) -> str:
        """The name of the class and of the images' folder."""
        return f"{type(self.dataset).__name__} {os.path.basename(self.folder)}".strip()

    @property
    def folder(self) -> str:
        """The folder of the images; empty if the data set says none."""
        prefix = (getattr(self.dataset, "data_prefix", None) or {}).get("img_path") or ""
        return os.path.normpath(prefix) if prefix else ""

    @property
    def label_format(self) -> LabelFormat | None:
        """As mmseg's evaluators write label maps: Cityscapes' ids, one more where zero was reduced.

        A data set whose evaluator writes none has the format of its evaluation server.
        """
        ancestry = [kind.__name__ for kind in type(self.dataset).__mro__]
        if self.evaluator.writes_cityscapes:
            return label_format(["CityscapesDataset"], self.classes)
        if self.reduces_zero_label and self.pipeline.packs_zero_label:
            return LabelFormat(ids={label: label + 1 for label in range(len(self.classes))})
        if self.evaluator.writes:
            return LabelFormat()
        return label_format(ancestry, self.classes) if "CityscapesDataset" in ancestry else None

    @property
    def reduces_zero_label(self) -> bool:
        """Whether the data set takes the zero label for the ignored one."""
        return bool(getattr(self.dataset, "reduce_zero_label", False))

    @property
    def masks_hint(self) -> str:
        """Without masks: what to set to get them."""
        if self.evaluator.formats_only:
            return "set --cfg-options test_evaluator.format_only=False"
        return f"set {SETTING}.data_root or {SETTING}.data_prefix.seg_map_path with --cfg-options"

    @property
    def wide(self) -> bool:
        """Whether there are more classes than a byte has values."""
        return len(self.classes) > BYTE_LABELS

    @property
    def ignore_index(self) -> Any:
        """The label that is not scored: the evaluator's, which alone counts in 1.x, else the data set's.

        Where labels are wider than a byte, mmseg's 255 is a class.
        """
        index = self.evaluator.ignore_index
        if index is None:
            index = getattr(self.dataset, "ignore_index", _DEFAULT_IGNORED)
        return WIDE_IGNORED if self.wide and index == BYTE_LABELS - 1 else index

    @property
    def nan_to_num(self) -> float | None:
        """The score of a class that does not occur: the evaluator's."""
        return self.evaluator.nan_to_num

    @property
    def beta(self) -> float:
        """The weight of recall in the F-score: the evaluator's."""
        return self.evaluator.beta

    def indices(self) -> Iterator[int]:
        """The indices of the samples, repeated ones included."""
        return iter(range(len(self.samples) * self.times))

    def name(self, index: int) -> str:
        """The image's path in its folder."""
        sample = self._sample(index)
        copy_number = index // len(self.samples) * sample.listed + sample.number
        image, folder = sample.image, self.folder or "."
        inside = os.path.relpath(image, folder) if "://" not in image else image.removeprefix(folder)
        file = os.path.basename(image) if inside.startswith("..") else inside.lstrip("/")
        return f"repeat{copy_number}/{file}" if copy_number else file

    def image_path(self, index: int) -> Path:
        """The file of the image."""
        return Path(self._sample(index).image)

    def mask_path(self, index: int) -> Path | None:
        """The file of the mask; ``None``: there is none."""
        mask = self._sample(index).mask
        return Path(mask) if self.has_masks and mask is not None else None

    def _sample(self, index: int) -> Sample:
        return self.samples[self._inner(index)]

    def _inner(self, index: int) -> int:
        return index % len(self.samples)

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        """The image, ``(H, W, C)``, of the type that its loader gives, without a mask of nodata pixels."""
        import numpy as np

        from segplug.runtime.reading import read_image

        path = self.image_path(index)
        if self.images is None:
            return np.asarray(read_image(path, decoding))  # mmseg knows no nodata value
        reader = self.images
        return image_of(read_with(lambda: reader.image(self._inner(index)), path, "image"), path)

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        """The labels of mmseg's ``gt_sem_seg``, uint8 ``(H, W)``; uint16 where there are more than 256."""
        from segplug.runtime.reading import read_mask

        if not self.has_masks:
            raise DatasetError(f"there is no mask for {self.name(index)}")
        path = self.mask_path(index) or self.image_path(index)
        if self.masks is None:
            mask = read_mask(path, wide=self.wide, nodata=False)  # mmseg knows no nodata value
            labels: npt.NDArray[Any] = mask if self.labels is None else self.labels[mask]
            return labels
        reader = self.masks
        found = read_with(lambda: reader.mask(self._inner(index)), path, "mask")
        return labels_of(found, path, classes=len(self.classes), setting=f"the loader of masks in {SETTING}")

    def describe(self) -> dict[str, Any]:
        """All that changes how images and masks are read, and every sample's name; for a fingerprint."""
        dataset, pipeline = self.dataset, self.pipeline
        special = self.images is not None or self.masks is not None
        return {
            "type": f"{type(dataset).__module__}.{type(dataset).__qualname__}",
            "pipeline": [pipeline.images, pipeline.masks, pipeline.steps if pipeline.relabels else None],
            "reading": {key: self.settings[key] for key in self.settings if special and key not in _LISTING},
            "samples": [[os.path.abspath(sample.image), self._mask_text(sample)] for sample in self.samples],
            "times": self.times,
            "classes": list(self.classes),
            "ignore": self.ignore_index,
            "reduce_zero_label": self.reduces_zero_label,
            "labels": None if self.labels is None else self.labels.tolist(),
        }

    def _mask_text(self, sample: Sample) -> str | None:
        return os.path.abspath(sample.mask) if self.has_masks and sample.mask is not None else None


_LISTING = {"data_root", "data_prefix", "ann_file", "indices", "test_mode", "lazy_init", "serialize_data"}
"""Settings that say which samples there are, not how they are read."""
