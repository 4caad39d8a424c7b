"""The converters among mmseg's own tools, with which ours are compared."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from segplug_mmseg.compat import import_mmseg


def mmseg_script(name: str) -> ModuleType:
    """Import one of mmseg's scripts from its distribution."""
    package = import_mmseg()
    path = Path(str(package.__file__)).parent / ".mim" / "tools" / "model_converters" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
