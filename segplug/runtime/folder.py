"""``load_dataset folder``: a folder of images (and masks), or a list of image files.

A folder holds either ``images`` and one of ``masks``, ``annotations``, ``labels``, or the images
themselves. Images are found in all subfolders, in the order of their names. The mask of
``images/a/b.jpg`` is ``masks/a/b.png``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.dataset import DatasetInfo
from segplug.errors import DatasetError, UsageError
from segplug.hookspecs import hookimpl
from segplug.options import option
from segplug.providers import Confidence, DatasetSource
from segplug.regular_files import is_regular, read_regular_text, why_no_file
from segplug.text import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Decoding
    from segplug.requests import LoadDatasetRequest

__all__ = [
    "IMAGE_SUFFIXES",
    "LAYOUT",
    "FolderDataset",
    "FolderOptions",
    "ImageList",
    "find_images",
    "named_classes",
    "provider",
]

_IMAGE_FOLDER = "images"
_MASK_FOLDERS = ("masks", "annotations", "labels")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".npy")
"""What the names of image files end in that are found in a folder."""
LAYOUT = (
    "a data set is a folder with images and masks (or annotations, or labels) in it: the mask of "
    "images/a/b.jpg is masks/a/b.png, one label for each pixel; --dataset-options img_dir=... mask_dir=... "
    "name other folders"
)
"""How a folder is a data set, for errors."""
_MASK_SUFFIX = ".png"
_NAMED = 3
"""How many names an error message lists."""


@dataclass(frozen=True)
class FolderOptions:
    """Where images and masks lie in a folder, and how the masks are read."""

    img_dir: str | None = option(
        None, help="Folder of the images, relative to the data set; default: images, else the folder itself."
    )
    mask_dir: str | None = option(
        None, help="Folder of the masks, relative to the data set; default: masks, annotations or labels."
    )
    img_suffix: tuple[str, ...] = option(
        IMAGE_SUFFIXES, help="How image file names end, e.g. _leftImg8bit.png.", metavar="SUFFIX"
    )
    mask_suffix: str | None = option(
        None,
        help="Replaces the image's suffix in the mask's name; default: .png, or the image's own suffix.",
        metavar="SUFFIX",
    )
    ignore_index: int | None = option(
        None,
        help="Mask value (after any reduction) that is not scored; above 255, masks may hold 16 bits. "
        "Default: 255, or 65535 if the option classes names more than 255.",
        minimum=0,
        maximum=65535,
    )
    reduce_zero_label: bool = option(
        False, help="Ignore mask value 0 and lower all others by one, as for ADE20K."
    )
    classes: tuple[str, ...] = option(
        (), help="Class names in label order, or one .txt file with a name per line; default: the model's."
    )


class FolderDataset:
    """The images in a folder, either all with masks or all without.

    ``info.classes`` is empty unless the options name the classes: the model's own names are used then.

    Args:
        root: The folder.
        options: Where images and masks lie in it.

    Raises:
        UsageError: a folder is missing, or there are several of masks.
        DatasetError: there is no image, or images have no mask.
    """

    def __init__(self, root: Path, options: FolderOptions | None = None) -> None:
        from segplug.runtime.reading import label_table

        options = options or FolderOptions()
        self._images = _image_folder(root, options)
        masks = _mask_folder(root, options)
        found = find_images(self._images, options.img_suffix, leave_out=masks)
        if not found:
            raise DatasetError(
                f"there is no image in {self._images}{_what_else(self._images)}",
                hint=f"looked for {', '.join(options.img_suffix)}; {LAYOUT}",
            )
        self._names = [name for name, _ in found]
        suffix = options.mask_suffix
        if suffix is None and masks is not None and masks.resolve() == self._images.resolve():
            suffix = _MASK_SUFFIX  # the image's own suffix would be the image itself
        self._masks = None if masks is None else _masks_of(found, masks, suffix)
        classes, ignored = named_classes(options.classes), options.ignore_index
        if ignored is None:
            ignored = 65535 if len(classes) > 255 else 255
        self._wide = ignored > 255
        self._table = label_table(reduce_zero_label=options.reduce_zero_label, wide=self._wide)
        files = [self.image_path(index) for index in range(len(found))] + (self._masks or [])
        self._info = DatasetInfo(
            name=root.resolve().name,
            classes=classes,
            ignore_index=ignored,
            has_masks=masks is not None,
            fingerprint=_fingerprint(files, ignored, options.reduce_zero_label),
            reduces_zero_label=options.reduce_zero_label,
        )

    @property
    def info(self) -> DatasetInfo:
        return self._info

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        return self._names[index]

    def image_path(self, index: int) -> Path:
        """The file of the image; no result is written over it."""
        return self._images / self._names[index]

    def mask_path(self, index: int) -> Path | None:
        """The file of the mask, if there are masks; no result is written over it."""
        return None if self._masks is None else self._masks[index]

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        from segplug.runtime.reading import read_image

        return read_image(self.image_path(index), decoding)

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        import numpy as np

        from segplug.runtime.reading import read_mask

        path = self.mask_path(index)
        if path is None:
            raise DatasetError(f"the data set {self._info.name} has no masks")
        mask = read_mask(path, wide=self._wide)
        labels: npt.NDArray[Any] = np.ma.getdata(mask)
        if self._table is not None:
            labels = self._table[labels]
        if np.ma.isMaskedArray(mask):
            labels[np.ma.getmaskarray(mask)] = self._info.ignore_index
        return labels


class ImageList:
    """A list of image files, without masks.

    Args:
        paths: The files. Their names in results are their file names or, if those are not unique, their
            paths below the folder that contains them all.

    Raises:
        UsageError: a file is missing, is a folder, or is named twice.
        DatasetError: the list is empty.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise DatasetError("there is no image to run on")
        folders = [str(path) for path in paths if path.is_dir()]
        if folders:
            raise UsageError(f"{folders[0]} is a folder", hint="use --dataset")
        faults = [reason for reason in (why_no_file(path, "image file") for path in paths) if reason]
        if faults:
            raise UsageError(faults[0], hint=f"and {len(faults) - 1} more" if faults[1:] else None)
        self._paths = [path.absolute() for path in paths]  # not resolved: a link keeps its own name
        twice = [str(path) for path, times in Counter(self._paths).items() if times > 1]
        if twice:
            raise UsageError(f"named more than once: {_listing(twice)}")
        self._names = _short_names(self._paths)
        self._info = DatasetInfo(
            name="images", classes=(), has_masks=False, fingerprint=_fingerprint(self._paths), listed=True
        )

    @property
    def info(self) -> DatasetInfo:
        return self._info

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return self._names[index]

    def image_path(self, index: int) -> Path:
        """The file of the image; no result is written over it."""
        return self._paths[index]

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        from segplug.runtime.reading import read_image

        return read_image(self._paths[index], decoding)

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        raise DatasetError(f"the image {self._paths[index]} has no mask")


def _image_folder(root: Path, options: FolderOptions) -> Path:
    if not root.is_dir():
        raise UsageError(f"the data set folder {root} does not exist")
    if options.img_dir is not None:
        return _existing(root / options.img_dir, "image")
    return root / _IMAGE_FOLDER if (root / _IMAGE_FOLDER).is_dir() else root


def _mask_folder(root: Path, options: FolderOptions) -> Path | None:
    if options.mask_dir is not None:
        return _existing(root / options.mask_dir, "mask")
    there = [root / name for name in _MASK_FOLDERS if (root / name).is_dir()]
    if len(there) > 1:
        names = ", ".join(folder.name for folder in there)
        raise UsageError(f"{root} has several folders of masks: {names}", hint="choose one with mask_dir")
    return there[0] if there else None


def _existing(folder: Path, kind: str) -> Path:
    if not folder.is_dir():
        raise UsageError(f"the {kind} folder {folder} does not exist")
    return folder


def find_images(folder: Path, suffixes: Sequence[str], *, leave_out: Path | None) -> list[tuple[str, str]]:
    """(relative name, its suffix) of every image below ``folder``, sorted by name."""
    found: list[tuple[str, str]] = []
    seen: set[str] = set()
    excluded = leave_out.resolve() if leave_out and leave_out.resolve() != folder.resolve() else None
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen or (excluded and Path(real) == excluded):
            folders.clear()  # a link back up, or the masks
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            suffix = next((end for end in suffixes if file.lower().endswith(end.lower())), None)
            if suffix is not None and not file.startswith("."):
                found.append((Path(where, file).relative_to(folder).as_posix(), suffix))
    return sorted(found)


def _masks_of(images: Sequence[tuple[str, str]], folder: Path, suffix: str | None) -> list[Path]:
    masks = [folder / (name[: -len(ending)] + (suffix or _MASK_SUFFIX)) for name, ending in images]
    own = [folder / name for name, _ in images]
    if suffix is None and is_regular(own[0]) and not is_regular(masks[0]):
        masks = own
    missing = [name for (name, _), mask in zip(images, masks, strict=True) if not is_regular(mask)]
    if missing:
        wanted = masks[[name for name, _ in images].index(missing[0])].name
        raise DatasetError(
            f"{len(missing)} of {counted(len(images), 'image')} without a mask in {folder}: "
            f"{_listing(missing)}",
            hint=f"the mask of {missing[0]} should be {wanted}, or give mask_suffix (--dataset-options)",
        )
    return masks


def _what_else(folder: Path) -> str:
    """What the files in a folder end in, the commonest first: ``, whose files end in .heic (12)``."""
    ends = Counter(Path(name).suffix.lower() for _, _, files in os.walk(folder) for name in files)
    listed = [f"{end} ({count})" for end, count in ends.most_common(_NAMED) if end]
    return f", whose files end in {', '.join(listed)}" if listed else ""


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def named_classes(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The option ``classes`` of a data set: names, or one ``.txt`` file with a name per line.

    Raises:
        UsageError: the file cannot be read, or holds no name.
    """
    if len(classes) != 1 or not classes[0].endswith(".txt"):
        return classes
    try:
        lines = read_regular_text(Path(classes[0])).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the class names in {classes[0]} cannot be read: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise UsageError(f"{classes[0]} holds no class names")
    return names


def _short_names(paths: Sequence[Path]) -> list[str]:
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    plain = [Path(os.path.abspath(path)) for path in paths]  # a ".." would lead out of the output folder
    shared = os.path.commonpath([path.parent for path in plain])
    return [path.relative_to(shared).as_posix() for path in plain]


def _fingerprint(files: Sequence[Path], *settings: object) -> str:
    """Changes when a file is added, removed or renamed, or when masks are read in another way."""
    content = [settings, [os.path.abspath(file) for file in files]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class FolderSource(DatasetSource[FolderOptions]):
    """A folder of images, with masks beside them or in a folder of their own."""

    hook_version = 2
    options = FolderOptions

    def accepts(self, location: str) -> Confidence:
        """Any folder; a source that knows its files is surer."""
        return Confidence.POSSIBLE if os.path.isdir(location) else Confidence.NO

    @hookimpl
    def load_dataset(self, request: LoadDatasetRequest[FolderOptions]) -> FolderDataset:
        """List the images; see :func:`segplug.hookspecs.load_dataset`."""
        return FolderDataset(Path(request.location), request.options)


provider = FolderSource()
