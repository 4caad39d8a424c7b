"""Show the results of several engines on the same images side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.palette import Palette, label_colours
from segplug.runtime.display import DisplayWindow
from segplug.runtime.paint import Painter
from segplug.runtime.segment import Segmenter
from segplug.runtime.view import Viewer

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Engine

__all__ = ["show_side_by_side"]


def show_side_by_side(
    window: DisplayWindow,
    engines: Sequence[Engine],
    images: Iterable[tuple[str, npt.NDArray[Any]]],
    colours: Palette = (),
    bands: Sequence[int] | None = None,
) -> None:
    """Show each image once for every engine, from left to right, until a key is pressed.

    Args:
        window: The window to show them in.
        engines: The engines; the caller closes them.
        images: Names, and images ``(H, W, C)`` as the first engine's model decodes them.
        colours: RGB colours to use instead of the model's own.
        bands: The channels to show; see :class:`~segplug.runtime.view.Viewer`.
    """
    meta = engines[0].spec.meta
    segmenters = [Segmenter(engine) for engine in engines]
    view = Viewer(meta.decoding, bands, channels=meta.in_channels)
    labels = label_colours(
        (colours, meta.palette), meta.num_classes, meta.classes, multilabel=meta.multilabel
    )
    painter = Painter(labels.of_labels, unpainted=labels.unpainted)
    names = " | ".join(engine.spec.backend for engine in engines)
    try:
        for name, image in images:
            painted = [painter(view(image), _labels(segmenter, image)) for segmenter in segmenters]
            window.show(np.hstack(painted), f"{name}: {names}")
    finally:
        window.close()


def _labels(segmenter: Segmenter, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    (answer,) = segmenter([image])
    if isinstance(answer, Exception):
        raise answer
    return answer.labels
