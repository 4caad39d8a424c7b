"""The image files that are sent, unchanged, and the first mask of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import DatasetError, EngineError
from segplug.runtime.reading import decode_image
from segplug.serving.client import Client, decode_mask

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Picture", "first_masks", "read_pictures"]


@dataclass(frozen=True)
class Picture:
    """An image file."""

    name: str
    """The file's name; its path where two files have the same name."""
    content: bytes
    size: tuple[int, int]
    """(height, width) in pixels, with the file's orientation applied."""

    def decoded(self) -> npt.NDArray[np.uint8]:
        """uint8 ``(H, W, 3)``, BGR."""
        return decode_image(self.content, self.name)


def read_pictures(files: Sequence[Path]) -> tuple[Picture, ...]:
    """Read image files, and check that they are images before any is sent.

    Raises:
        DatasetError: a file does not exist, or is no image.
    """
    names = [file.name for file in files]
    return tuple(_picture(file, file.name if names.count(file.name) == 1 else str(file)) for file in files)


def _picture(file: Path, name: str) -> Picture:
    try:
        content = file.expanduser().read_bytes()
    except OSError as error:
        raise DatasetError(f"the image {file} cannot be read: {error.strerror or error}") from error
    if not content:
        raise DatasetError(f"the image {file} is empty")
    height, width = decode_image(content, str(file)).shape[:2]
    return Picture(name, content, (height, width))


def first_masks(client: Client, pictures: Sequence[Picture]) -> list[npt.NDArray[Any]]:
    """The masks of images that are sent one at a time.

    Returns:
        Unsigned integer ``(H, W)`` of each image's own size.

    Raises:
        EngineError: the server is gone, refuses an image, or its answer is no mask of it.
    """
    return [_mask(client, picture) for picture in pictures]


def _mask(client: Client, picture: Picture) -> npt.NDArray[Any]:
    reply = client.post(picture.content)
    if reply.status != 200:
        raise EngineError(f"the server answered {picture.name} with {reply.status}: {reply.reason}")
    mask = decode_mask(reply.body, client.url)
    if mask.shape != picture.size:
        raise EngineError(
            f"the server's mask of {picture.name} is {_size_text(mask.shape)} (height x width), "
            f"the image {_size_text(picture.size)}",
            hint="a mask must have the size of its image",
        )
    return mask


def _size_text(size: Sequence[int]) -> str:
    return "x".join(str(length) for length in size)
