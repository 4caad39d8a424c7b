"""Settings of a network for inference: nothing is downloaded, and no file of the training is needed."""

from __future__ import annotations

from typing import Any

from segplug_mmseg.values import is_list, type_name

__all__ = ["for_inference"]


def for_inference(node: Any) -> None:
    """Change a network's settings in place, nested ones included.

    Pretrained weights and files of losses are left out. Synchronised norms of mmcv-full become PyTorch's own,
    so that no process group is needed.
    """
    if isinstance(node, dict):
        if node.get("pretrained"):
            node["pretrained"] = None
        if type_name(node.get("type")) == "TIMMBackbone":
            node["pretrained"] = False  # it downloads unless it is told not to
            node.pop("checkpoint_path", None)
        if "init_cfg" in node:
            node["init_cfg"] = _without_checkpoints(node["init_cfg"])
        if isinstance(node.get("checkpoint"), str):
            node["checkpoint"] = None
        if node.get("type") == "MMSyncBN":
            node["type"] = "SyncBN"
        if isinstance(node.get("class_weight"), str):
            node["class_weight"] = None  # a file for the loss, which inference does not have
        for value in node.values():
            for_inference(value)
    elif is_list(node):
        for value in node:
            for_inference(value)


def _without_checkpoints(init_cfg: Any) -> Any:
    if is_list(init_cfg):
        return [item for item in init_cfg if not _is_checkpoint(item)] or None
    return None if _is_checkpoint(init_cfg) else init_cfg


def _is_checkpoint(init_cfg: Any) -> bool:
    """Whether an initialisation loads a file: ``Pretrained``, or a network's own with a ``checkpoint``."""
    return isinstance(init_cfg, dict) and (
        "checkpoint" in init_cfg or type_name(init_cfg.get("type")) in ("Pretrained", "PretrainedInit")
    )
