"""What torchvision says of the weights that it publishes: how images are prepared, and the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from segplug.errors import ModelError
from segplug.palette import named_palette
from segplug.preprocessing import Normalize, Resize, Scale, Step

__all__ = ["Preset", "read_preset"]

Filter = Literal["bilinear", "bicubic"]

_FILTERS: tuple[Filter, ...] = ("bilinear", "bicubic")
"""Those that torchvision antialiases. Its ``nearest`` is not segplug's, and no preset has it."""
_PIXEL_RANGE = 255.0
_VOC = ("__background__", "aeroplane", "bicycle", "bird", "boat", "bottle")
"""The first classes of Pascal VOC, as torchvision calls them."""
_VOC_CLASSES = 21


@dataclass(frozen=True)
class Preset:
    """What goes with a network's published weights; most presets are alike."""

    weights: str
    """The name of the weights: ``FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1``."""
    url: str
    """Where torchvision has them; its last part ends with the beginning of their SHA-256."""
    categories: tuple[str, ...]
    """The names of the classes, in label order."""
    short_edge: int | None
    """In pixels, what images are resized to; ``None``: they keep their size."""
    filter: Filter
    mean: tuple[float, ...]
    """In RGB, of pixels of 0 to 1."""
    std: tuple[float, ...]

    def resize(self, short_edge: int | None) -> Resize | None:
        """The resize to a short edge; ``None``: none.

        The numbers are those that the preset gives for images of Pillow, the long edge is rounded down.
        """
        if short_edge is None:
            return None
        return Resize(
            (short_edge, short_edge),
            fit="shortest",
            rounding="down",
            algorithm="pillow",
            filter=self.filter,
        )

    @property
    def normalisation(self) -> tuple[Step, ...]:
        """Two steps, each rounded to float32: to pixels of 0 to 1, then with mean and deviation."""
        return (Scale(_PIXEL_RANGE), Normalize(self.mean, self.std, arithmetic="division"))

    @property
    def pixel_mean(self) -> tuple[float, ...]:
        """The mean of pixels of 0 to 255."""
        return tuple(value * _PIXEL_RANGE for value in self.mean)

    @property
    def pixel_std(self) -> tuple[float, ...]:
        """The standard deviation of pixels of 0 to 255."""
        return tuple(value * _PIXEL_RANGE for value in self.std)

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """One RGB colour for each class, where they are those of Pascal VOC; else empty."""
        if len(self.categories) != _VOC_CLASSES or self.categories[: len(_VOC)] != _VOC:
            return ()
        return named_palette("pascal_voc", _VOC_CLASSES)

    def is_file(self, sha256: str) -> bool:
        """Whether a file with this SHA-256 is the weights that torchvision publishes."""
        beginning = self.url.rpartition("/")[2].partition(".")[0].rpartition("-")[2]
        return len(beginning) >= 8 and sha256.startswith(beginning)


def read_preset(weights: Any) -> Preset:
    """Read the preset from torchvision's own enumeration of a network's weights.

    Args:
        weights: A member of it.

    Raises:
        ModelError: its transforms are of another kind than segplug knows.
    """
    transforms = weights.transforms()
    resize_size, antialias, filtered = (
        getattr(transforms, name, None) for name in ("resize_size", "antialias", "interpolation")
    )
    name = str(getattr(filtered, "value", filtered))
    known = next((filter_ for filter_ in _FILTERS if filter_ == name), None)
    is_known = type(transforms).__name__ == "SemanticSegmentation" and known is not None
    if not is_known or known is None or (resize_size and not antialias):
        kind = " ".join(repr(transforms).split())
        raise ModelError(
            f"the transforms of {weights} are none that segplug knows: {kind}",
            hint="use another version of torchvision",
        )
    return Preset(
        weights=repr(weights),
        url=weights.url,
        categories=tuple(weights.meta["categories"]),
        short_edge=_edge(resize_size),
        filter=known,
        mean=tuple(map(float, transforms.mean)),
        std=tuple(map(float, transforms.std)),
    )


def _edge(size: Sequence[int] | None) -> int | None:
    return int(size[0]) if size else None
