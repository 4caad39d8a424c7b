"""The sample images of the page: a picture that segplug makes, and the files of a folder of the operator."""

from __future__ import annotations

import io
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segplug.errors import UsageError
from segplug.regular_files import is_regular, read_regular, require_regular
from segplug.serving.answers import png
from segplug.text import printable_line
from segplug.verification.sample import sample_for

if TYPE_CHECKING:
    from segplug.model import ModelMeta
    from segplug.serving.requests import Limits

__all__ = ["MOST_SAMPLES", "Sample", "find_samples"]

MOST_SAMPLES = 24
"""Files of a folder that the page offers."""

_SIZE = (360, 480)
"""Height and width of the picture, if the model's metadata says none, or one above the limits."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".npy")


@dataclass(frozen=True)
class Sample:
    """An image that the page offers."""

    name: str
    """The name of its file, for people."""
    media_type: str
    size: int
    """Bytes."""
    content: bytes | None = None
    """The bytes; ``None``: they are in ``path``."""
    path: Path | None = None

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            OSError: the file is not there any more, is none, or has become larger.
        """
        if self.content is not None:
            return self.content
        assert self.path is not None
        return read_regular(self.path, most_bytes=self.size)


def find_samples(meta: ModelMeta, limits: Limits, folder: str | None) -> tuple[list[Sample], int]:
    """The samples, the made-up picture first.

    Args:
        meta: The model, which says what the picture must be.
        limits: The limits of one image: larger files are left out.
        folder: A folder of image files; ``None``: there is none.

    Returns:
        The samples, and how many files of the folder are left out because there are more than
        :data:`MOST_SAMPLES`.

    Raises:
        UsageError: there is no such folder, or no image in it.
    """
    made = _made_up(meta, limits)
    if folder is None:
        return [made], 0
    try:
        paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in _SUFFIXES)
    except OSError as error:
        raise UsageError(f"--samples {folder} cannot be read: {error.strerror or error}") from error
    sizes = [(path, require_regular(path)) for path in paths if is_regular(path)]
    files = [(path, size) for path, size in sizes if 0 < size <= limits.bytes]
    if not files:
        raise UsageError(
            f"--samples {folder} has no image that the server takes",
            hint=f"files of at most {limits.bytes} bytes with {', '.join(_SUFFIXES)} are offered",
        )
    found = [_of_file(path, size) for path, size in files[:MOST_SAMPLES]]
    return [made, *found], len(files) - len(found)


def _of_file(path: Path, size: int) -> Sample:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Sample(printable_line(path.name), kind, size, path=path)


def _made_up(meta: ModelMeta, limits: Limits) -> Sample:
    size = meta.input_size or _SIZE
    if size[0] * size[1] > limits.pixels or max(size) > limits.edge:
        size = _SIZE
    image = sample_for(meta, *size)
    is_picture = image.dtype == np.uint8 and image.shape[2] == 3
    if is_picture and not meta.decoding.loader and meta.decoding.library != "tifffile":
        content = png(image)
        return Sample("made-up-street.png", "image/png", len(content), content)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, image, allow_pickle=False)
    return Sample("made-up-street.npy", "application/x-npy", buffer.tell(), buffer.getvalue())
