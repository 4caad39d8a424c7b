"""Who reads images and masks: segplug's runtime, or the transforms of the config's pipeline."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from segplug.errors import DatasetError
from segplug_mmseg.v1.leaves import SETTING, is_local, kind_of
from segplug_mmseg.v1.pipeline.transforms import is_theirs, transform_class
from segplug_mmseg.values import is_list

__all__ = ["Pipeline", "Reader", "read_pipeline", "usual_images", "usual_masks"]

_IMAGES = ("LoadImageFromFile", "LoadImageFromNDArray", "LoadSingleRSImageFromFile", "InferencerLoader")
_MASKS = "LoadAnnotations"
_REFUSED = {
    "LoadBiomedicalImageFromFile": "loads volumes, not images",
    "LoadBiomedicalData": "loads volumes, not images",
    "LoadBiomedicalAnnotation": "loads volumes, not masks",
    "LoadMultipleRSImageFromFile": "loads two images for each sample",
    "LoadDepthAnnotation": "loads depths, not labels",
}


@dataclass(frozen=True)
class Pipeline:
    """The transforms that read images and masks; where the others are mmseg's, they are not needed."""

    images: Any = None
    """Loads images; ``None``: nothing does."""
    masks: Any = None
    """Loads masks: one of mmseg's; ``None``: nothing does."""
    steps: tuple[Any, ...] = ()
    """All transforms."""
    relabels: bool = False
    """Whether one of the user's own may load masks, or change their labels."""
    packs_zero_label: bool = True
    """Whether evaluators are told that the zero label was reduced."""


def read_pipeline(settings: Any) -> Pipeline:
    """Find the loaders in a pipeline.

    Args:
        settings: The ``pipeline`` of a data set: a list of transforms, or nothing.

    Raises:
        DatasetError: it is no list, or reads what segplug does not.
    """
    steps = list(settings or ()) if is_list(settings or ()) else None
    if steps is None or not all(isinstance(step, dict) and kind_of(step) for step in steps):
        raise DatasetError(f"{SETTING}.pipeline must be a list of dicts with a type, not {settings!r}")
    for step in steps:
        if kind_of(step) in _REFUSED:
            raise DatasetError(
                f"{SETTING}.pipeline has {kind_of(step)}, which {_REFUSED[kind_of(step)]}: segplug "
                "reads one image and one mask of labels for each sample"
            )
    names, own = [kind_of(step) for step in steps], [not is_theirs(transform_class(step)) for step in steps]
    found = list(zip(steps, names, own, strict=True))
    images = next((step for step, name, _ in found if name in _IMAGES), None)
    if own and own[0]:
        images = steps[0]
    masks = next((step for step, name, is_own in found if name == _MASKS and not is_own), None)
    packer: dict[str, Any] = next((step for step in steps if kind_of(step) == "PackSegInputs"), {})
    return Pipeline(
        images=images,
        masks=masks,
        steps=tuple(steps),
        relabels=any(own if masks is None else own[1:]),
        packs_zero_label="reduce_zero_label" in packer.get("meta_keys", ("reduce_zero_label",)),
    )


class Reader:
    """A data set object of mmengine, with other transforms: any thread may read it.

    Args:
        dataset: The object; it is not changed.
        transforms: Settings of the transforms, in order.
    """

    def __init__(self, dataset: Any, transforms: tuple[Any, ...]) -> None:
        from mmengine.dataset import Compose
        from mmseg.registry import TRANSFORMS

        self._dataset = copy.copy(dataset)
        self._dataset.pipeline = Compose([TRANSFORMS.build(step) for step in copy.deepcopy(transforms)])
        self._dataset.test_mode = True  # else another sample, by chance, replaces one that cannot be read

    def image(self, index: int) -> Any:
        """The array that the image loader gives."""
        import numpy as np

        return np.asarray(self._dataset[index]["img"])

    def mask(self, index: int) -> Any:
        """The labels that the transforms give, ``(H, W)``, of a type for labels where they are integers."""
        import numpy as np

        results = self._dataset[index]
        if "gt_seg_map" not in results and "data_samples" not in results:
            raise DatasetError(f"{SETTING}.pipeline loads no masks")
        found = results.get("gt_seg_map")
        labels = np.asarray(results["data_samples"].gt_sem_seg.data[0] if found is None else found)
        if labels.dtype.kind not in "iu" or labels.dtype.itemsize < 2:
            return labels
        small = labels.astype(np.uint16 if labels.max(initial=0) > 255 else np.uint8)
        return small if np.array_equal(small, labels) else labels

    def loads_masks(self) -> bool:
        """Whether the transforms give a mask for the first sample; if they fail, they may."""
        try:
            results = self._dataset[0]
        except Exception:
            return True  # the error is one of reading, and comes when the mask is read
        return "gt_seg_map" in results or hasattr(results.get("data_samples"), "gt_sem_seg")


def usual_images(settings: Any) -> bool:
    """Whether a loader reads images from the disk as mmcv's own does, so that the runtime can do it."""
    return (
        kind_of(settings) == "LoadImageFromFile"
        and is_theirs(transform_class(settings))
        and _from_disk(settings)
    )


def usual_masks(settings: Any) -> bool:
    """Whether a loader reads masks from the disk with Pillow, so that the runtime can do it."""
    backend = settings.get("imdecode_backend", "pillow")
    return bool(backend == "pillow" and _from_disk(settings))


def _from_disk(settings: Any) -> bool:
    return all(is_local("", settings.get(key)) for key in ("backend_args", "file_client_args"))
