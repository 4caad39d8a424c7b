"""``model.data_preprocessor``: channel order, normalisation and padding in float32, after the pipeline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from segplug.errors import ModelError
from segplug.preprocessing import ChannelOrder, Convert, Normalize, Pad, Step
from segplug.progress import Reporter
from segplug_mmseg.compat import report_warnings
from segplug_mmseg.explain import explained
from segplug_mmseg.pipeline.missing import Missing
from segplug_mmseg.pipeline.normalising import per_channel
from segplug_mmseg.pipeline.numbers import values
from segplug_mmseg.values import is_list, type_name

__all__ = ["DataPreprocessor", "read_data_preprocessor"]

_MMSEGS = "mmseg.models.data_preprocessor.SegDataPreProcessor"
_MMENGINES = "mmengine.model.base_model.data_preprocessor.ImgDataPreprocessor"
_MMDETS = "mmdet.models.data_preprocessors.data_preprocessor.DetDataPreprocessor"
_NOTHING = "mmengine.model.base_model.data_preprocessor.BaseDataPreprocessor"
_SETTINGS = ("mean", "std", "bgr_to_rgb", "rgb_to_bgr", "pad_val", "test_cfg")
"""Of mmseg's, those that change a test image."""


@dataclass(frozen=True)
class DataPreprocessor:
    """What happens to a test image after the pipeline."""

    mean: Any = None
    """Numbers, or a tensor; ``None``: images are not normalised."""
    std: Any = None
    swaps: bool = False
    """Whether the first and the third of three channels change places."""
    size: tuple[int, int] | None = None
    """(height, width) to pad to."""
    divisor: int | None = None
    """A number to whose multiples is padded."""
    pad_value: float = 0.0
    cuts: bool = True
    """Whether the padding is cut from the output."""
    notes_size: bool = False
    """Whether mmseg gives the scores the size of its result."""
    only_three: bool = False
    """Whether other numbers of channels than three cannot be swapped."""

    @property
    def pads(self) -> bool:
        """Whether images may be padded."""
        return self.size is not None or self.divisor is not None

    def normalised(self) -> Iterator[int]:
        """The number of means and of deviations; one alone counts for any number of channels."""
        for given in (self.mean, self.std):
            if given is not None and len(values(given)) != 1:
                yield len(values(given))

    def steps(self, channels: int) -> tuple[Step, ...]:
        """The steps for images of so many channels.

        Raises:
            ModelError: the mean or the std cannot be used, or mmseg cannot swap so many channels.
        """
        steps: list[Step] = []
        if self.swaps and channels == 3:
            steps.append(ChannelOrder((2, 1, 0)))
        elif self.swaps and self.only_three:
            raise ModelError(
                f"the data_preprocessor swaps the colours of images of {channels} channels, which mmengine "
                "cannot",
                hint="set bgr_to_rgb=False, or use SegDataPreProcessor",
            )
        if self.mean is not None:
            mean, std = (
                per_channel(given, name, channels) for given, name in ((self.mean, "mean"), (self.std, "std"))
            )
            steps.append(Normalize(mean, std, arithmetic="division"))
        if self.pads:
            value = (self.pad_value,) * channels if self.pad_value else ()
            if value and self.mean is None:
                steps.append(Convert())  # else the value would be rounded to an integer image's type
            steps.append(Pad(size=self.size, divisor=self.divisor, value=value, cut=self.cuts))
        return tuple(steps)


def read_data_preprocessor(
    config: Any, missing: Missing, reporter: Reporter, *, for_views: bool = False
) -> DataPreprocessor:
    """Read ``model.data_preprocessor``, or ``data_preprocessor`` of the config, which stands in for it.

    Args:
        config: The config.
        missing: Gets one of another class than mmseg's, mmengine's and mmdet's.
        reporter: Gets a warning if there is none.
        for_views: Read the one of the ``tta_model``, or of the config, which mmengine puts in place of the
            model's where it augments test images.

    Raises:
        ModelError: mmseg cannot build it, or it pads as segplug does not.
    """
    settings = _settings(config, "model")
    if for_views and (replacement := _settings(config, "tta_model")) is not None:
        settings = replacement
    if not settings:
        reporter.warn("the config has no data_preprocessor: images are not normalised")
        return DataPreprocessor()
    built = _build(settings)
    kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(built).__mro__]
    if kinds[0] == _NOTHING:
        return DataPreprocessor()
    if kinds[0] == _MMSEGS:
        return _of_mmseg(built, settings)
    if kinds[0] in (_MMENGINES, _MMDETS):
        return _of_mmengine(built, settings, missing, notes_size=kinds[0] == _MMDETS)
    name = type(built).__name__
    missing.note(
        f"is followed by the data_preprocessor {name}, which segplug cannot do as mmseg does",
        f"the data_preprocessor {name} is taken as mmseg's own, SegDataPreProcessor",
    )
    known = {key: settings[key] for key in _SETTINGS if key in settings}
    return _of_mmseg(_build({"type": "mmseg.SegDataPreProcessor", **known}), known)


def _settings(config: Any, key: str) -> Any:
    """The ``data_preprocessor`` that mmengine's Runner gives to the model of this key."""
    model = config.get(key) or {}
    return (model if "data_preprocessor" in model else config).get("data_preprocessor")


def _build(settings: Any) -> Any:
    from mmseg.registry import MODELS

    if not isinstance(settings, Mapping):
        return settings  # a module that the config's own code has built
    # Its augmentations of batches are for the training, and need not be installed.
    kept = {key: value for key, value in settings.items() if key != "batch_augments"}
    what = f"mmseg cannot build the data_preprocessor {type_name(settings.get('type'))}"
    with explained(ModelError, what), report_warnings():
        return MODELS.build(kept)


def _of_mmseg(built: Any, settings: Any) -> DataPreprocessor:
    swaps = getattr(built, "channel_conversion", getattr(built, "_channel_conversion", False))
    size, divisor = _test_padding(built.test_cfg)
    return DataPreprocessor(
        **_normalisation(built, settings),
        swaps=bool(swaps),
        size=size,
        divisor=divisor,
        pad_value=_number(built.pad_val),
        notes_size=bool(built.test_cfg),
    )


def _test_padding(settings: Any) -> tuple[tuple[int, int] | None, int | None]:
    """Size and divisor of ``test_cfg``; ``size`` and ``size_divisor`` beside it are for the training."""
    if not settings:
        return None, None
    size, divisor = settings.get("size"), settings.get("size_divisor")
    if (size is None) == (divisor is None):
        raise ModelError(
            f"test_cfg of the data_preprocessor is {dict(settings)}; mmseg takes either size or size_divisor"
        )
    if size is not None:
        if not is_list(size) or len(size) != 2:
            raise ModelError(f"test_cfg.size of the data_preprocessor is {size!r}, not (height, width)")
        return (_edge(size[0]), _edge(size[1])), None
    return None, _edge(max(divisor, 1))


def _edge(value: Any) -> int:
    if int(value) != value or value < 1:
        raise ModelError(f"test_cfg of the data_preprocessor has {value!r}, which is no number of pixels")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    raise ModelError(f"the data_preprocessor pads with {value!r}, which is no finite number")


def _of_mmengine(built: Any, settings: Any, missing: Missing, *, notes_size: bool) -> DataPreprocessor:
    """``ImgDataPreprocessor``, or mmdet's, which also notes the size that it pads to."""
    divisor = _edge(built.pad_size_divisor)
    if divisor > 1 and not notes_size:
        missing.note(
            "is followed by ImgDataPreprocessor with a pad_size_divisor, and mmseg squeezes the scores of "
            "the padded image into the size before",
            "the padding of ImgDataPreprocessor is cut from the scores",
        )
    return DataPreprocessor(
        **_normalisation(built, settings),
        swaps=bool(built._channel_conversion),
        divisor=divisor if divisor > 1 else None,
        pad_value=_number(built.pad_value),
        cuts=not notes_size,
        notes_size=notes_size,
        only_three=True,
    )


def _normalisation(built: Any, settings: Any) -> dict[str, Any]:
    if not built._enable_normalize:
        return {}
    if isinstance(settings, Mapping):  # as it is written, not rounded to float32
        return {"mean": settings["mean"], "std": settings["std"]}
    return {"mean": built.mean.flatten(), "std": built.std.flatten()}
