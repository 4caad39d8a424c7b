"""The transform that loads images: mmcv's ``LoadImageFromFile``, another of mmseg's, or the user's own."""

from __future__ import annotations

from typing import Any

from segplug.errors import ModelError
from segplug.preprocessing import Decoding
from segplug_mmseg.pipeline.decoding import LOADER, Loading, read_decoding
from segplug_mmseg.v1.pipeline.transforms import build, is_theirs, name_of, transform_class

__all__ = ["read_loader", "split_loader"]

_REFUSED = {
    "LoadBiomedicalImageFromFile": "volumes",
    "LoadBiomedicalData": "volumes",
    "LoadMultipleRSImageFromFile": "two images for each sample",
}
"""Loaders of mmseg, and what they load: no single image."""


def split_loader(pipeline: Any) -> tuple[Any, list[Any]]:
    """The transform that loads images, and those after it.

    The first transform of a pipeline loads, unless it is one of mmseg's that does something else: then there
    is no loader, ``None``.
    """
    steps = list(pipeline)
    if not steps or (is_theirs(transform_class(steps[0])) and not _loads_images(name_of(steps[0]))):
        return None, steps
    return steps[0], steps[1:]


def _loads_images(name: str) -> bool:
    return name in ("InferencerLoader", *_REFUSED) or (name.startswith("Load") and "Image" in name)


def read_loader(step: Any) -> Loading:
    """How the transform loads images; ``None``: there is none.

    Raises:
        ModelError: it is in no registry, mmseg cannot build it, or it loads no single images.
    """
    if step is None:
        return Loading()
    kind, name = transform_class(step), name_of(step)
    if kind is None:
        raise ModelError(
            f"the test pipeline loads images with {name}, which no registry has",
            hint="name the module that registers it in custom_imports of the config",
        )
    if not is_theirs(kind):
        return Loading(Decoding(loader=name))
    if name in _REFUSED:
        raise ModelError(f"the test pipeline has {name}, which loads {_REFUSED[name]}, not one image")
    loader = build(step)
    if name != LOADER:
        return Loading(Decoding(loader=name))
    settings = {key: getattr(loader, key) for key in ("to_float32", "color_type", "imdecode_backend")}
    return read_decoding(settings, usual_backend=_global_backend())


def _global_backend() -> str:
    """What a config may have chosen with ``mmcv.use_backend``; ``imresize`` does not follow it."""
    from mmcv.image import io

    return str(io.imread_backend)
