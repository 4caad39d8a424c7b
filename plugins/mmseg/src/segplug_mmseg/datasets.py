"""``load_dataset mmseg``: the test data of an mmsegmentation config, read as mmsegmentation reads them.

The classes of mmseg list the files, and read them where the config does so in a special way. Images of a
usual ``LoadImageFromFile`` and index masks are read by segplug's runtime: equal arrays, and clear errors.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.dataset import DatasetInfo
from segplug.errors import DatasetError
from segplug.hookspecs import hookimpl
from segplug.options import NoOptions
from segplug.providers import Confidence, DatasetSource
from segplug_mmseg.explain import explained
from segplug_mmseg.generation import installed_generation
from segplug_mmseg.recognise import DATA, confidence

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Decoding
    from segplug.requests import LoadDatasetRequest
    from segplug_mmseg.generation import Part

__all__ = ["MmsegDataset", "provider"]


class MmsegDataset:
    """A data set of mmsegmentation, or several one after the other. Any thread may read it."""

    def __init__(self, parts: list[Part], info: DatasetInfo) -> None:
        self._info = info
        self._samples = [(part, index) for part in parts for index in part.indices()]
        self._prefix = {id(part): f"{number}/" for number, part in enumerate(parts)} if parts[1:] else {}

    @property
    def info(self) -> DatasetInfo:
        """Constant for the data set's life."""
        return self._info

    def __len__(self) -> int:
        return len(self._samples)

    def name(self, index: int) -> str:
        """The image's path in its folder; with the part's number before it where there are several parts."""
        part, inner = self._samples[index]
        return self._prefix.get(id(part), "") + part.name(inner)

    def image_path(self, index: int) -> Path:
        """The file of the image."""
        part, inner = self._samples[index]
        return part.image_path(inner)

    def mask_path(self, index: int) -> Path | None:
        """The file of the mask; ``None``: there is none."""
        part, inner = self._samples[index]
        return part.mask_path(inner)

    def read_image(self, index: int, decoding: Decoding) -> npt.NDArray[Any]:
        """The image, ``(H, W, C)``.

        Args:
            index: Its index.
            decoding: How the file is decoded. Ignored where the config has a loader of the user's own or
                reads from another place than the disk: the image is what that loader gives then, of any type.
        """
        part, inner = self._samples[index]
        return part.read_image(inner, decoding)

    def read_mask(self, index: int) -> npt.NDArray[Any]:
        """The labels that mmseg scores against, uint8 ``(H, W)``; uint16 where there are more than 256."""
        part, inner = self._samples[index]
        return part.read_mask(inner)


class MmsegDatasets(DatasetSource[NoOptions]):
    """Opens the test data of an mmsegmentation config: data.test of 0.x, test_dataloader of 1.x.

    Images and masks are read, and labels mapped, as the installed mmsegmentation scores them.
    """

    hook_version = 2

    def accepts(self, location: str) -> Confidence:
        """Likely for a config with test data or a base; the file is parsed, and does not run."""
        return confidence(location, DATA)

    def palette(self, name: str) -> tuple[tuple[int, int, int], ...]:
        """The colours of one of mmseg's data set classes; empty if it has none of that name."""
        return installed_generation().palette_of_class(name)

    @hookimpl
    def load_dataset(self, request: LoadDatasetRequest[NoOptions]) -> MmsegDataset:
        """List the files of the test data."""
        with explained(DatasetError, f"cannot open the test data of {request.location}"):
            return self._load(request)

    def _load(self, request: LoadDatasetRequest[NoOptions]) -> MmsegDataset:
        generation = installed_generation()
        config = generation.read_config(request.location, request.cfg_options, reporter=request.reporter)
        parts, separate = generation.open_parts(config, request.location, request.reporter)
        return MmsegDataset(parts, _info(parts, separate))


def _info(parts: list[Part], separate: bool) -> DatasetInfo:
    first = parts[0]
    if not isinstance(first.ignore_index, int):
        raise DatasetError(f"{first.setting}.ignore_index must be a label, not {first.ignore_index!r}")
    for part in parts[1:]:
        if part.classes != first.classes or part.ignore_index != first.ignore_index:
            raise DatasetError(f"the data sets of {first.setting} have different classes or ignore_index")
    sizes = tuple((part.title, len(list(part.indices()))) for part in parts)
    return DatasetInfo(
        name=sizes[0][0] if len(parts) == 1 else f"{len(parts)} data sets",
        classes=first.classes,
        palette=first.palette if len(first.palette) == len(first.classes) else (),
        ignore_index=first.ignore_index,
        has_masks=all(part.has_masks for part in parts),
        masks_hint=next((part.masks_hint for part in parts if not part.has_masks), None),
        parts=sizes if separate else (),
        label_format=first.label_format,
        nan_to_num=first.nan_to_num,
        beta=first.beta,
        fingerprint=_fingerprint(parts),
        reduces_zero_label=any(part.reduces_zero_label for part in parts),
    )


def _fingerprint(parts: list[Part]) -> str:
    """A hash of every sample's name and of all that changes how images and masks are read.

    It says nothing of the content of the files: a resumed run checks that itself.
    """
    content = [part.describe() for part in parts]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=repr).encode()).hexdigest()


provider = MmsegDatasets()
