"""The sink contract: what a run gives to its sinks, and the methods that it calls.

A sink gets every image's result once, in the data set's order, from one thread. What ``consume``
returns is saved in the run's journal; when an interrupted run is resumed, the sink gets these notes back
through ``restore`` instead of the result.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from segplug.errors import UsageError
from segplug.palette import LabelColours, Palette, label_colours, named_palette

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.dataset import Dataset
    from segplug.model import ModelMeta
    from segplug.progress import Reporter
    from segplug.scores import Skipped

__all__ = ["ImageResult", "Notes", "RunContext", "Sink"]

Notes = Mapping[str, Any]


@dataclass(frozen=True)
class RunContext:
    """The run that a sink belongs to."""

    meta: ModelMeta
    dataset: Dataset
    reporter: Reporter
    spool: Path | None
    """A folder that is kept if the run is interrupted; ``None``: this run cannot be resumed."""
    skipped: list[Skipped] = field(default_factory=list)
    """The images that were left out, and why; complete when the sinks are closed."""
    abandoned: threading.Event = field(default_factory=threading.Event)
    """Set when the run ends early: a sink that waits for something stops waiting."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names: the data set's, else the model's, else numbers."""
        named = self.dataset.info.classes or self.meta.classes
        return named or tuple(str(label) for label in range(self.meta.num_classes))

    @property
    def label_names(self) -> tuple[str, ...]:
        """A name for each label: the classes, ``background`` first for a model of one class; of bit masks a
        name for each bit.

        Empty: neither the data set nor the model names them.
        """
        return self.meta.replace(classes=self.dataset.info.classes or self.meta.classes).label_names

    def colours(self, palette: str | None = None) -> LabelColours:
        """How labels are painted.

        Args:
            palette: A name or file for :func:`segplug.palette.named_palette`. ``None``: the data set's
                colours, else the model's, else such that are well told apart; see
                :func:`segplug.palette.label_colours`.

        Raises:
            UsageError: there is no such palette, or it has too few colours.
        """
        count = len(self.classes)
        given = () if palette is None else named_palette(palette, count)
        palettes = (given, self.dataset.info.palette, self.meta.palette)
        names = self.dataset.info.classes or self.meta.classes
        return label_colours(palettes, count, names, multilabel=self.meta.multilabel)

    @property
    def palette(self) -> Palette:
        """One RGB colour for each value of a label map: those of :meth:`colours`."""
        return self.colours().of_labels

    @property
    def ignored(self) -> int:
        """The label of pixels without data, and of unknown ones: what the data set ignores.

        Of a list of images, which have no masks, it is 65535 if the usual 255 is a class, or a set of classes
        of a bit mask.

        Raises:
            UsageError: it is a class, or label maps cannot hold it.
        """
        label = self.dataset.info.ignore_index
        used = 0 <= label < self.meta.num_labels
        if used and self.dataset.info.listed:
            label, used = 65535, self.meta.num_labels > 65535
        if used or not 0 <= label < 1 << 16:
            thing = "a set of classes" if self.meta.multilabel else "a class"
            what = f"{thing} of this model" if used else "not from 0 to 65535"
            raise UsageError(
                f"the ignored label {label} is {what}: none is left for unknown pixels and those without "
                "data",
                hint="give the data set another ignored label"
                + (" (ignore_index=65535), which 16-bit masks hold" if self.meta.multilabel else ""),
            )
        return label

    def require_bit_masks(self) -> None:
        """Check that the masks can be bit masks, if the labels are: to lower one by one changes all its bits.

        Raises:
            UsageError: the data set lowers them.
        """
        info = self.dataset.info
        if self.meta.multilabel and info.reduces_zero_label:
            raise UsageError(
                f"the data set {info.name} ignores the label 0 and lowers the others by one "
                "(reduce_zero_label), and a model that decides each class alone has bit masks, where 0 is no "
                "class",
                hint="leave out reduce_zero_label",
            )


@dataclass(frozen=True)
class ImageResult:
    """One image's result."""

    index: int
    name: str
    labels: npt.NDArray[Any]
    """Unsigned integer ``(H, W)`` at the image's own size; bit masks for
    :attr:`segplug.model.ModelMeta.multilabel`."""
    image: npt.NDArray[Any] | None
    """The image, ``(H, W, C)`` of any numeric type, masked where pixels have no data; only if some sink
    ``needs_image``."""
    mask: npt.NDArray[Any] | None
    """The mask, uint8 or uint16 ``(H, W)``; only if some sink ``needs_mask`` and the data set has masks."""
    confidence: npt.NDArray[np.float32] | None = None
    """The probability of each pixel's label, float32 ``(H, W)``, 0 to 1; where the label became unknown, that
    of the label it had. At least if some sink ``needs_confidence``."""


class Sink(Protocol):
    """Takes the results of a run: writes, shows or scores them."""

    needs_image: bool
    needs_mask: bool
    needs_confidence: bool

    @property
    def key(self) -> str:
        """Identifies the sink and the settings that change its results: part of the run's fingerprint."""
        ...

    def open(self, run: RunContext) -> None:
        """Called before any image is read. Raise every error that can be known by now."""
        ...

    def consume(self, result: ImageResult) -> Notes:
        """Take one result; return the notes to save in the journal (JSON types)."""
        ...

    def has(self, index: int, notes: Notes) -> bool:
        """Whether the result of an interrupted run for this image still exists.

        If it is missing for one sink, the image is computed again for all of them.
        """
        ...

    def restore(self, index: int, notes: Notes) -> None:
        """Take what ``consume`` returned for an image that an interrupted run had finished."""
        ...

    def close(self, *, finished: bool) -> None:
        """Called once after the last image, or (not ``finished``) when the run failed."""
        ...
