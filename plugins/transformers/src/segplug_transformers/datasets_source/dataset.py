"""One split as a data set of segplug: images and masks are decoded by segplug's own readers."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from segplug.dataset import DatasetInfo
from segplug.errors import DatasetError, UsageError
from segplug.runtime.folder import named_classes
from segplug_transformers.datasets_source.columns import (
    cell_content,
    classes_of,
    column_kind,
    image_column,
    label_column,
)
from segplug_transformers.palettes import palette_for

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Decoding
    from segplug_transformers.datasets_source.layout import Split
    from segplug_transformers.datasets_source.options import DatasetsOptions
    from segplug_transformers.datasets_source.rows import Rows

__all__ = ["TableDataset"]

_PLAIN_NAME = re.compile(r"[^./\\\x00][^/\\\x00]*\.\w+")
"""The name of a file with a suffix, which is a name below any folder."""


class TableDataset:
    """The rows of a split.

    Args:
        location: As the user gave it, for messages.
        name: Of the data set.
        split: Its files.
        rows: Its table.
        options: Which columns are read, and how the masks are.

    Raises:
        UsageError: a column is missing, or may be one of several.
        DatasetError: there is no row, or the masks are stored in a way that cannot be read exactly.
    """

    def __init__(self, location: str, name: str, split: Split, rows: Rows, options: DatasetsOptions) -> None:
        from segplug.runtime.reading import label_table

        features = rows.features
        self._rows, self._where = rows, f"{location} ({split.name})"
        if not len(rows):
            raise DatasetError(f"there is no row in {self._where}")
        self._image = image_column(features, options.image_column)
        self._label = label_column(features, options.label_column, self._image)
        _require_stored(features, self._image, ("RGB",))
        if self._label is not None:
            _require_stored(features, self._label, ())
        classes = named_classes(options.classes) or (classes_of(features[self._label]) if self._label else ())
        ignored = options.ignore_index
        if ignored is None:
            ignored = 65535 if len(classes) > 255 else 255
        self._wide = ignored > 255
        self._table = label_table(reduce_zero_label=options.reduce_zero_label, wide=self._wide)
        self._names = _names(rows, self._image)
        self._info = DatasetInfo(
            name=name,
            classes=classes,
            palette=palette_for(classes, (name,)),
            ignore_index=ignored,
            has_masks=self._label is not None,
            masks_hint=None if self._label else _masks_hint(features, self._image),
            fingerprint=_fingerprint(split, self._image, self._label, ignored, options.reduce_zero_label),
            reduces_zero_label=options.reduce_zero_label,
        )

    @property
    def info(self) -> DatasetInfo:
        """Constant for the data set's life."""
        return self._info

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, index: int) -> str:
        """The file name that the table has for the image, or its row: ``000012.png``."""
        return self._names[index]

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        """The image, ``(H, W, C)``.

        Args:
            index: Its index.
            decoding: How an encoded image is decoded. An array has its colours as RGB.

        Raises:
            DatasetError: it is missing, or is no image of the kind that the model takes.
        """
        from segplug.runtime.reading import decode_image, given_image

        what = f"{self._names[index]} of {self._where}"
        content = cell_content(self._rows.cell(self._image, index), f"the image {what}")
        if isinstance(content, bytes):
            return decode_image(content, what, decoding)
        try:
            return given_image(content, decoding)
        except UsageError as error:
            raise DatasetError(
                f"the image {what} cannot be read: {error.args[0]}", hint=error.hint
            ) from error

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        """The labels, uint8 ``(H, W)``; uint16 where the ignored one is above 255.

        Raises:
            DatasetError: there is none, or it is no mask.
        """
        import numpy as np

        from segplug.runtime.reading import decode_mask

        if self._label is None:
            raise DatasetError(f"{self._where} has no masks")
        what = f"the mask of {self._names[index]} of {self._where}"
        content = cell_content(self._rows.cell(self._label, index), what)
        if not isinstance(content, bytes):
            array = content[0] if content.ndim == 3 and len(content) == 1 else content
            file = io.BytesIO()
            np.save(file, array)
            content = file.getvalue()
        mask = decode_mask(content, what, wide=self._wide, nodata=False)
        return mask if self._table is None else self._table[mask]


def _require_stored(features: Any, column: str, kept: Sequence[str]) -> None:
    """Refuse a column that the library converts to another mode of Pillow's as it reads it."""
    mode = getattr(features[column], "mode", None)
    if mode is not None and mode not in kept:
        raise DatasetError(
            f"the library converts the column {column} to Pillow's mode {mode} as it reads it, and segplug "
            "reads what is stored",
            hint=f"save the data set after cast_column({column!r}, datasets.Image())",
        )


def _names(rows: Rows, column: str) -> list[str]:
    """The file names that the images came from, if results can be named after them; else row numbers."""
    names = [PurePath(path or "").name for path in rows.paths(column)]
    stems = {PurePath(name).stem for name in names}
    if len(stems) == len(names) and all(map(_PLAIN_NAME.fullmatch, names)):
        return names
    return [f"{row:06d}.png" for row in range(len(rows))]


def _masks_hint(features: Any, images: str) -> str:
    others = [name for name in features if name != images and column_kind(features[name]) is not None]
    if not others:
        return "no other column holds images or arrays"
    return f"name the column of the masks with label_column: {', '.join(others)}"


def _fingerprint(split: Split, *settings: object) -> str:
    """Changes when a file is written anew, or when masks are read in another way."""
    files = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in split.files]
    return hashlib.sha256(json.dumps([files, settings]).encode()).hexdigest()
