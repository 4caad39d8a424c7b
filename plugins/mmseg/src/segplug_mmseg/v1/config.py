"""Configs of mmengine: read, overridden, and prepared for building a network for inference.

A config is Python and runs when it is read. One of 0.x is translated in memory.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from unittest import mock

from segplug.errors import ModelError, UsageError
from segplug.progress import QuietReporter, Reporter
from segplug.regular_files import MOST_TEXT, read_regular, why_no_file
from segplug_mmseg.cfg_options import parse_cfg_options
from segplug_mmseg.compat import import_mmseg, stand_ins
from segplug_mmseg.explain import explained, one_line
from segplug_mmseg.inference import for_inference
from segplug_mmseg.reading import merge, reading
from segplug_mmseg.recognise import config_path
from segplug_mmseg.v1.packages import refuse_missing_packages
from segplug_mmseg.v1.plain import plain_settings
from segplug_mmseg.v1.tasks import refuse_other_tasks
from segplug_mmseg.v1.upgrade import is_new, is_new_setting, is_old, upgrade
from segplug_mmseg.values import type_name

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["read_config", "read_settings", "runnable_model"]

_AUXILIARY = ("EncoderDecoder", "CascadeEncoderDecoder")
"""Segmentors that can be built without their auxiliary heads."""


def read_config(
    location: str, cfg_options: Mapping[str, Any] | None = None, *, reporter: Reporter | None = None
) -> Config:
    """Read a config with its bases, import its ``custom_imports``, merge the overrides, upgrade one of 0.x.

    Classes of a new-style config are imported when they are first looked at.

    Args:
        location: Path of a ``.py``, ``.json`` or ``.yml`` file.
        cfg_options: Dotted key to value; a string is parsed (:mod:`segplug_mmseg.cfg_options`). Those of a
            config of 0.x may name its own settings, and those of 1.x that it is upgraded to.
        reporter: Gets the warnings that the config's own code raises, and a note if it was upgraded.

    Raises:
        UsageError: the file is not there, or an override cannot be applied.
        ModelError: the file, a base or a module of it cannot be read, or it cannot be upgraded.
    """
    config, after_upgrade = _read(location, cfg_options, reporter)
    if not is_old(config._cfg_dict):
        return config
    from mmengine.config import Config

    upgraded = upgrade(plain_settings(config, location), location)
    reporter = reporter or QuietReporter()
    reporter.note(
        f"{location} is a config of mmsegmentation 0.x: `analyze config --upgrade` shows what is made of it"
    )
    for line in upgraded.on_prediction:
        reporter.warn(line)
    config = Config(upgraded.settings, filename=str(config_path(location)))
    merge(config, after_upgrade)
    _import_modules(config, location, reporter)
    return config


def read_settings(
    location: str, cfg_options: Mapping[str, Any] | None = None, *, reporter: Reporter | None = None
) -> Mapping[str, Any]:
    """The settings of a config as one file can hold them, not upgraded; see :func:`read_config`.

    Raises:
        UsageError: an override of a config of 0.x is none of its own settings.
        ModelError: it cannot be read, or it has a class where no name can stand for it.
    """
    config, after_upgrade = _read(location, cfg_options, reporter)
    for key in after_upgrade:
        raise UsageError(
            f"--cfg-options {key}: {location} is a config of mmsegmentation 0.x, and has no such setting",
            hint="name its own settings, such as data.test.data_root",
        )
    return plain_settings(config, location)


def _read(
    location: str, cfg_options: Mapping[str, Any] | None, reporter: Reporter | None
) -> tuple[Config, dict[str, Any]]:
    """The config with its overrides; and of a config of 0.x, the overrides that only 1.x has."""
    path = config_path(location)
    if reason := why_no_file(path, "config"):
        raise UsageError(reason)
    overrides = parse_cfg_options(cfg_options or {})
    import_mmseg()
    from mmengine.config import Config

    with reading(location, reporter), stand_ins(), _standard_library_is_known():
        read_regular(path, most_bytes=MOST_TEXT)
        config = Config.fromfile(str(path), import_custom_modules=False)
    after_upgrade: dict[str, Any] = {}
    if is_old(config._cfg_dict):
        after_upgrade = {key: value for key, value in overrides.items() if is_new_setting(key)}
    else:
        _refuse_old_overrides(location, overrides, config._cfg_dict)
        _import_modules(config, location, reporter)
    merge(config, {key: value for key, value in overrides.items() if key not in after_upgrade})
    return config, after_upgrade


def _refuse_old_overrides(location: str, overrides: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """mmengine would add the setting, which nothing reads."""
    for key in overrides:
        if key.split(".")[0] == "data" and "data" not in settings and is_new(settings):
            raise UsageError(
                f"--cfg-options {key}: {location} is a config of mmsegmentation 1.x, and has no such setting",
                hint="name its own settings, such as test_dataloader.dataset.data_root",
            )


def _import_modules(config: Config, location: str, reporter: Reporter | None) -> None:
    """Import ``custom_imports``, with the errors of mmengine."""
    from mmengine.utils import import_modules_from_strings

    custom = config.get("custom_imports")
    if not custom:
        return
    what = f"cannot read the config {location}: `custom_imports`"
    with reading(location, reporter), stand_ins():
        if not isinstance(custom, Mapping) or not custom.keys() <= {"imports", "allow_failed_imports"}:
            raise ModelError(f"{what} must be dict(imports=['a_module']), not {custom!r}")
        try:
            import_modules_from_strings(**custom)
        except ImportError as error:
            raise ImportError(f"Failed to import custom modules from {custom}") from error
        except Exception as error:  # a module is a program
            raise ModelError(f"{what}: {one_line(error)}") from error


@contextlib.contextmanager
def _standard_library_is_known() -> Iterator[None]:
    """Let mmengine tell modules of Python's own from others, while the block runs.

    It compares paths, which says nothing in a virtual environment: there ``import os`` makes a config a
    new-style one, which may have no ``_base_``, and whose ``os`` cannot be used.
    """
    from mmengine.config import config, utils

    def is_builtin(module: str) -> bool:
        # Names of relative modules begin with a dot.
        return module.split(".")[0] in sys.stdlib_module_names or module.startswith("mmengine.config")

    with (
        mock.patch.object(config, "_is_builtin_module", is_builtin),
        mock.patch.object(utils, "_is_builtin_module", is_builtin),
    ):
        yield


def runnable_model(config: Config, location: str, *, for_training: bool = False) -> Any:
    """A copy of ``config.model`` from which a network for inference is built.

    Nothing is downloaded (:mod:`segplug_mmseg.inference`), and there are no settings of the training.
    Auxiliary heads are built only ``for_training``.

    Raises:
        ModelError: there is no ``model``, or it has no ``type``, or is of another task; or a package that it
            needs is not installed.
    """
    with explained(ModelError, f"cannot read the model of {location}"):
        model = config.get("model")
        if not isinstance(model, dict) or "type" not in model:
            raise ModelError(
                f"the config {location} has no `model` with a `type`",
                hint="name a model's config, not one of the files under _base_",
            )
        model = copy.deepcopy(model)
        if "data_preprocessor" not in model and config.get("data_preprocessor") is not None:
            model["data_preprocessor"] = copy.deepcopy(config["data_preprocessor"])  # as mmengine's Runner
        if isinstance(model.get("data_preprocessor"), dict):
            model["data_preprocessor"].pop("batch_augments", None)
        model["train_cfg"] = None
        if type_name(model["type"]) in _AUXILIARY and not for_training:
            model["auxiliary_head"] = None  # its weights need not be there
        scope = config.get("default_scope")
        if scope is not None:
            model.setdefault("_scope_", scope)
        refuse_missing_packages(model, location)
        refuse_other_tasks(model, location)
        for_inference(model)
    return model
