"""Configs of mmcv 1.x: read, overridden, and prepared for building a network for inference.

A config is Python and runs when it is read.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError, SegplugError, UsageError, is_interrupt
from segplug.progress import Reporter
from segplug.regular_files import MOST_TEXT, read_regular, why_no_file
from segplug_mmseg.cfg_options import parse_cfg_options
from segplug_mmseg.compat import import_mmseg, report_warnings
from segplug_mmseg.explain import one_line
from segplug_mmseg.recognise import config_path, signs_of_1x
from segplug_mmseg.values import is_list
from segplug_mmseg.yaml_files import YamlError, plain_yaml

if TYPE_CHECKING:
    from mmcv import Config

__all__ = [
    "read_config",
    "runnable_model",
]


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

    search_path = list(sys.path)
    try:
        _refuse_next_generation(location, read_regular(path, most_bytes=MOST_TEXT))
        with report_warnings(reporter), plain_yaml():
            config = Config.fromfile(str(path))
    except BaseException as error:  # a config is a program, and may raise anything
        sys.path[:] = search_path  # mmcv leaves its temporary folder there when a config fails
        _close_temporary_files(error)
        if is_interrupt(error) or (isinstance(error, SegplugError) and not isinstance(error, YamlError)):
            raise
        raise _unreadable(location, error) from error
    model = config.get("model")
    _refuse_next_generation(location, keys=[*config, *(model if isinstance(model, dict) else ())])
    _merge(config, overrides)
    return config


def _refuse_next_generation(location: str, source: bytes = b"", keys: Iterable[str] = ()) -> None:
    """Raise :class:`ModelError` for a config of mmsegmentation 1.x: its imports or its keys show it."""
    signs = signs_of_1x(source, keys)
    if signs:
        raise ModelError(
            f"{location} is a config of mmsegmentation 1.x (it has `{signs[0]}`), "
            "segplug-mmseg reads those of 0.x",
            hint="mmsegmentation 1.x with mmengine and mmcv 2 reads it, in an environment of its own",
        )


def _unreadable(location: str, error: BaseException) -> ModelError:
    """The error for a config that cannot be read: what its code raised, and in which line."""
    hint, reason = None, one_line(error)
    if isinstance(error, SegplugError):
        hint, reason = error.hint, error.message
    elif isinstance(error, ImportError):
        hint = "install it, or set PYTHONPATH so that Python finds it"
    elif isinstance(error, RecursionError):
        reason = f"it is nested too deeply, or its code or a base leads back to itself ({reason})"
    return ModelError(f"cannot read the config {location}: {reason}{_place(error)}", hint=hint)


def _place(error: BaseException) -> str:
    """Where the innermost config of the traceback was: ``, in line 3 of base.py``; a text to be added."""
    place, copies = "", {}
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_file2dict":  # mmcv runs a copy of each config
            copy = frame.f_locals.get("temp_config_file")
            original = os.path.relpath(str(frame.f_locals.get("filename")))
            copies[getattr(copy, "name", "")] = original
            place = f", in {original}"
        elif frame.f_code.co_filename in copies:
            place = f", in line {line} of {copies[frame.f_code.co_filename]}"
    return place


def _close_temporary_files(error: BaseException) -> None:
    """Close the files that mmcv left open: each would print a traceback when it is garbage-collected."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        file = frame.f_locals.get("temp_config_file")
        if file is not None:
            with contextlib.suppress(OSError):  # its folder is gone already
                file.close()


def _merge(config: Config, options: dict[str, Any]) -> None:
    for key, value in options.items():
        try:
            config.merge_from_dict({key: value})
        except Exception as error:
            raise UsageError(f"--cfg-options {key}={value}: {one_line(error)}") from error


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
    _for_inference(model)
    return model


def _for_inference(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("pretrained"):
            node["pretrained"] = None
        if "init_cfg" in node:
            node["init_cfg"] = _without_checkpoints(node["init_cfg"])
        if node.get("type") == "MMSyncBN":
            node["type"] = "SyncBN"
        if isinstance(node.get("class_weight"), str):
            node["class_weight"] = None  # a file for the loss, which inference does not have
        for value in node.values():
            _for_inference(value)
    elif is_list(node):
        for value in node:
            _for_inference(value)


def _without_checkpoints(init_cfg: Any) -> Any:
    if is_list(init_cfg):
        return [item for item in init_cfg if item.get("type") != "Pretrained"] or None
    if isinstance(init_cfg, dict) and init_cfg.get("type") == "Pretrained":
        return None
    return init_cfg
