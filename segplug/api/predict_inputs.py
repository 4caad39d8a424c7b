"""What is to be predicted: image files, folders of images, videos, an image on standard input."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from segplug.dataset import DatasetInfo
from segplug.errors import DatasetError, UsageError
from segplug.regular_files import why_no_file
from segplug.runtime.folder import IMAGE_SUFFIXES, find_images
from segplug.runtime.video import VIDEO_SUFFIXES

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Decoding

__all__ = ["GivenImage", "GivenImages", "Inputs", "find_inputs"]


@dataclass(frozen=True)
class GivenImage:
    """An image to predict."""

    name: str
    """As the user named it; different for each."""
    target: PurePosixPath
    """What its results are called, below the output folder, without a suffix."""
    source: Path | bytes
    """The file, or the content of one."""


@dataclass(frozen=True)
class Inputs:
    """All that is to be predicted."""

    images: tuple[GivenImage, ...] = ()
    videos: tuple[tuple[Path, PurePosixPath], ...] = ()
    """Each file, with what its result is called."""


class GivenImages:
    """Images to predict, as a data set without masks."""

    def __init__(self, images: Sequence[GivenImage]) -> None:
        self.images = tuple(images)
        listed = [
            os.path.abspath(source) if isinstance(source, Path) else hashlib.sha256(source).hexdigest()
            for source in (image.source for image in images)
        ]
        fingerprint = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
        self._info = DatasetInfo("images", (), has_masks=False, fingerprint=fingerprint, listed=True)

    @property
    def info(self) -> DatasetInfo:
        return self._info

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return self.images[index].name

    def image_path(self, index: int) -> Path | None:
        """The file of the image, by which an interrupted run knows whether it changed; ``None``: no file."""
        source = self.images[index].source
        return source if isinstance(source, Path) else None

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        from segplug.runtime.reading import decode_image, read_image

        image = self.images[index]
        if isinstance(image.source, bytes):
            return decode_image(image.source, image.name, decoding)
        return read_image(image.source, decoding)

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        raise DatasetError(f"the image {self.name(index)} has no mask")


def find_inputs(given: Sequence[str], output: Path, *, stdin: bytes | None = None) -> Inputs:
    """The images and videos that paths name.

    Args:
        given: Files and folders, which are searched with all folders in them; ``-``: standard input.
        output: Where results go. It is not searched, and none of the files may lie in it.
        stdin: The content of standard input, if ``-`` is given.

    Raises:
        UsageError: one of them is not there, or lies in the output folder; a file is named twice; or a folder
            holds nothing to predict.
    """
    images: list[tuple[str, Path | bytes, PurePosixPath]] = []
    videos: list[tuple[Path, PurePosixPath]] = []
    for word in given:
        path = Path(word)
        if word == "-":
            images.append(("stdin", stdin or b"", PurePosixPath("stdin")))
        elif path.is_dir():
            found = find_images(path, (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES), leave_out=output)
            if not found:
                ends = ", ".join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
                raise UsageError(f"there is no image in {path}", hint=f"looked for {ends}")
            for name, _ in found:
                _add(path / name, PurePosixPath(name), images, videos)
        elif reason := why_no_file(path):
            raise UsageError(reason)
        else:
            _add(path, PurePosixPath(path.name), images, videos)
    files = [source for _, source, _ in images if isinstance(source, Path)] + [path for path, _ in videos]
    _refuse_output(files, output)
    _refuse_twice([*(os.path.abspath(file) for file in files), *(word for word in given if word == "-")])
    targets = _targets([place for *_, place in images])
    return Inputs(
        tuple(
            GivenImage(name, target, source)
            for (name, source, _), target in zip(images, targets, strict=True)
        ),
        tuple(zip((path for path, _ in videos), _targets([place for _, place in videos]), strict=True)),
    )


def _add(
    path: Path,
    place: PurePosixPath,
    images: list[tuple[str, Path | bytes, PurePosixPath]],
    videos: list[tuple[Path, PurePosixPath]],
) -> None:
    if path.name.lower().endswith(VIDEO_SUFFIXES):
        videos.append((path, place))
    else:
        images.append((str(path), path, place))


def _refuse_output(files: Sequence[Path], output: Path) -> None:
    """Refuse inputs that lie in the output folder: results and inputs would not be told apart."""
    real = output.resolve()
    for folder in {file.parent for file in files}:
        if real in (folder.resolve(), *folder.resolve().parents):
            raise UsageError(
                f"the output folder {output} holds the images", hint="name another with --output"
            )


def _refuse_twice(names: Sequence[str]) -> None:
    for name, times in Counter(names).most_common(1):
        if times > 1:
            raise UsageError(f"named more than once: {name}")


def _targets(places: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """What results are called: the images' names without suffixes, or with them where two are the same.

    Raises:
        UsageError: two have the same name even so.
    """
    # Of the name "..jpg" nothing would be left.
    stems = [place.with_suffix("") if place.stem.strip(".") else place for place in places]
    times = Counter(_as_compared(stem) for stem in stems)
    chosen = [
        stem if times[_as_compared(stem)] == 1 else place for stem, place in zip(stems, places, strict=True)
    ]
    for name, number in Counter(map(_as_compared, chosen)).most_common(1):
        if number > 1:
            raise UsageError(
                f"{number} images have the name {name}, and their results go into one folder",
                hint="predict them one by one, each with its own --output, or name a folder that holds all",
            )
    return chosen


def _as_compared(path: PurePosixPath) -> str:
    """Names that some file systems take for one are equal."""
    return str(path).casefold()
