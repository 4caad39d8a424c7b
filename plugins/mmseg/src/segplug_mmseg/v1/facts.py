"""What a config of mmsegmentation 1.x says about a model, besides the network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from segplug.progress import Reporter
from segplug_mmseg.compat import import_mmseg, report_warnings
from segplug_mmseg.meta import ClassFacts, ConfigFacts, Head
from segplug_mmseg.v1.pipeline import data_sets, read_pipeline, split_data, test_data
from segplug_mmseg.v1.pipeline.transforms import name_of
from segplug_mmseg.v1.scopes import data_set_class, default_scope
from segplug_mmseg.values import colours, is_list, names, type_name

__all__ = ["class_facts", "palette_of_class", "read_facts"]


def read_facts(
    config: Any,
    *,
    head: Head,
    takes: Callable[[int], bool] = lambda _: False,
    approximate: bool = False,
    reporter: Reporter,
) -> ConfigFacts:
    """Read the test pipeline, the data preprocessor and the test data set's class.

    Args:
        config: The mmengine ``Config``, overrides merged.
        head: The network's input and output.
        takes: Whether the network runs with so many input channels; asked only where its first convolution
            and the test pipeline differ.
        approximate: Leave out what of the preprocessing cannot be expressed, and list it.
        reporter: Gets a warning for what the config does not say.

    Raises:
        ModelError: images do not fit the network, a setting cannot be read, or the preprocessing cannot be
            expressed.
    """
    preprocessing = read_pipeline(
        config,
        reporter,
        network=head.in_channels,
        takes=takes,
        out_channels=head.out_channels,
        approximate=approximate,
    )
    if (config.get("test_cfg") or {}).get("fp16"):
        reporter.warn(
            "test_cfg.fp16: mmengine tests the network in half precision, segplug runs it in float32"
        )
    scope = config.get("default_scope") or "mmseg"
    dataset = class_facts(test_data(config), scope)
    return ConfigFacts(
        preprocessing=preprocessing,
        dataset=dataset,
        reduce_zero_label=_reduces_zero_label(config, dataset, scope),
        test_cfg=config["model"].get("test_cfg"),
    )


def class_facts(settings: Any, scope: str = "mmseg") -> ClassFacts:
    """The classes, the colours and the zero label of a data set's class; its files need not be there.

    mmseg sets these before it looks for files. So the object is made with folders that do not exist, and
    read after its constructor has failed. Of a wrapper around several data sets, the first counts.

    Args:
        settings: Those of a data set, or of a wrapper.
        scope: Where mmengine looks for the class first.
    """
    settings = next(data_sets(settings), {})
    given, kind = settings.get("metainfo"), settings.get("type", "")
    name = type_name(kind)
    if isinstance(kind, str) and kind:
        with default_scope(settings.get("_scope_") or scope):
            kind = data_set_class(kind)
    if not isinstance(kind, type):
        return ClassFacts(type=name, classes=names((given or {}).get("classes")))
    known = {key: settings[key] for key in ("metainfo", "reduce_zero_label") if key in settings}
    dataset: Any = object.__new__(kind)
    with contextlib.suppress(Exception), report_warnings():
        dataset.__init__(pipeline=[], lazy_init=True, ann_file="/nowhere/segplug", **known)
    # A constructor that fails earlier, such as one with other arguments, leaves what the class says.
    found = getattr(dataset, "_metainfo", None) or {**getattr(kind, "METAINFO", {}), **(given or {})}
    return ClassFacts(
        type=name,
        classes=names(found.get("classes")),
        palette=colours(found.get("palette")),
        reduce_zero_label=getattr(dataset, "reduce_zero_label", None),
    )


def palette_of_class(name: str) -> tuple[tuple[int, int, int], ...]:
    """The colours of one of mmseg's data set classes; empty if it has none of that name."""
    import_mmseg()
    from mmseg.registry import DATASETS

    return colours(getattr(DATASETS.get(name), "METAINFO", {}).get("palette"))


def _reduces_zero_label(config: Any, tested: ClassFacts, scope: str) -> bool:
    """As the network was trained: from the training pipeline, else from the class of a data set."""
    trained = next(data_sets(split_data(config, "train")), None)
    pipeline = (trained or {}).get("pipeline") or config.get("train_pipeline")
    for step in pipeline if is_list(pipeline) else ():
        if (
            isinstance(step, dict)
            and name_of(step) == "LoadAnnotations"
            and step.get("reduce_zero_label") is not None
        ):
            return bool(step["reduce_zero_label"])
    return bool((tested if trained is None else class_facts(trained, scope)).reduce_zero_label)
