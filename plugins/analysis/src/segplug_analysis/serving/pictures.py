"""The image files that are sent, unchanged, and the first mask of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import DatasetError, EngineError
from segplug.regular_files import expanded, read_regular
from segplug.runtime.reading import MAX_BYTES, decode_image
from segplug.serving.client import Client, Reply, decode_mask

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.model import ModelMeta

__all__ = ["Picture", "ask_for_mask", "first_masks", "read_pictures"]


@dataclass(frozen=True)
class Picture:
    """An image file."""

    name: str
    """The file's name; its path where two files have the same name."""
    content: bytes
    size: tuple[int, int]
    """(height, width) in pixels, with the file's orientation applied."""

    def decoded(self, meta: ModelMeta) -> npt.NDArray[Any]:
        """The image ``(H, W, C)`` as the model takes it; a masked array if pixels have no data."""
        return decode_image(self.content, self.name, meta.decoding, channels=meta.in_channels)


def read_pictures(files: Sequence[Path], meta: ModelMeta) -> tuple[Picture, ...]:
    """Read image files, and check that they are images before any is sent.

    Args:
        files: The files.
        meta: The metadata of the server's model, which says how they are decoded.

    Raises:
        DatasetError: a file does not exist, is no image, or has other channels than the model takes.
    """
    names = [file.name for file in files]
    return tuple(
        _picture(file, file.name if names.count(file.name) == 1 else str(file), meta) for file in files
    )


def _picture(file: Path, name: str, meta: ModelMeta) -> Picture:
    try:
        content = read_regular(expanded(file), most_bytes=MAX_BYTES)
    except OSError as error:
        raise DatasetError(f"the image {file} cannot be read: {error.strerror or error}") from error
    if not content:
        raise DatasetError(f"the image {file} is empty")
    image = decode_image(content, str(file), meta.decoding, channels=meta.in_channels)
    return Picture(name, content, (image.shape[0], image.shape[1]))


def first_masks(client: Client, pictures: Sequence[Picture]) -> list[npt.NDArray[Any]]:
    """The masks of images that are sent one at a time.

    Returns:
        Unsigned integer ``(H, W)`` of each image's own size.

    Raises:
        EngineError: the server is gone, refuses an image, or its answer is no mask of it.
    """
    return [_mask(client, picture) for picture in pictures]


def ask_for_mask(client: Client, picture: Picture) -> Reply:
    """Send an image file; every pixel gets a label, whatever the server's setting for unknown ones is.

    Raises:
        EngineError: the server is gone.
    """
    return client.post(picture.content, unknown_below="0")


def _mask(client: Client, picture: Picture) -> npt.NDArray[Any]:
    reply = ask_for_mask(client, picture)
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
