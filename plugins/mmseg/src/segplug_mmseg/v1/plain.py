"""The settings of a config as one file can hold them: a class becomes its name where mmengine takes one."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["plain_settings"]

_TOP = "(top)"
"""Stands for the top level of a config: what it names there (``dataset_type = X``) is used further below."""
_BUILT = ("type", "constructor", "runner_type", _TOP)
"""The settings whose class mmengine finds by its name (``pkg.module.Class``), too."""
_NO_SETTINGS = (type, types.ModuleType, types.FunctionType)


def plain_settings(config: Config, location: str) -> dict[str, Any]:
    """A config's settings in their order, without what it imports or defines: classes, functions, modules.

    Raises:
        ModelError: there is a class where no name can stand for it.
    """
    return {
        key: _Plain(location, key).value(value, _TOP)
        for key, value in _items(config._cfg_dict).items()
        if key not in config._imported_names and not isinstance(value, _NO_SETTINGS)
    }


def _items(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The items of a dict; mmengine's would import the classes among them."""
    return dict(dict.items(settings))  # type: ignore[arg-type]


class _Plain:
    """Makes the values of one setting plain."""

    def __init__(self, location: str, setting: str) -> None:
        self._location, self._setting = location, setting

    def value(self, value: Any, key: str) -> Any:
        """``value``, which is at ``key`` of its dict, with names in place of classes."""
        from mmengine.config.lazy import LazyAttr, LazyObject

        if isinstance(value, dict):
            return {name: self.value(item, str(name)) for name, item in _items(value).items()}
        if type(value) in (list, tuple):
            return type(value)(self.value(item, "") for item in value)
        if isinstance(value, (type, LazyAttr, LazyObject)):
            return self._name(value, key)
        return value

    def _name(self, kind: Any, key: str) -> str:
        """What mmengine finds a class by."""
        name = _name_of_class(kind) if isinstance(kind, type) else _name_of_import(kind)
        if key in _BUILT and name:
            return name
        place = f" as `{key}`" if key and key != _TOP else ""
        raise ModelError(
            f"{self._location}: `{self._setting}` has a class in place of a string{place}, which cannot be "
            f"written out: {name or kind}",
            hint="mmengine finds the class of a `type` by its name, if it can be imported, and no other",
        )


def _name_of_class(kind: type) -> str:
    """The module and name of a class; empty if they do not lead back to it, as for a config's own class."""
    from mmengine.utils import get_object_from_string

    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if get_object_from_string(name) is kind else ""


def _name_of_import(kind: Any) -> str:
    """The module and name of what a new-style config imports; empty for a module, or a relative one."""
    from mmengine.config.lazy import LazyObject

    if isinstance(kind, LazyObject) and kind._imported is None:
        return ""
    name = f"{kind.module}.{kind}"
    return name if all(part.isidentifier() for part in name.split(".")) else ""
