"""The resize of a processor: which size, with which filter."""

from __future__ import annotations

from typing import Literal

from segplug.preprocessing import Resize
from segplug_transformers.processor.settings import Settings
from segplug_transformers.processor.sizes import SizeRule

__all__ = ["resize_by", "resize_like_dpt"]

Filter = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]

_FILTERS: tuple[Filter, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""The filters by Pillow's numbers."""
_TORCHVISION = ("nearest", "lanczos", "bilinear", "bicubic")
"""Those that torchvision has for arrays."""


def resize_by(
    settings: Settings, size: SizeRule, *, multiple_of: int | None = None, needs_longest: bool = False
) -> Resize:
    """Resize to a size of transformers.

    Args:
        settings: The settings.
        size: The named edges.
        multiple_of: Both edges are raised to multiples of this.
        needs_longest: Whether the processor takes a short edge only together with a long one.

    Raises:
        ModelError: the processor does not take such a size, or has no such filter.
    """
    algorithm, filter_ = _algorithm(settings), _filter(settings)
    match size:
        case {"height": height, "width": width}:
            return Resize((width, height), multiple_of=multiple_of, algorithm=algorithm, filter=filter_)
        case {"max_height": height, "max_width": width}:
            return Resize(
                (width, height),
                fit="inside",
                rounding="down",
                multiple_of=multiple_of,
                algorithm=algorithm,
                filter=filter_,
            )
        case {"shortest_edge": shortest} if "longest_edge" in size or not needs_longest:
            return Resize(
                (shortest, shortest),
                fit="shortest",
                rounding="down",
                max_size=size.get("longest_edge"),
                multiple_of=multiple_of,
                algorithm=algorithm,
                filter=filter_,
            )
    raise settings.refusal(
        f"{settings.processor.name} does not resize to {' and '.join(sorted(size)) or 'no size'}",
        hint="""--cfg-options 'preprocessor.size={"height": 512, "width": 512}', for example""",
    )


def resize_like_dpt(settings: Settings, size: SizeRule) -> Resize:
    """Resize as the processor of DPT does: to multiples, and with the ratio kept if it is told so.

    Raises:
        ModelError: the size has no height and width, or there is no such filter or multiple.
    """
    if "height" not in size or "width" not in size:
        raise settings.refusal(f"{settings.processor.name} needs a size with height and width")
    multiple = settings.whole("ensure_multiple_of")
    if multiple is None or multiple < 1:
        raise settings.refusal(f"ensure_multiple_of is {multiple}, not a number of pixels")
    keeps_ratio = settings.flag("keep_aspect_ratio")
    if multiple == 1 and not keeps_ratio:
        return resize_by(settings, size)
    return Resize(
        (size["width"], size["height"]),
        fit="closest" if keeps_ratio else "exact",
        multiple_of=multiple,
        multiple="nearest",
        algorithm=_algorithm(settings),
        filter=_filter(settings),
    )


def _algorithm(settings: Settings) -> Literal["pillow", "torchvision"]:
    if settings.backend == "torchvision":
        return "torchvision"
    if settings.channels not in (1, 3):
        raise settings.refusal(
            f"the processor that uses Pillow resizes images with 1 or 3 channels as they are, not with "
            f"{settings.channels}",
            hint="read it as the processor that uses torchvision does: --processor torchvision",
        )
    return "pillow"


def _filter(settings: Settings) -> Filter:
    value = settings.get("resample")
    if isinstance(value, str):
        name = value.rsplit(".", 1)[-1].lower()
        number = _FILTERS.index(name) if name in _FILTERS else 2
        raise settings.refusal(
            f"resample is {value!r}, but transformers takes numbers: it reads names as bilinear, or stops",
            hint=f"--cfg-options preprocessor.resample={number}, which is {_FILTERS[number]}",
        )
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(_FILTERS):
        raise settings.refusal(f"resample is {value!r}, not a number from 0 to {len(_FILTERS) - 1}")
    name = _FILTERS[value]
    if settings.backend == "torchvision" and name not in _TORCHVISION:
        raise settings.refusal(
            f"resample is {value}, the filter {name}, which torchvision does not have for arrays",
            hint="read it as the processor that uses Pillow does: --processor pil",
        )
    return name
