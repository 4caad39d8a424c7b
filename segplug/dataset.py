"""The data-set contract: what a ``load_dataset`` provider returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Decoding

__all__ = ["Dataset", "DatasetInfo", "LabelFormat"]


@dataclass(frozen=True)
class LabelFormat:
    """How label maps are written for a data set's own evaluation server (``--format-only``).

    The defaults mean labels as they are, in greyscale.
    """

    ids: Mapping[int, int] | None = None
    """Label to the id that is written; ``None``: labels as they are."""
    palette: tuple[tuple[int, int, int], ...] | None = None
    """RGB colour for each written id; ``None``: a greyscale PNG."""


@dataclass(frozen=True)
class DatasetInfo:
    """The description of a data set, known before any image is read."""

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    """One RGB colour (0 to 255) for each class; empty: none known."""
    ignore_index: int = 255
    has_masks: bool = True
    parts: tuple[tuple[str, int], ...] = ()
    """For a concatenated data set scored separately: each part's name and length, in order."""
    label_format: LabelFormat | None = None
    """``None``: there is no such server; label maps are written with the palette, to look at."""
    fingerprint: str = ""
    """Identifies the list of samples and how masks are read; equal data sets have equal fingerprints. It does
    not depend on the content of the files: a damaged image may be repaired before a run is resumed."""
    listed: bool = False
    """Whether the user named each image. Otherwise they may have been found by searching folders, and no
    results are written there."""
    masks_hint: str | None = None
    """Without masks: what to set to get them, for the error where they are wanted."""
    nan_to_num: float | None = None
    """The score of a class that does not occur, where the data set's own evaluation has one."""
    beta: float = 1.0
    """The weight of recall in the F-score, as the data set's own evaluation has it."""
    reduces_zero_label: bool = False
    """Whether the label 0 of its masks is ignored, and each other one is lowered by one."""


@runtime_checkable
class Dataset(Protocol):
    """A list of images, with or without masks. Read from several threads at once.

    A data set whose samples are files has two more methods, ``image_path(index) -> Path`` and
    ``mask_path(index) -> Path | None``: then no result is written over these files, and a resumed run
    computes an image again if its files have changed.
    """

    @property
    def info(self) -> DatasetInfo:
        """The description; does not change."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The image's path relative to the data set, with its suffix; unique within the set."""
        ...

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        """The image, ``(H, W, C)`` of any numeric type.

        Args:
            index: Its index.
            decoding: How the model's source decodes files. A data set that reads in a way of its own ignores
                it.

        Returns:
            A ``numpy.ma.MaskedArray`` if the file marks pixels that have no data, such as the nodata value
            of a GeoTIFF: where all channels are masked, nothing is predicted or scored.

        Raises:
            DatasetError: it is missing or not an image; the message names the file.
        """
        ...

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        """The mask, uint8 or uint16 ``(H, W)``, in labels: class indices and ``info.ignore_index``, after
        any label map and zero-label reduction.

        Raises:
            DatasetError: there is none, or it is not a mask; the message names the file.
        """
        ...
