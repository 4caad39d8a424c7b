"""Draw the results of a run as pictures: image, truth, prediction and difference, with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from segplug.errors import UsageError
from segplug.legend import LegendEntry, count_labels, legend_entries
from segplug.palette import palette_key
from segplug.runtime.legend_picture import Place, with_legend
from segplug.runtime.libraries import opencv
from segplug.runtime.paint import Painter
from segplug.runtime.view import Viewer

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.dataset import DatasetInfo
    from segplug.sink import ImageResult, RunContext

__all__ = ["PARTS", "Drawer", "Part", "PictureSettings", "mark_differences", "require_masks"]

Part = Literal["image", "truth", "prediction", "difference"]

PARTS: tuple[Part, ...] = get_args(Part)
"""What a picture may show."""

_OF_MASKS = ("truth", "difference")

_MARK = (0, 94, 213)
"""Vermilion (BGR), which colour-blind readers can tell from grey."""


@dataclass(frozen=True)
class PictureSettings:
    """What pictures show of a result.

    Attributes:
        opacity: Weight of the colours over the image, in (0, 1].
        bands: The channels to show; see :class:`segplug.runtime.view.Viewer`.
        palette: A name or a file for :func:`segplug.palette.named_palette`; ``None``: the data set's colours,
            else the model's; see :meth:`segplug.sink.RunContext.colours`.
        parts: Some of :data:`PARTS`, from left to right.
        legend: Where the legend is; ``None``: there is none, and a picture of one part has the image's size.

    Raises:
        UsageError: one of them is wrong.
    """

    opacity: float = 0.5
    bands: tuple[int, ...] | None = None
    palette: str | None = None
    parts: tuple[Part, ...] = ("prediction",)
    legend: Place | None = None

    def __post_init__(self) -> None:
        Painter((), opacity=self.opacity)  # refuses a bad opacity before anything is loaded
        if not self.parts or any(part not in PARTS for part in self.parts):
            raise UsageError(f"a picture shows some of {', '.join(PARTS)}, not {', '.join(self.parts)}")
        if self.legend not in (None, *get_args(Place)):
            raise UsageError(f"a legend is {' or '.join(get_args(Place))}, not {self.legend}")
        _ = self.key  # refuses a palette that is not there

    @property
    def key(self) -> str:
        """Identifies the settings, with the palette's colours."""
        palette = None if self.palette is None else palette_key(self.palette)
        return f"{self.opacity} {self.bands} {palette} {'+'.join(self.parts)} {self.legend}"

    @property
    def needs_mask(self) -> bool:
        """Whether a part shows the mask."""
        return any(part in _OF_MASKS for part in self.parts)


class Drawer:
    """Draws the results of one run.

    Args:
        settings: What pictures show.
        run: The run.

    Raises:
        UsageError: the data set has no masks to show, or the image not these bands, or the palette too few
            colours.
    """

    def __init__(self, settings: PictureSettings, run: RunContext) -> None:
        info = run.dataset.info
        require_masks(settings.parts, info)
        if settings.needs_mask:
            run.require_bit_masks()
        self._settings = settings
        self.view = Viewer(run.meta.decoding, settings.bands, channels=run.meta.in_channels)
        self.colours = run.colours(settings.palette)
        self._painter = Painter(
            self.colours.of_labels, opacity=settings.opacity, unpainted=self.colours.unpainted
        )
        self._names = run.label_names
        # Of a list of images, 255 may be a class; a data set's own ignored label is that of its masks, too.
        # Where it is a set of classes of bit masks, this raises.
        checked = info.listed or (run.meta.multilabel and settings.needs_mask)
        self._ignored = run.ignored if checked else info.ignore_index

    def __call__(self, result: ImageResult) -> npt.NDArray[np.uint8]:
        """The picture of a result, uint8 ``(h, w, 3)``, BGR."""
        assert result.image is not None
        panels = self.panels(self.view(result.image), result.labels, result.mask)
        picture = panels[0] if len(panels) == 1 else np.hstack(panels)
        if self._settings.legend is None:
            return picture
        return with_legend(picture, self._legend(result), place=self._settings.legend)

    def panels(
        self, image: npt.NDArray[np.uint8], labels: npt.NDArray[Any], mask: npt.NDArray[Any] | None
    ) -> list[npt.NDArray[np.uint8]]:
        """The picture of each part.

        Args:
            image: uint8 ``(H, W, 3)``, BGR, of :attr:`view`.
            labels: The prediction, unsigned integer ``(H, W)``.
            mask: The truth, unsigned integer ``(H, W)``; only needed if a part shows it.
        """
        return [self._panel(part, image, labels, mask) for part in self._settings.parts]

    def _panel(
        self,
        part: Part,
        image: npt.NDArray[np.uint8],
        labels: npt.NDArray[Any],
        mask: npt.NDArray[Any] | None,
    ) -> npt.NDArray[np.uint8]:
        if part == "image":
            return image
        if part == "prediction":
            return self._painter(image, labels)
        assert mask is not None
        if part == "truth":
            return self._painter(image, mask)
        return mark_differences(image, labels, mask, ignored=self._ignored)

    def _legend(self, result: ImageResult) -> tuple[LegendEntry, ...]:
        """The classes of the prediction with their shares, then those that only the truth has."""
        parts = self._settings.parts
        only_truth = "truth" in parts and "prediction" not in parts
        first = result.mask if only_truth and result.mask is not None else result.labels
        entries = self._entries(first)
        if "truth" in parts and result.mask is not None:
            known = {entry.label for entry in entries}
            others = (entry for entry in self._entries(result.mask) if entry.label not in known)
            entries += tuple(LegendEntry(e.label, e.name, e.colour, painted=e.painted) for e in others)
        return entries

    def _entries(self, labels: npt.NDArray[Any]) -> tuple[LegendEntry, ...]:
        return legend_entries(self._names, self.colours, count_labels(labels), unknown=self._ignored)


def require_masks(parts: Sequence[str], info: DatasetInfo) -> None:
    """Raise :class:`UsageError` if parts of a picture need masks, and the data set has none."""
    if not info.has_masks and any(part in _OF_MASKS for part in parts):
        wanted = " and no ".join(part for part in _OF_MASKS if part in parts)
        raise UsageError(f"the data set {info.name} has no masks, so there is no {wanted} to show")


def mark_differences(
    image: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    *,
    ignored: int,
) -> npt.NDArray[np.uint8]:
    """The image in pale grey, vermilion where the labels are wrong, and dark where the mask is ignored.

    A bit mask is wrong where any of its classes is.

    Args:
        image: uint8 ``(H, W, 3)``, BGR.
        labels: The prediction, unsigned integer ``(H, W)``.
        mask: The truth, unsigned integer ``(H, W)``.
        ignored: The value of pixels of the mask that are not counted.

    Returns:
        uint8 ``(H, W, 3)``, BGR.
    """
    cv2 = opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) // 3 + 150
    left_out = mask == ignored
    grey[left_out] -= 120
    shown: npt.NDArray[np.uint8] = np.repeat(grey[..., None], 3, axis=2)
    shown[(labels != mask) & ~left_out] = _MARK
    return shown
