"""Configs of mmcv 1.x: read, overridden, and prepared for building a network for inference.

A config is Python and runs when it is read.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError, UsageError
from segplug.progress import Reporter
from segplug.regular_files import MOST_TEXT, read_regular, why_no_file
from segplug_mmseg.cfg_options import parse_cfg_options
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.inference import for_inference
from segplug_mmseg.installed import installed_mmseg
from segplug_mmseg.reading import merge, reading
from segplug_mmseg.recognise import config_path, signs_of_1x

if TYPE_CHECKING:
    from mmcv import Config

__all__ = ["read_config", "read_settings", "runnable_model"]


def read_config(
    location: str, cfg_options: Mapping[str, Any] | None = None, *, reporter: Reporter | None = None
) -> Config:
    """Read a config with its bases, import its ``custom_imports``, and merge the overrides.

    Args:
        location: Path of a ``.py``, ``.json`` or ``.yml`` file.
        cfg_options: Dotted key to value; a string is parsed (:mod:`segplug_mmseg.cfg_options`).
        reporter: Gets the warnings that the config's own code raises.

    Raises:
        UsageError: the file is not there, or an override cannot be applied.
        ModelError: the file, a base of it, or its ``custom_imports`` cannot be read.
    """
    path = config_path(location)
    if reason := why_no_file(path, "config"):
        raise UsageError(reason)
    overrides = parse_cfg_options(cfg_options or {})
    import_mmseg()
    from mmcv import Config

    with reading(location, reporter):
        _refuse_next_generation(location, read_regular(path, most_bytes=MOST_TEXT))
        config = Config.fromfile(str(path))
    model = config.get("model")
    _refuse_next_generation(location, keys=[*config, *(model if isinstance(model, dict) else ())])
    merge(config, overrides)
    return config


def read_settings(
    location: str, cfg_options: Mapping[str, Any] | None = None, *, reporter: Reporter | None = None
) -> Mapping[str, Any]:
    """The settings of :func:`read_config` as one file can hold them."""
    settings: Mapping[str, Any] = read_config(location, cfg_options, reporter=reporter)._cfg_dict
    return settings


def _refuse_next_generation(location: str, source: bytes = b"", keys: Iterable[str] = ()) -> None:
    """Raise :class:`ModelError` for a config of mmsegmentation 1.x: its imports or its keys show it."""
    signs = signs_of_1x(source, keys)
    if signs:
        raise ModelError(
            f"{location} is a config of mmsegmentation 1.x (it has `{signs[0]}`), "
            f"and {installed_mmseg()} is installed",
            hint='pip install "segplug-mmseg[mmseg1]" in an environment of its own',
        )


def runnable_model(config: Config, location: str, *, for_training: bool = False) -> Any:
    """A copy of ``config.model`` from which a network for inference is built.

    Nothing is downloaded (no ``pretrained``, no checkpoint of an ``init_cfg``), there are no training
    settings, and no process group is needed (synchronised norms of mmcv-full become PyTorch's own).
    Auxiliary heads are built only ``for_training``.

    Raises:
        ModelError: there is no ``model``, or it has no ``type``.
    """
    model = config.get("model")
    if not isinstance(model, dict) or "type" not in model:
        raise ModelError(
            f"the config {location} has no `model` with a `type`",
            hint="name a model's config, not one of the files under _base_",
        )
    model = copy.deepcopy(model)
    for key in ("train_cfg", "test_cfg"):
        if model.get(key) is None and config.get(key) is not None:
            model[key] = copy.deepcopy(config[key])  # the first versions had them there
    model["train_cfg"] = None
    if model["type"] in ("EncoderDecoder", "CascadeEncoderDecoder") and not for_training:
        model["auxiliary_head"] = None  # its weights need not be there
    for_inference(model)
    return model
