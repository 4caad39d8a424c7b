"""What a config of mmsegmentation 0.x says about a model, besides the network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from segplug.progress import Reporter
from segplug_mmseg.compat import import_mmseg, report_warnings
from segplug_mmseg.meta import ClassFacts, ConfigFacts, Head
from segplug_mmseg.pipeline.transforms import find_transform
from segplug_mmseg.v0.pipeline import data_settings, read_pipeline
from segplug_mmseg.values import colours, names

__all__ = ["class_facts", "palette_of_class", "read_facts"]


def read_facts(
    config: Any,
    *,
    head: Head,
    takes: Callable[[int], bool] = lambda _: False,
    approximate: bool = False,
    reporter: Reporter,
) -> ConfigFacts:
    """Read the test pipeline and the test data set's class.

    Args:
        config: The mmcv ``Config``, overrides merged.
        head: The network's input and output.
        takes: Whether the network runs with so many input channels; asked only where its first convolution
            and the test pipeline differ.
        approximate: Leave out what of the test pipeline cannot be expressed, and list it.
        reporter: Gets a warning for what the config does not say.

    Raises:
        ModelError: images do not fit the network, a setting cannot be read, or the test pipeline cannot be
            expressed.
    """
    preprocessing = read_pipeline(
        config, reporter, network=head.in_channels, takes=takes, approximate=approximate
    )
    dataset = class_facts(data_settings(config, "test"))
    return ConfigFacts(
        preprocessing=preprocessing,
        dataset=dataset,
        reduce_zero_label=_reduces_zero_label(config, dataset),
        test_cfg=config["model"].get("test_cfg") or config.get("test_cfg"),
    )


def class_facts(settings: Mapping[str, Any]) -> ClassFacts:
    """The classes, the colours and the zero label of a data set's class; its files need not be there.

    mmseg sets these before it looks for files. So the object is made with folders that do not exist, and
    read after its constructor has failed.
    """
    from mmseg.datasets import DATASETS

    name = str(settings.get("type", ""))
    kind = DATASETS.get(name) if name else None
    if kind is None:
        return ClassFacts(type=name, classes=names(settings.get("classes")))
    known = {key: settings[key] for key in ("classes", "palette", "reduce_zero_label") if key in settings}
    dataset = kind.__new__(kind)
    with contextlib.suppress(Exception), report_warnings():
        dataset.__init__(pipeline=[], img_dir="/nowhere/segplug", **known)
    return ClassFacts(
        type=name,
        classes=names(getattr(dataset, "CLASSES", None)),
        palette=colours(getattr(dataset, "PALETTE", None)),
        reduce_zero_label=getattr(dataset, "reduce_zero_label", None),
    )


def palette_of_class(name: str) -> tuple[tuple[int, int, int], ...]:
    """The colours of one of mmseg's data set classes; empty if it has none of that name."""
    import_mmseg()
    from mmseg.datasets import DATASETS

    return colours(getattr(DATASETS.get(name), "PALETTE", None))


def _reduces_zero_label(config: Any, dataset: ClassFacts) -> bool:
    """As the network was trained: from the training pipeline, else from the data set's class."""
    pipeline = data_settings(config, "train").get("pipeline") or config.get("train_pipeline")
    loader = find_transform(pipeline, "LoadAnnotations")
    if loader is not None:
        return bool(loader.get("reduce_zero_label", False))
    return bool(dataset.reduce_zero_label)
