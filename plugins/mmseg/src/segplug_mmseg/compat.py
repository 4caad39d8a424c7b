"""Import mmcv and mmsegmentation beside today's PyTorch.

mmsegmentation imports two things that most users do not need and that are hard to install:

* ``mmcv._ext``, the compiled part of mmcv. Some losses and heads import ``mmcv.ops``, which needs it. Only
  PSANet's attention calls it, and :mod:`segplug_mmseg.ops` has that operator in plain torch.
* ``torchvision``. ``mmcv.runner`` of mmcv 1.x only lists model-zoo names with it. mmpretrain, which has some
  backbones of mmsegmentation 1.x, uses it in transforms and scores alone.

Where one of them is missing, a stand-in replaces it *while mmcv is imported*, and is removed afterwards:
other libraries that ask "is it installed?" get the true answer.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import logging
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from segplug.errors import MissingDependencyError
from segplug.progress import QuietReporter, Reporter
from segplug_mmseg.installed import INSTALL, Name, installed_mmseg

__all__ = ["has_compiled_ops", "import_mmseg", "process_lock", "report_warnings", "stand_ins"]

_MODULES: Mapping[Name, tuple[str, ...]] = {
    "0.x": ("mmcv.ops", "mmcv.runner", "mmseg.models", "mmseg.datasets", "mmseg.core"),
    "1.x": ("mmcv.ops", "mmseg.models", "mmseg.datasets", "mmseg.evaluation"),
}
_MMCV: Mapping[Name, tuple[str, str]] = {"0.x": ("1.", "mmcv 1.7"), "1.x": ("2.", "mmcv 2.1")}
"""How the version of the mmcv that goes with a generation begins, and its name."""
_COMPILED: Mapping[Name, tuple[str, str]] = {
    "0.x": ("mmcv-full", 'pip uninstall mmcv, then pip install "segplug-mmseg[mmseg0-full]"'),
    "1.x": ("mmcv", 'pip uninstall mmcv-lite, then pip install "mmcv>=2.1,<2.2", or onedl-mmcv for the fork'),
}
"""The mmcv with compiled operators, and how to get it in place of the one in pure Python."""

_ALIGN_REMARK = "When align_corners=True, the output would more aligned"

process_lock = threading.RLock()
"""Held while something of the whole process is changed: loaded modules, warnings, standard output, mmengine's
default scope. Two threads at a time would leave it changed."""
_imported: types.ModuleType | None = None


def import_mmseg() -> types.ModuleType:
    """The ``mmseg`` module, with its models and data sets registered. Idempotent and thread-safe.

    Raises:
        MissingDependencyError: mmcv or mmseg is not installed, or is of another generation.
    """
    global _imported
    with process_lock:
        if _imported is None:
            generation = installed_mmseg().generation
            _import_mmcv(generation)
            # onedl-mmsegmentation prints what it lacks.
            with report_warnings(), stand_ins(), contextlib.redirect_stdout(io.StringIO()):
                for name in _MODULES[generation]:
                    _import(name)
            # Given again for every size of image; it is about training, and not about the results.
            modules = r"mmseg\.(ops|models\.utils)\.wrappers"
            warnings.filterwarnings("ignore", message=_ALIGN_REMARK, module=modules)
            _imported = sys.modules["mmseg"]
        return _imported


def has_compiled_ops() -> bool:
    """Whether mmcv is mmcv-full, with its compiled operators."""
    import_mmseg()
    return importlib.util.find_spec("mmcv._ext") is not None


def _import_mmcv(generation: Name) -> None:
    with report_warnings():
        mmcv = _import("mmcv")
    version = str(getattr(mmcv, "__version__", "unknown"))
    beginning, wanted = _MMCV[generation]
    if not version.startswith(beginning):
        raise MissingDependencyError(
            f"mmcv {version} is installed, {installed_mmseg()} needs {wanted} (in an environment of its own)",
            hint=INSTALL,
        )


def _import(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        package = {"mmseg": "mmsegmentation"}.get(missing.split(".")[0], missing)
        raise MissingDependencyError(f"{package} is not installed", hint=INSTALL) from error
    except (ImportError, AssertionError) as error:
        # mmseg asserts that mmcv's version suits it; a compiled mmcv-full of another torch raises.
        raise MissingDependencyError(f"{name} cannot be imported: {error}", hint=INSTALL) from error


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Put stand-ins for what is missing into ``sys.modules`` while the block runs.

    :func:`import_mmseg` does; this is for what imports further packages, as configs of 1.x do.
    """
    added: dict[str, types.ModuleType] = {}
    if "mmcv._ext" not in sys.modules and importlib.util.find_spec("mmcv._ext") is None:
        added["mmcv._ext"] = _MissingOps("mmcv._ext")
        # mmcv 2 asks pkgutil for it, which wants to see where a module comes from.
        added["mmcv._ext"].__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
    if not _torchvision_works():
        added.update(_missing_torchvision())
    sys.modules.update(added)
    try:
        yield
    finally:
        for name, module in added.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _torchvision_works() -> bool:
    before = set(sys.modules)
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError):
        # A torchvision built for another torch fails half way and leaves submodules behind.
        for name in set(sys.modules) - before:
            if name.split(".")[0] == "torchvision":
                del sys.modules[name]
        return False
    return True


class _MissingOps(types.ModuleType):
    """Replaces ``mmcv._ext``: has operators in plain torch; a call of any other is an error that says so."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # mmcv probes every loaded module for a private name
            raise AttributeError(name)
        from segplug_mmseg import ops  # imports torch, as mmcv has by now

        if name in ops.COMPILED:
            return ops.COMPILED[name]

        def missing(*_args: Any, **_kwargs: Any) -> Any:
            compiled, hint = _COMPILED[installed_mmseg().generation]
            raise MissingDependencyError(
                f"this network needs the compiled {compiled} (operator '{name}')", hint=hint
            )

        return missing


_TORCHVISION = (
    *("torchvision", "torchvision.ops", "torchvision.ops.boxes", "torchvision.transforms"),
    *("torchvision.transforms.functional", "torchvision.transforms.transforms"),
)
"""The modules of torchvision that mmcv and mmpretrain import."""


def _missing_torchvision() -> dict[str, types.ModuleType]:
    """Modules that replace those of torchvision: name to module."""
    modules: dict[str, types.ModuleType] = {}
    for name in _TORCHVISION:
        modules[name] = _MissingModule(name)
        modules[name].__path__ = []  # a package, of which modules are imported
        parent, _, part = name.rpartition(".")
        if parent:
            setattr(modules[parent], part, modules[name])
    return modules


class _MissingModule(types.ModuleType):
    """Replaces a module of torchvision: its classes may be inherited from, and not be used."""

    __version__ = "0.0.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _MissingClass(name, (), {"__init__": _not_installed})


class _MissingClass(type):
    """A class of torchvision; the names of an enumeration have no values."""

    def __getattr__(cls, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


def _not_installed(*_: Any, **__: Any) -> None:
    raise MissingDependencyError("torchvision is not installed", hint="pip install torchvision")


_NOISE = (
    "On January 1, 2023, MMCV will release",
    "DeprecationWarning:",
    "train_cfg and test_cfg is deprecated",
    "For binary segmentation, we suggest using",
    "Default ``avg_non_ignore`` is False",
    "torch.meshgrid: in an upcoming release",
    "In MMCV v1.4.4, we modified the default value",
    "No pre-trained weights",
    "`reduce_zero_label` will be deprecated",
    "``build_",  # such as build_loss: 1.x says of its own calls that they would be deprecated soon
)
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, FutureWarning)


@contextlib.contextmanager
def report_warnings(reporter: Reporter | None = None) -> Iterator[None]:
    """Send the warnings of mmcv, mmengine and mmseg to ``reporter``, one line each, while the block runs.

    Log lines below WARNING, deprecation notes for developers and a few fixed remarks about training
    are dropped. It holds :data:`process_lock`.
    """
    reporter = reporter or QuietReporter()
    seen: dict[str, None] = {}
    try:
        with process_lock, _filtered_logs(seen), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for warning in caught:
            text = " ".join(str(warning.message).split())
            if not issubclass(warning.category, _FOR_DEVELOPERS) and not text.startswith(_NOISE):
                seen[text] = None
    finally:
        for text in seen:
            reporter.warn(text)


@contextlib.contextmanager
def _filtered_logs(seen: dict[str, None]) -> Iterator[None]:
    """Drop log lines that are not worth reading; those of mmengine's own logger go to ``seen``."""

    def is_worth_reading(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING and not record.getMessage().startswith(_NOISE)

    def is_kept(record: logging.LogRecord) -> bool:
        # This logger writes warnings to stdout, where the results of a command are.
        if is_worth_reading(record):
            seen[" ".join(record.getMessage().split())] = None
        return False

    filters: list[tuple[logging.Logger, Callable[[logging.LogRecord], bool]]] = [
        (logging.getLogger(name), is_worth_reading) for name in ("mmcv", "mmseg", "mmcls")
    ]
    if "mmengine.logging" in sys.modules:
        filters.append((sys.modules["mmengine.logging"].MMLogger.get_current_instance(), is_kept))
    for logger, keep in filters:
        logger.addFilter(keep)
    try:
        yield
    finally:
        for logger, keep in filters:
            logger.removeFilter(keep)
