"""Read the whole test pipeline of a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segplug.errors import ModelError
from segplug.preprocessing import Convert, Decoding, Step
from segplug.progress import Reporter
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.explain import one_line
from segplug_mmseg.pipeline.channels import find_channels, normalised_channels
from segplug_mmseg.pipeline.decoding import Loading
from segplug_mmseg.pipeline.missing import Missing
from segplug_mmseg.pipeline.preprocessing import Preprocessing
from segplug_mmseg.pipeline.transforms import transform_name
from segplug_mmseg.v0.pipeline.augmentation import View, read_views
from segplug_mmseg.v0.pipeline.loading import read_loader, split_loader
from segplug_mmseg.v0.pipeline.settings import test_pipelines
from segplug_mmseg.v0.pipeline.translation import Translation, has_no_effect

__all__ = ["read_pipeline"]

_AUGMENTATION = "MultiScaleFlipAug"


def read_pipeline(
    config: Any,
    reporter: Reporter,
    *,
    network: int | None = None,
    takes: Callable[[int], bool] = lambda _: False,
    approximate: bool = False,
) -> Preprocessing:
    """Read ``data.test.pipeline`` (or ``test_pipeline``) of a config.

    Args:
        config: The mmcv ``Config``, or a dict.
        reporter: Gets a warning where the config has no test pipeline.
        network: Input channels of the network's first convolution; ``None``: it has none.
        takes: Whether the network runs with so many channels.
        approximate: Leave out what cannot be expressed, and list it.

    Raises:
        ModelError: a transform cannot be expressed or its values cannot be read, mmseg fails with it, or the
            network does not take such images.
    """
    import_mmseg()
    missing = Missing(approximate)
    try:
        loading, transforms = _find(config, network, missing, reporter)
        channels = find_channels(loading, normalised_channels(transforms), network, takes)
        plain, views = _translate(transforms, channels, missing)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ModelError(f"the test pipeline of the config cannot be read: {one_line(error)}") from error
    first: tuple[Step, ...] = (Convert(),) if loading.to_float32 else ()
    steps = (*first, *plain)
    tta = tuple((*first, *view) for view in views)
    return Preprocessing(
        in_channels=channels,
        decoding=loading.decoding or Decoding.for_channels(channels),
        steps=steps,
        tta=() if all(view == steps for view in tta) else tta,
        approximations=missing.lines,
    )


def _find(
    config: Any, network: int | None, missing: Missing, reporter: Reporter
) -> tuple[Loading, list[Any]]:
    """How images are loaded, and the transforms after that."""
    pipelines = test_pipelines(config)
    if not pipelines:
        normalise = config.get("img_norm_cfg")
        how = "normalised as img_norm_cfg says" if isinstance(normalise, dict) else "not normalised"
        reporter.warn(f"the config has no test pipeline: images are {how}, and fed at their own size")
        return Loading(), [{"type": "Normalize", **normalise}] if isinstance(normalise, dict) else []
    if any(repr(other) != repr(pipelines[0]) for other in pipelines[1:]):
        missing.note(
            "is not the same for all data sets of data.test",
            "the first pipeline of data.test is used for all its data sets",
        )
    loader, transforms = split_loader(pipelines[0])
    return read_loader(loader), transforms


def _translate(
    transforms: list[Any], channels: int, missing: Missing
) -> tuple[tuple[Step, ...], list[tuple[Step, ...]]]:
    """The steps without augmentation, and those of each view."""
    names = [transform_name(transform) for transform in transforms]
    if _AUGMENTATION not in names:
        return _steps(Translation(channels, missing), transforms), []
    place = names.index(_AUGMENTATION)
    before, augmentation, after = transforms[:place], transforms[place], transforms[place + 1 :]
    for transform in after:  # mmseg has a list of images there, which only packing can take
        if not has_no_effect(transform):
            missing.leave_out(f"{transform_name(transform)} after {_AUGMENTATION}")
    plain, views = read_views(augmentation, missing)

    def steps_of(view: View) -> tuple[Step, ...]:
        translation = Translation(channels, missing)
        _steps(translation, before)
        translation.enter(view)
        return _steps(translation, augmentation["transforms"])

    steps = {view: steps_of(view) for view in dict.fromkeys((plain, *views))}
    return steps[plain], [steps[view] for view in views]


def _steps(translation: Translation, transforms: list[Any]) -> tuple[Step, ...]:
    for transform in transforms:
        translation.add(transform)
    return tuple(translation.steps)
