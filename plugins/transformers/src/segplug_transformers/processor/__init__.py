"""The settings of an image processor as segplug's preprocessing.

``preprocessor_config.json`` is read as data; no processor is made. Each processor exists in two forms, one
that uses Pillow and one that uses torchvision, whose numbers differ: the caller says which is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from segplug.errors import ModelError
from segplug.model import Inference
from segplug.preprocessing import Crop, Decoding, Pad, Step, find_steps
from segplug.runtime.sizes import plan_sizes
from segplug_transformers.architectures import Architecture
from segplug_transformers.folder import Folder
from segplug_transformers.options import Backend
from segplug_transformers.processor.colours import channels_of, decoding_for
from segplug_transformers.processor.keys import check_keys, reduces_labels
from segplug_transformers.processor.naming import find_class
from segplug_transformers.processor.recipes import RECIPES
from segplug_transformers.processor.settings import Settings
from segplug_transformers.processor.windows import eomt_inference, eomt_window

__all__ = ["Processing", "channels_of", "read"]

_SHAPES = ((480, 640), (640, 480), (512, 512), (97, 1501), (1501, 97), (1031, 1033), (33, 20))
"""Images whose sizes show whether steps give one size to all."""


@dataclass(frozen=True)
class Processing:
    """How a network of transformers gets its images."""

    processor: str
    """The class, without ``Pil``."""
    backend: Backend
    """Whose numbers the steps give."""
    decoding: Decoding
    steps: tuple[Step, ...]
    input_size: tuple[int, int] | None
    """(height, width), if all images get one size; of a window, if images are cut into windows."""
    inference: Inference
    window: int | None
    """The edge of EoMT's square, for its windows and for whole images; ``None`` for all other networks."""
    reduce_zero_label: bool
    notes: tuple[str, ...]
    """What a user may not expect, one sentence each."""


def read(folder: Folder, architecture: Architecture, backend: Backend) -> Processing:
    """Translate the settings of a folder's processor.

    Args:
        folder: The folder; ``folder.processor`` has the settings.
        architecture: The class of the network.
        backend: Whose numbers are wanted. A processor that only torchvision has gives torchvision's.

    Raises:
        ModelError: the folder has no processor, or its settings cannot be followed; the message names the
            setting.
    """
    if folder.processor is None or folder.processor_file is None:
        raise ModelError(
            f"{folder.path} has no preprocessor_config.json: nothing says how images are prepared",
            hint="save the processor of its training into it: "
            f"{architecture.processor}(...).save_pretrained({str(folder.path)!r})",
        )
    place = folder.processor_file.name
    processor = find_class(folder.processor, folder.config, architecture, place)
    effective: Backend = backend if processor.has_pil else "torchvision"
    settings = Settings(processor, effective, folder.processor, place, channels_of(folder.config))
    is_eomt = processor.name == "EomtImageProcessor"
    window = eomt_window(settings) if is_eomt else None
    steps = RECIPES[processor.name](settings)
    return Processing(
        processor=processor.name,
        backend=effective,
        decoding=decoding_for(settings.channels),
        steps=steps,
        input_size=_one_size(steps) if window is None else (window, window),
        inference=eomt_inference(settings) if is_eomt else Inference(),
        window=window,
        reduce_zero_label=reduces_labels(settings),
        notes=(*check_keys(settings), *_notes(settings, steps, backend)),
    )


def _one_size(steps: tuple[Step, ...]) -> tuple[int, int] | None:
    sizes = {plan_sizes(steps, shape).geometry.network for shape in _SHAPES}
    return sizes.pop() if len(sizes) == 1 else None


def _notes(settings: Settings, steps: tuple[Step, ...], wanted: Backend) -> tuple[str, ...]:
    notes = []
    if wanted != settings.backend:
        notes.append(f"{settings.processor.name} has no form that uses Pillow: the numbers are torchvision's")
    if find_steps(steps, Crop):
        notes.append(
            "the processor cuts out the centre of an image; as in transformers, the result is stretched over "
            "the whole image"
        )
    if find_steps(steps, Pad):
        notes.append(
            "the processor pads images; as in transformers, the result with its padding is stretched over "
            "the image"
        )
    if settings.processor.name == "EomtImageProcessor" and not (
        settings.flag("do_split_image") or settings.flag("do_pad")
    ):
        notes.append("the processor neither splits nor pads images: transformers takes square ones only")
    return tuple(notes)
