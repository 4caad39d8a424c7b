"""The formats in which the evaluation servers of data sets want label maps."""

from __future__ import annotations

from collections.abc import Sequence

from segplug.dataset import LabelFormat

__all__ = ["label_format"]

# Cityscapes numbers 34 kinds of things; 19 of them are scored. https://www.cityscapes-dataset.com
_CITYSCAPES_IDS = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
# One colour for each id: unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ...
_CITYSCAPES_COLOURS = (
    (0, 0, 0),
    (0, 0, 0),
    (0, 0, 0),
    (0, 0, 0),
    (0, 0, 0),
    (111, 74, 0),
    (81, 0, 81),
    (128, 64, 128),
    (244, 35, 232),
    (250, 170, 160),
    (230, 150, 140),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (180, 165, 180),
    (150, 100, 100),
    (150, 120, 90),
    (153, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 0, 90),
    (0, 0, 110),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)


def label_format(ancestry: Sequence[str], classes: Sequence[str]) -> LabelFormat | None:
    """The format for a data set; ``None``: there is no server that wants a format of its own.

    Args:
        ancestry: Names of the data set's class and of its base classes.
        classes: Class names, in label order.
    """
    if "CityscapesDataset" in ancestry and all(name in _CITYSCAPES_IDS for name in classes):
        ids = {label: _CITYSCAPES_IDS[name] for label, name in enumerate(classes)}
        return LabelFormat(ids=ids, palette=_CITYSCAPES_COLOURS)
    if "ADE20KDataset" in ancestry:  # its label 0 is "other", which networks do not predict
        return LabelFormat(ids={label: label + 1 for label in range(len(classes))})
    if "LoveDADataset" in ancestry:  # labels as they are, in grey
        return LabelFormat()
    return None
