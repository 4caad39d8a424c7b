"""A config of mmsegmentation 0.x, as plain settings, becomes one of 1.x. No framework is imported.

``model`` translates the network, ``testing``, ``views`` and ``training`` the pipelines, ``images`` what of
them the data preprocessor does in 1.x, ``datasets`` and ``loaders`` the data, ``schedule`` and ``runtime``
what training needs. What 1.x does not have is refused by name where predictions change, else noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from segplug_mmseg.explain import one_line
from segplug_mmseg.v1.upgrade.datasets import leaves
from segplug_mmseg.v1.upgrade.images import Images, data_preprocessor
from segplug_mmseg.v1.upgrade.loaders import Data, evaluator, test_data, train_data
from segplug_mmseg.v1.upgrade.model import upgrade_model
from segplug_mmseg.v1.upgrade.notes import Notes
from segplug_mmseg.v1.upgrade.plain import as_list, plain
from segplug_mmseg.v1.upgrade.runtime import RUNTIME, upgrade_runtime
from segplug_mmseg.v1.upgrade.schedule import by_epoch, optim_wrapper, param_scheduler, train_loop
from segplug_mmseg.v1.upgrade.testing import TestPipeline, upgrade_test_pipeline
from segplug_mmseg.v1.upgrade.training import upgrade_train_pipeline

__all__ = ["Upgraded", "is_new", "is_new_setting", "is_old", "upgrade"]

_NEW = (
    *("default_scope", "default_hooks", "env_cfg", "param_scheduler", "optim_wrapper", "tta_pipeline"),
    *("train_dataloader", "val_dataloader", "test_dataloader", "val_evaluator", "test_evaluator"),
    "data_preprocessor",
)
_OLD = (
    *("data", "evaluation", "optimizer_config", "lr_config", "runner", "checkpoint_config", "log_config"),
    *("dist_params", "workflow", "total_iters", "total_epochs", "img_norm_cfg", "resume_from"),
)
_TRANSFORMS_OF_OLD = ("Normalize", "Collect", "ImageToTensor", "DefaultFormatBundle", "MultiScaleFlipAug")
_TRANSLATED = (
    *RUNTIME,
    *("model", "data", "evaluation", "optimizer", "optimizer_config", "lr_config", "runner"),
    *("total_iters", "total_epochs", "fp16", "train_cfg", "test_cfg", "img_norm_cfg"),
    *("train_pipeline", "test_pipeline"),
)


@dataclass(frozen=True)
class Upgraded:
    """A config for 1.x, and what it does otherwise than the one for 0.x."""

    settings: dict[str, Any]
    on_prediction: tuple[str, ...]
    """One line for each thing that changes predictions or scores, or needs to be looked at for them."""
    on_training: tuple[str, ...]
    """The same for training."""

    @property
    def comments(self) -> tuple[str, ...]:
        """All of them, after a line that says what the config is."""
        head = "Translated from a config of mmsegmentation 0.x."
        return (head, *self.on_prediction, *(f"Training: {line}" for line in self.on_training))


def is_old(settings: Mapping[str, Any]) -> bool:
    """Whether settings are those of a config of 0.x: they have some that 1.x has not, and none of 1.x."""
    if is_new(settings):
        return False
    if any(key in settings for key in _OLD):
        return True
    steps = as_list(settings.get("test_pipeline"))
    return any(isinstance(step, Mapping) and step.get("type") in _TRANSFORMS_OF_OLD for step in steps)


def is_new(settings: Mapping[str, Any]) -> bool:
    """Whether settings have some that configs of 0.x do not have."""
    model = settings.get("model")
    return any(key in settings for key in _NEW) or (
        isinstance(model, Mapping) and "data_preprocessor" in model
    )


def is_new_setting(key: str) -> bool:
    """Whether a dotted key names a setting that configs of 0.x do not have."""
    first, *rest = key.split(".")
    return first in _NEW or (first == "model" and rest[:1] == ["data_preprocessor"])


def upgrade(settings: Mapping[str, Any], location: str) -> Upgraded:
    """Translate a config.

    Args:
        settings: A config of 0.x with its bases merged: dicts, lists, tuples and values.
        location: Where it came from, for messages.

    Raises:
        ModelError: something of it cannot be read, or predictions could not be the same.
    """
    notes = Notes(location)
    try:
        found = _upgraded(plain(settings), notes)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        notes.refuse(f"it cannot be read: {one_line(error)}", hint="check the config with mmsegmentation 0.x")
    return Upgraded(found, notes.prediction, notes.training)


def _upgraded(settings: dict[str, Any], notes: Notes) -> dict[str, Any]:
    data, evaluation = settings.get("data") or {}, settings.get("evaluation") or {}
    epochs = by_epoch(settings)
    shared = as_list(settings.get("test_pipeline")) or _without_pipeline(settings, notes)
    train = train_data(data, notes, by_epoch=epochs)
    val = test_data(data, "val", shared, notes)
    test = test_data(data, "test", shared, notes)
    found = upgrade_runtime(settings, evaluation, notes, by_epoch=epochs)
    if "model" in settings:
        images = _grey(_test_images(settings, test, val, notes), settings)
        preprocessor = data_preprocessor(images, _grey(_train_images(train), settings), notes)
        found["model"] = upgrade_model(settings, preprocessor, notes)
    found |= _other(settings)
    found |= _pipelines(settings, train, test or val, notes)
    found |= _training(settings, train, evaluation, notes)
    for split, part in (("val", val), ("test", test)):
        if part is not None and (split == "test" or train is not None):
            found[f"{split}_dataloader"] = part.loader
            found[f"{split}_evaluator"] = evaluator(evaluation, data[split], split, notes)
            found[f"{split}_cfg"] = {"type": "ValLoop" if split == "val" else "TestLoop"}
    return found


def _without_pipeline(settings: dict[str, Any], notes: Notes) -> list[Any]:
    """The pipeline of test data that have none: images are normalised, if the config says how."""
    normalize = settings.get("img_norm_cfg")
    if any(not one.get("pipeline") for one in leaves((settings.get("data") or {}).get("test"))):
        how = "normalised as img_norm_cfg says" if isinstance(normalize, dict) else "not normalised"
        notes.on_prediction(f"data.test has no pipeline: images are {how}, and fed at their own size")
    steps: list[Any] = [{"type": "LoadImageFromFile"}]
    return [*steps, {"type": "Normalize", **normalize}] if isinstance(normalize, dict) else steps


def _grey(images: Images | None, settings: dict[str, Any]) -> Images | None:
    model = settings["model"]
    backbone = model.get("backbone") if isinstance(model, dict) else None
    one = isinstance(backbone, dict) and backbone.get("in_channels") == 1
    return replace(images, grey=True) if images is not None and one else images


def _train_images(train: Data | None) -> Images | None:
    return train.images if train is not None else None


def _test_images(
    settings: dict[str, Any], test: Data | None, val: Data | None, notes: Notes
) -> Images | None:
    if test is not None and val is not None and test.images != val.images:
        notes.on_training("data.val prepares images otherwise than data.test: 1.x does as for data.test")
    if test is not None:
        return test.images
    pipeline = as_list(settings.get("test_pipeline"))
    if pipeline:
        return upgrade_test_pipeline(pipeline, notes).images
    if val is not None:
        return val.images
    normalize = settings.get("img_norm_cfg")
    return Images(normalize) if isinstance(normalize, dict) else None


def _pipelines(
    settings: dict[str, Any], train: Data | None, test: Data | None, notes: Notes
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if train is not None and train.pipeline is not None:
        found["train_pipeline"] = train.pipeline
    elif settings.get("train_pipeline"):
        found["train_pipeline"] = upgrade_train_pipeline(as_list(settings["train_pipeline"]), notes).steps
    flat, tta = (test.pipeline, test.tta) if test is not None else (None, None)
    if flat is None and settings.get("test_pipeline"):
        shared: TestPipeline = upgrade_test_pipeline(as_list(settings["test_pipeline"]), notes)
        flat, tta = shared.flat({}), shared.tta({})
    if flat is not None:
        found["test_pipeline"] = flat
    if tta is not None:
        found["tta_pipeline"] = tta
        found["tta_model"] = {"type": "SegTTAModel"}
        notes.on_prediction(
            "the views of MultiScaleFlipAug are in tta_pipeline: 1.x uses them with --tta alone"
        )
    return found


def _training(
    settings: dict[str, Any], train: Data | None, evaluation: Mapping[str, Any], notes: Notes
) -> dict[str, Any]:
    wrapper, loop = optim_wrapper(settings, notes), train_loop(settings, evaluation)
    if train is None or wrapper is None or loop is None:
        if any(part is not None for part in (train, wrapper, loop)):
            notes.on_training("of data.train, optimizer and runner not all are there: training is left out")
        return {}
    return {
        "train_dataloader": train.loader,
        "train_cfg": loop,
        "optim_wrapper": wrapper,
        "param_scheduler": param_scheduler(settings, notes),
    }


def _other(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that are not mmsegmentation's, such as variables that others are made of."""
    return {
        key: value
        for key, value in settings.items()
        if key not in _TRANSLATED and not key.endswith("_pipeline")
    }
