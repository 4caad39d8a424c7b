"""EoMT's windows: square, as many as cover the long edge, and evenly spread. Its padding, too."""

from __future__ import annotations

from segplug.model import Inference
from segplug.preprocessing import Step
from segplug_transformers.processor.areas import pad_to
from segplug_transformers.processor.settings import Settings
from segplug_transformers.processor.sizes import usual_size

__all__ = ["eomt_inference", "eomt_padding", "eomt_window"]


def eomt_window(settings: Settings) -> int:
    """The edge of the square that the network takes.

    Raises:
        ModelError: the size is none that EoMT's post-processing takes.
    """
    size = usual_size(settings)
    shortest, longest = size.get("shortest_edge"), size.get("longest_edge")
    if shortest is None:
        raise settings.refusal("EoMT needs a size with shortest_edge")
    if settings.flag("do_split_image"):
        if longest is not None or not settings.flag("do_resize"):
            raise settings.refusal(
                "do_split_image needs do_resize, and a size without longest_edge: transformers cannot join "
                "the windows of other images",
                hint="--cfg-options preprocessor.size.longest_edge=null",
            )
    elif longest not in (None, shortest):
        raise settings.refusal(
            f"EoMT takes squares, but size is {shortest} to {longest}",
            hint=f"--cfg-options preprocessor.size.longest_edge={shortest}",
        )
    return shortest


def eomt_padding(settings: Settings) -> tuple[Step, ...]:
    """Zeros at the bottom and right up to the square. A window is a square without."""
    if not settings.flag("do_pad") or settings.flag("do_split_image"):
        return ()
    edge = eomt_window(settings)
    return (pad_to((edge, edge)),)


def eomt_inference(settings: Settings) -> Inference:
    """Windows if the processor splits images, else the whole image."""
    edge = eomt_window(settings)
    if settings.flag("do_split_image"):
        return Inference("slide", crop_size=(edge, edge), placement="even")
    return Inference()
