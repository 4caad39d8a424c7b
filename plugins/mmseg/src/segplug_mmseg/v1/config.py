"""Configs of mmengine: read, overridden, and prepared for building a network for inference.

A config is Python and runs when it is read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError, UsageError
from segplug.progress import Reporter
from segplug.regular_files import why_no_file
from segplug_mmseg.cfg_options import parse_cfg_options
from segplug_mmseg.compat import import_mmseg, report_warnings
from segplug_mmseg.recognise import config_path

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["read_config", "runnable_model"]


def read_config(
    location: str, cfg_options: Mapping[str, Any] | None = None, *, reporter: Reporter | None = None
) -> Config:
    """Read a config with its bases, import its ``custom_imports``, and merge the overrides."""
    path = config_path(location)
    if reason := why_no_file(path, "config"):
        raise UsageError(reason)
    overrides = parse_cfg_options(cfg_options or {})
    import_mmseg()
    from mmengine.config import Config

    with report_warnings(reporter):
        config = Config.fromfile(str(path))
    config.merge_from_dict(overrides)
    return config


def runnable_model(config: Config, location: str, *, for_training: bool = False) -> Any:
    """A copy of ``config.model`` from which a network for inference is built."""
    model = config.get("model")
    if not isinstance(model, dict) or "type" not in model:
        raise ModelError(f"the config {location} has no `model` with a `type`")
    model = copy.deepcopy(model)
    model["train_cfg"] = None
    if not for_training:
        model["auxiliary_head"] = None
    _for_inference(model)
    return model


def _for_inference(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("pretrained"):
            node["pretrained"] = None
        init = node.get("init_cfg")
        if isinstance(init, dict) and init.get("type") == "Pretrained":
            node["init_cfg"] = None
        for value in node.values():
            _for_inference(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _for_inference(value)
