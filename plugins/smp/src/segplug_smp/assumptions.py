"""What a folder of smp does not say: what is assumed of it, with one line that names it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from segplug_torch.undescribed.metadata import Known

from segplug.model_folder import model_name
from segplug.preprocessing import Pad, Resize
from segplug_smp.folder import MODEL_CLASS, Folder
from segplug_smp.known import colours_of
from segplug_smp.transform import TRANSFORM

if TYPE_CHECKING:
    from segplug.requests import LoadModelRequest
    from segplug_smp.options import Options
    from segplug_smp.transform import Transform

__all__ = ["assume"]


def assume(
    request: LoadModelRequest[Options],
    folder: Folder,
    transform: Transform | None,
    *,
    channels: int,
    only: tuple[int, int] | None,
    step: int,
) -> Known:
    """What is known of a network; the reporter gets one line with what of it is assumed.

    Args:
        request: Its options leave nothing to assume of what they say.
        folder: The network's.
        transform: The transform in the folder; ``None``: it has none.
        channels: Of the images.
        only: The (height, width) that the network takes, if that is one; else ``None``.
        step: What height and width have to be multiples of.
    """
    options = request.options
    assumed: list[str] = []
    mean, std = _colours(options, folder, transform, channels, assumed)
    resize, pad = (transform.resize, transform.pad) if transform else (None, None)
    size = only or (transform.size if transform else None)
    fitted = options.resize or options.crop_size or (transform and transform.resize)
    if only is not None and not fitted:
        resize = Resize(scale=(only[1], only[0]))
        assumed.append(
            f"images are resized to {only[0]}x{only[1]} (height x width), the only size that the network "
            "takes (--resize, --crop-size)"
        )
    elif only is None and step > 1 and options.pad_divisor is None and not _fits(size, pad, step):
        if pad is None:
            pad = Pad(divisor=step)
            assumed.append(
                f"images are padded at the bottom and right to multiples of {step}, with 0 after the "
                "normalisation (--pad-divisor)"
            )
        elif pad.divisor is not None:  # where and with what it pads is the transform's
            pad = replace(pad, divisor=math.lcm(pad.divisor, step))
            size = None if transform is None else replace(transform, pad=pad).size
            assumed.append(f"images are padded to multiples of {pad.divisor} (--pad-divisor)")
        # Else it pads to a least size: of other sizes the network refuses an image, as it does in smp.
    if assumed:
        missing = "the folder does not say how images are prepared"
        if transform is not None:
            missing = f"{TRANSFORM} does not give what the network needs"
        request.reporter.warn(f"{missing}; assumed: {'; '.join(assumed)}")
    return Known(
        name=model_name(folder.path),
        in_channels=channels,
        mean=mean,
        std=std,
        resize=resize,
        pad=pad,
        input_size=size,
        config_file=folder.config_file,
        checkpoint=None if folder.weights is None else str(folder.weights),
        distributions=("segplug-smp", "segmentation-models-pytorch", "timm"),
        extra={"smp": {MODEL_CLASS: folder.architecture, "arguments": dict(folder.arguments)}},
    )


def _colours(
    options: Options, folder: Folder, transform: Transform | None, channels: int, assumed: list[str]
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """The mean and the deviation of each channel; ``None``: the user gives it, or pixels are as they are."""
    if transform is not None:
        return transform.mean, transform.std
    if channels != 3 or (options.mean is not None and options.std is not None):
        return None, None
    colours = colours_of(str(folder.arguments["encoder_name"]), folder.arguments.get("encoder_weights"))
    found = {"mean": colours.mean, "std": colours.std}
    named = [name for name in found if getattr(options, name) is None]
    assumed.append(
        f"pixels are RGB with {' and '.join(f'{name} {_numbers(found[name])}' for name in named)}, "
        f"{'those' if len(named) > 1 else 'that'} of {colours.source} (--mean, --std)"
    )
    return colours.mean, colours.std


def _fits(size: tuple[int, int] | None, pad: Pad | None, step: int) -> bool:
    """Whether the transform gives sizes that the network takes."""
    if pad is not None and pad.divisor is not None:
        return pad.divisor % step == 0
    return size is not None and not any(edge % step for edge in size)


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
