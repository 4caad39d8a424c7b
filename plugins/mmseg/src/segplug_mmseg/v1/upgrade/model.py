"""The network: the same classes, but for a few settings and the packages that some come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug_mmseg.v1.upgrade.notes import Notes

__all__ = ["renamed_package", "upgrade_model"]

_PACKAGES = {"mmcls": "mmpretrain"}
"""Packages of 0.x whose classes have moved to another."""

_DICE = ("smooth", "exponent", "class_weight")
"""What the Dice loss of 0.x has, and that of 1.x has not."""


_WRITTEN_OUT: Mapping[str, Mapping[str, Any]] = {"VisionTransformer": {"patch_bias": True}}
"""What 0.x always did, where 1.x has a setting with another default."""


def upgrade_model(settings: Mapping[str, Any], preprocessor: Mapping[str, Any], notes: Notes) -> Any:
    """``model`` with its data preprocessor.

    Args:
        settings: The whole config. The first versions had ``train_cfg`` and ``test_cfg`` at its top level.
        preprocessor: Settings of the ``data_preprocessor``.
        notes: Gets networks and losses that compute something else.
    """
    model = settings["model"]
    if not isinstance(model, dict):
        return model
    model = {"type": model.get("type"), "data_preprocessor": dict(preprocessor), **model}
    for key in ("train_cfg", "test_cfg"):
        if model.get(key) is None and settings.get(key) is not None:
            model[key] = settings[key]
    return _renamed(model, notes)


def _renamed(node: Any, notes: Notes) -> Any:
    if isinstance(node, (list, tuple)):
        return type(node)(_renamed(item, notes) for item in node)
    if not isinstance(node, dict):
        return node
    node = {key: _renamed(value, notes) for key, value in node.items()}
    kind = node.get("type")
    if isinstance(kind, str):
        node["type"] = renamed_package(kind)
        node.update(_WRITTEN_OUT.get(kind, {}))
    if kind == "mmcls.ConvNeXt":
        notes.on_prediction(
            "ConvNeXt of mmpretrain normalises before each downsampling with an eps of 1e-6, that of mmcls "
            "with 1e-5: logits differ a little"
        )
    if kind == "MMSyncBN":
        node["type"] = "SyncBN"
    if kind == "DiceLoss":
        for key in _DICE:
            if node.pop(key, None) is not None:
                notes.on_training(f"DiceLoss has no `{key}` in 1.x: it is left out")
        notes.on_training("DiceLoss of 1.x is computed with another formula")
    return node


def renamed_package(name: str) -> str:
    """A dotted name, with the package that its class or module is in now."""
    package, dot, rest = name.partition(".")
    return _PACKAGES.get(package, package) + dot + rest
