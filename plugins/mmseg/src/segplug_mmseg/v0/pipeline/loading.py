"""The transform that loads images: mmseg's ``LoadImageFromFile``, or one of the user's own."""

from __future__ import annotations

from typing import Any

from segplug.preprocessing import Decoding
from segplug_mmseg.pipeline.decoding import LOADER, Loading, read_decoding
from segplug_mmseg.pipeline.transforms import transform_name

__all__ = ["is_mmsegs", "read_loader", "split_loader"]


def is_mmsegs(step: Any) -> bool:
    """Whether a transform is one of mmseg's own, and not one of the user's, even under the same name."""
    from mmseg.datasets import PIPELINES

    kind = step["type"] if isinstance(step, dict) else step
    kind = PIPELINES.get(kind) if isinstance(kind, str) else kind
    return str(getattr(kind, "__module__", "")).startswith("mmseg.datasets.pipelines.")


def split_loader(pipeline: Any) -> tuple[Any, list[Any]]:
    """The transform that loads images, and those after it.

    The first transform of a pipeline loads, unless it is one of mmseg's that does something else: then there
    is no loader, ``None``.
    """
    steps = list(pipeline)
    if not steps or (is_mmsegs(steps[0]) and transform_name(steps[0]) != LOADER):
        return None, steps
    return steps[0], steps[1:]


def read_loader(step: Any) -> Loading:
    """How the transform loads images; ``None``: there is none.

    Raises:
        ModelError: mmcv does not know its settings.
    """
    if step is None:
        return Loading()
    if not is_mmsegs(step):
        return Loading(Decoding(loader=transform_name(step)))
    return read_decoding(step, usual_backend=_global_backend())


def _global_backend() -> str:
    """What a config may have chosen with ``mmcv.use_backend``; ``imresize`` does not follow it."""
    from mmcv.image import io

    return str(io.imread_backend)
