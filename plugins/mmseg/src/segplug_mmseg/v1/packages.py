"""The packages whose classes a config uses by their scope, ``mmdet.X``."""

from __future__ import annotations

import importlib.util
from typing import Any

from segplug.errors import ModelError
from segplug_mmseg.values import is_list

__all__ = ["refuse_missing_packages"]


def refuse_missing_packages(settings: Any, location: str) -> None:
    """Raise :class:`ModelError` for the first ``type`` of another package of OpenMMLab that is not installed.

    mmengine would look for its class in mmseg, and say that it is not there.
    """
    if isinstance(settings, dict):
        scope = settings.get("_scope_")
        kind = settings.get("type")
        if isinstance(kind, str) and "." in kind:
            scope = kind.split(".")[0]
        package = _PACKAGES.get(str(scope))
        if package is not None and importlib.util.find_spec(str(scope)) is None:
            raise ModelError(
                f"{location} uses `{kind}`, and {package} is not installed", hint=f"pip install {package}"
            )
        for value in settings.values():
            refuse_missing_packages(value, location)
    elif is_list(settings):
        for value in settings:
            refuse_missing_packages(value, location)


_PACKAGES = {
    **{name: name for name in ("mmdet", "mmpretrain", "mmdet3d", "mmpose", "mmagic", "mmrotate", "mmyolo")},
    **{"mmaction": "mmaction2", "mmcls": "mmcls", "mmselfsup": "mmselfsup", "mmrazor": "mmrazor"},
}
"""A scope, which is the name of a module, and the package that has it."""
