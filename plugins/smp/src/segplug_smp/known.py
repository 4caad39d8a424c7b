"""What the weights of an encoder were trained with: means and deviations of RGB pixels, as a share of 255."""

from __future__ import annotations

from dataclasses import dataclass

from segplug_smp.construct import TIMM

__all__ = ["Colours", "colours_of"]

Three = tuple[float, float, float]

_IMAGENET: tuple[Three, Three] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_INCEPTION: tuple[Three, Three] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_DPN: tuple[Three, Three] = ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)


@dataclass(frozen=True)
class Colours:
    """How the pixels of a colour image are normalised, in 8-bit units."""

    mean: Three
    std: Three
    source: str
    """Whose numbers they are, in a few words."""


def colours_of(encoder: str, weights: object) -> Colours:
    """What smp's ``get_preprocessing_params`` says of an encoder and of the weights that it began with.

    Where no weights are named, those are meant that it names ``imagenet``, or the first that it has.

    Args:
        encoder: ``encoder_name`` of a network.
        weights: Its ``encoder_weights``.
    """
    if encoder.startswith(TIMM):
        return _of_timm(encoder.removeprefix(TIMM))
    # Those with "timm-" are smp's own here: it said ImageNet's of them, also where timm says otherwise.
    kind = weights if isinstance(weights, str) else "imagenet"
    mean, std = _IMAGENET
    if encoder.startswith(("inception", "xception")) or kind == "advprop" or encoder.startswith("timm-tf_"):
        mean, std = _INCEPTION
    elif encoder.startswith("dpn"):
        mean, std = _DPN
    return _scaled(mean, std, f"the encoder {encoder} ({kind})")


def _of_timm(name: str) -> Colours:
    import timm

    settings = timm.get_pretrained_cfg(name)
    if settings is None or not settings.has_weights or len(settings.mean) != 3:
        return _scaled(*_IMAGENET, "ImageNet")
    return _scaled(settings.mean, settings.std, f"timm's {settings.architecture}.{settings.tag}")


def _scaled(mean: tuple[float, ...], std: tuple[float, ...], source: str) -> Colours:
    red, green, blue = (value * 255 for value in mean)
    deviations = tuple(value * 255 for value in std)
    return Colours((red, green, blue), (deviations[0], deviations[1], deviations[2]), source)
