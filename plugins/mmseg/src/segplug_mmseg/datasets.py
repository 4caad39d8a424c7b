"""``load_dataset mmseg``: the test data of an mmsegmentation 0.30 config, read as mmseg reads them.

The classes of mmseg list the files, and read them where the config does so in a special way. Usual files
(images with OpenCV, index masks with Pillow) are read by segplug's runtime: equal arrays, and clear errors.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.dataset import DatasetInfo
from segplug.errors import DatasetError, SegplugError
from segplug.hookspecs import hookimpl
from segplug.options import NoOptions
from segplug.providers import Confidence, DatasetSource
from segplug_mmseg import config as configs
from segplug_mmseg.label_formats import label_format
from segplug_mmseg.leaves import check_files, leaves
from segplug_mmseg.meta import colours, names, palette_of_class
from segplug_mmseg.recognise import confidence

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.progress import Reporter
    from segplug.requests import LoadDatasetRequest

__all__ = ["MmsegDataset", "provider"]


class MmsegDataset:
    """A data set of mmsegmentation 0.30, or several one after the other. Any thread may read it."""

    def __init__(self, parts: list[_Part], info: DatasetInfo) -> None:
        self._info = info
        self._samples = [(part, index) for part in parts for index in part.indices()]
        self._prefix = {id(part): f"{number}/" for number, part in enumerate(parts)} if parts[1:] else {}

    @property
    def info(self) -> DatasetInfo:
        """Constant for the data set's life."""
        return self._info

    def __len__(self) -> int:
        return len(self._samples)

    def name(self, index: int) -> str:
        """The image's path in its folder; with the part's number before it where there are several parts."""
        part, inner = self._samples[index]
        return self._prefix.get(id(part), "") + part.name(inner)

    def image_path(self, index: int) -> Path:
        """The file of the image."""
        part, inner = self._samples[index]
        return part.image_path(inner)

    def mask_path(self, index: int) -> Path | None:
        """The file of the mask; ``None``: there is none."""
        part, inner = self._samples[index]
        return part.mask_path(inner)

    def read_image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image, uint8 ``(H, W, 3)``, BGR, read as the config's ``LoadImageFromFile`` does."""
        part, inner = self._samples[index]
        return part.read_image(inner)

    def read_mask(self, index: int) -> npt.NDArray[np.uint8]:
        """The labels that mmseg scores against, uint8 ``(H, W)``."""
        part, inner = self._samples[index]
        return part.read_mask(inner)


@dataclass
class _Part:
    """One data set object of mmseg."""

    dataset: Any
    settings: dict[str, Any]
    """What it was built from; of the pipeline only the step that reads images."""
    times: int = 1
    """How often a ``RepeatDataset`` repeats it."""
    image_loader: Any = None
    """mmseg's transform that reads an image; ``None``: segplug reads it, as the default transform would."""
    reads_masks_itself: bool = False
    """Whether the class or config reads masks in a special way."""
    has_masks: bool = False
    labels: Any = field(default=None, repr=False)
    """Table from the values of a mask, as it was read, to labels; ``None``: the values are the labels."""

    def indices(self) -> Iterator[int]:
        return iter(range(len(self.dataset.img_infos) * self.times))

    def name(self, index: int) -> str:
        copy_number, index = divmod(index, len(self.dataset.img_infos))
        file = str(self.dataset.img_infos[index]["filename"])
        return f"repeat{copy_number}/{file}" if copy_number else file

    def image_path(self, index: int) -> Path:
        return Path(self.dataset.img_dir or "", self._sample(index)["filename"])

    def mask_path(self, index: int) -> Path | None:
        annotation = self._sample(index).get("ann")
        if not self.has_masks or annotation is None:
            return None
        return Path(self.dataset.ann_dir or "", annotation.get("seg_map", ""))

    def _sample(self, index: int) -> dict[str, Any]:
        sample: dict[str, Any] = self.dataset.img_infos[index % len(self.dataset.img_infos)]
        return sample

    def read_image(self, index: int) -> npt.NDArray[np.uint8]:
        from segplug.runtime.reading import read_image

        path = self.image_path(index)
        if self.image_loader is None:
            return read_image(path)
        results = {"img_info": self._sample(index), "img_prefix": self.dataset.img_dir}
        image: npt.NDArray[np.uint8] = _reading(path, "image", lambda: self.image_loader(results)["img"])
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype.name not in ("uint8", "float32"):
            raise DatasetError(f"the image {path} is read as {image.dtype} {image.shape}, not as 3 colours")
        return image.astype("uint8", copy=False)

    def read_mask(self, index: int) -> npt.NDArray[np.uint8]:
        from segplug.runtime.reading import read_mask

        path = self.mask_path(index)
        if path is None:
            raise DatasetError(f"there is no mask for {self.name(index)}")
        if self.reads_masks_itself:
            inner = index % len(self.dataset.img_infos)
            mask = _reading(path, "mask", lambda: self.dataset.get_gt_seg_map_by_idx(inner))
            if mask.ndim != 2 or mask.dtype.name != "uint8":
                raise DatasetError(f"the mask {path} is read as {mask.dtype} {mask.shape}, not as labels")
        else:
            mask = read_mask(path)
        labels: npt.NDArray[np.uint8] = mask if self.labels is None else self.labels[mask]
        return labels


def _reading(path: Path, kind: str, read: Any) -> Any:
    """Read with mmseg's code, and name the file in its errors."""
    try:
        return read()
    except FileNotFoundError as error:
        raise DatasetError(f"the {kind} {path} does not exist") from error
    except SegplugError:
        raise
    except Exception as error:
        raise DatasetError(f"the {kind} {path} cannot be read: {configs.one_line(error)}") from error


class MmsegDatasets(DatasetSource[NoOptions]):
    """Opens the test data (data.test) of an mmsegmentation 0.30 config (an mmcv 1.x file).

    Images and masks are read, and labels mapped, as mmsegmentation scores them.
    """

    hook_version = 2

    def accepts(self, location: str) -> Confidence:
        """Likely for an mmcv config with ``data`` or a base; the file is parsed, and does not run."""
        return confidence(location, "data")

    def palette(self, name: str) -> tuple[tuple[int, int, int], ...]:
        """The colours of one of mmseg's data set classes; empty if it has none of that name."""
        return palette_of_class(name)

    @hookimpl
    def load_dataset(self, request: LoadDatasetRequest[NoOptions]) -> MmsegDataset:
        """List the files of ``data.test``."""
        with configs.explained(DatasetError, f"cannot open data.test of {request.location}"):
            return self._load(request)

    def _load(self, request: LoadDatasetRequest[NoOptions]) -> MmsegDataset:
        config = configs.read_config(request.location, request.cfg_options, reporter=request.reporter)
        data = config.get("data") or {}
        if not isinstance(data, dict):
            raise DatasetError(f"data of the config {request.location} must be a dict, not {data!r}")
        test = data.get("test")
        if not test:
            raise DatasetError(
                f"the config {request.location} has no data.test",
                hint="set data.test.type, data.test.img_dir, ... with --cfg-options, or name a folder",
            )
        settings, separate = leaves(copy.deepcopy(test))
        parts = [_open(leaf, times, request.reporter) for leaf, times in settings]
        return MmsegDataset(parts, _info(parts, separate))


def _open(settings: dict[str, Any], times: int, reporter: Reporter) -> _Part:
    from mmseg.datasets import CustomDataset, build_dataset

    from segplug_mmseg.compat import report_warnings

    # mmseg only reads images here: the rest of the pipeline need not be buildable.
    settings["pipeline"] = [step for step in (settings.get("pipeline") or [])[:1] if "transforms" not in step]
    check_files(settings)
    with configs.explained(DatasetError, "cannot open data.test"), report_warnings(reporter):
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
    part = _Part(dataset, settings, times=times, has_masks=_has_masks(dataset, reporter))
    part.image_loader = _own_image_loader(dataset)
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


def _own_image_loader(dataset: Any) -> Any:
    """The loader of the config if it is not the default one; else ``None``."""
    from mmseg.datasets.pipelines import LoadImageFromFile

    transforms = dataset.pipeline.transforms
    if not transforms:
        return None
    loader = transforms[0]
    if type(loader) is not LoadImageFromFile:
        return loader
    settings = (loader.color_type, loader.imdecode_backend, loader.file_client_args)
    return None if settings == ("color", "cv2", {"backend": "disk"}) else loader


def _reads_masks_itself(dataset: Any) -> bool:
    from mmseg.datasets import CustomDataset
    from mmseg.datasets.pipelines import LoadAnnotations

    loader = dataset.gt_seg_map_loader
    if type(loader) is not LoadAnnotations or loader.imdecode_backend != "pillow":
        return True
    if loader.file_client_args != {"backend": "disk"}:
        return True
    methods = ("get_gt_seg_map_by_idx", "pre_pipeline", "get_ann_info")
    return any(getattr(type(dataset), name) is not getattr(CustomDataset, name) for name in methods)


def _label_table(part: _Part) -> Any:
    """The table from the values of a mask to the labels that are scored.

    mmseg applies the label map of custom classes and the loader's zero-label reduction when it reads a
    mask, and the data set's own zero-label reduction when it scores: after the loader's, if both are set.
    """
    from segplug.runtime.reading import label_table

    dataset = part.dataset
    tables: list[npt.NDArray[np.uint8] | None] = []
    mapping = dataset.label_map if getattr(dataset, "custom_classes", False) else None
    if part.reads_masks_itself:
        if mapping:  # -1, "none of the classes", no longer fits into a byte with numpy 2
            dataset.label_map = {old: new if new >= 0 else 255 for old, new in mapping.items()}
    else:
        tables.append(label_table(mapping, reduce_zero_label=dataset.gt_seg_map_loader.reduce_zero_label))
    tables.append(label_table(reduce_zero_label=bool(dataset.reduce_zero_label)))
    labels = None
    for table in tables:
        if table is not None:
            labels = table if labels is None else table[labels]
    return labels


def _info(parts: list[_Part], separate: bool) -> DatasetInfo:
    first = parts[0].dataset
    ignore_index = first.ignore_index
    if not isinstance(ignore_index, int):
        raise DatasetError(f"data.test.ignore_index must be a label, not {ignore_index!r}")
    classes, palette = names(first.CLASSES), colours(first.PALETTE)
    for part in parts[1:]:
        other = part.dataset
        if names(other.CLASSES) != classes or other.ignore_index != ignore_index:
            raise DatasetError("the data sets of data.test have different classes or ignore_index")
    sizes = tuple((_title(part.dataset), len(list(part.indices()))) for part in parts)
    return DatasetInfo(
        name=sizes[0][0] if len(parts) == 1 else f"{len(parts)} data sets",
        classes=classes,
        palette=palette if len(palette) == len(classes) else (),
        ignore_index=ignore_index,
        has_masks=all(part.has_masks for part in parts),
        parts=sizes if separate else (),
        label_format=label_format([kind.__name__ for kind in type(first).__mro__], classes),
        fingerprint=_fingerprint(parts),
    )


def _title(dataset: Any) -> str:
    folder = os.path.basename(os.path.normpath(dataset.img_dir)) if dataset.img_dir else ""
    return f"{type(dataset).__name__} {folder}".strip()


_LISTING = {"data_root", "img_dir", "ann_dir", "split", "test_mode"}
"""Settings that say which samples there are, not how they are read."""


def _fingerprint(parts: list[_Part]) -> str:
    """A hash of every sample's name and of all that changes how images and masks are read.

    It says nothing of the content of the files: a resumed run checks that itself.
    """
    content = [
        {
            "type": f"{type(part.dataset).__module__}.{type(part.dataset).__qualname__}",
            "reading": _own_reading(part),
            "images": os.path.abspath(part.dataset.img_dir),
            "masks": os.path.abspath(part.dataset.ann_dir) if part.has_masks else None,
            "samples": [[s["filename"], s.get("ann", {}).get("seg_map")] for s in part.dataset.img_infos],
            "times": part.times,
            "classes": list(part.dataset.CLASSES),
            "ignore": part.dataset.ignore_index,
            "reduce_zero_label": bool(part.dataset.reduce_zero_label),
            "labels": None if part.labels is None else part.labels.tolist(),
        }
        for part in parts
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=repr).encode()).hexdigest()


def _own_reading(part: _Part) -> dict[str, Any] | None:
    """The settings of classes and loaders that read in a special way; ``None``: segplug reads."""
    if part.image_loader is None and not part.reads_masks_itself:
        return None
    return {key: value for key, value in part.settings.items() if key not in _LISTING}


provider = MmsegDatasets()
