"""Find the factory that a location (``python:package.module:factory``) names, and call it."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError, SegplugError, UsageError, is_interrupt
from segplug.options import nearest
from segplug.regular_files import expanded, why_no_file
from segplug_torch.errors import one_line, raised_in

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Factory", "call_factory", "find_factory"]

_FORM = "a location is python:package.module:factory or python:path/to/file.py:factory"


@dataclass(frozen=True)
class Factory:
    """A function or class that returns a network."""

    location: str
    """As the user gave it."""
    folder: Path
    """Where the modules that it imports are looked for first."""
    function: Callable[..., Any]
    file: Path | None
    """The source file of the function; ``None``: it has none."""

    @property
    def name(self) -> str:
        """A short name for people: the last part of the module's name, and the factory's."""
        module, attribute = _parts(self.location)
        last = Path(module).stem if _is_file(module) else module.rpartition(".")[2]
        return f"{last}-{attribute}"


def find_factory(location: str) -> Factory:
    """Import the module of ``location``, which runs its code, and look up the factory in it.

    Raises:
        UsageError: there is no such module or factory.
        ModelError: the module cannot be imported.
    """
    module_name, attribute = _parts(location)
    folder = expanded(module_name).resolve().parent if _is_file(module_name) else Path.cwd()
    with _importable(folder):
        module = _load_file(module_name) if _is_file(module_name) else _import(module_name)
        found = _look_up(module, module_name, attribute)
    from torch import nn  # not before: a module that is not there is an error at once

    if isinstance(found, nn.Module) or not callable(found):
        raise UsageError(
            f"{module_name}:{attribute} is no function or class, but of type {type(found).__name__}",
            hint="name one that returns the network",
        )
    return Factory(location, folder, found, _source_file(found, module))


def call_factory(factory: Factory, arguments: Mapping[str, Any]) -> nn.Module:
    """The network that the factory returns for these keyword arguments.

    Args:
        factory: What :func:`find_factory` returned.
        arguments: Name to value. A string that is a Python literal (``8``, ``True``, ``[1, 2]``) counts as
            its value, any other as text.

    Raises:
        UsageError: the factory does not take these arguments, or needs others.
        ModelError: it raises, or returns something else than a ``torch.nn.Module``.
    """
    keywords = {name: _literal(value) for name, value in arguments.items()}
    _check_arguments(factory, keywords)
    with _importable(factory.folder), _one_line(f"{factory.location} cannot make its network"):
        network = factory.function(**keywords)
    from torch import nn

    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{factory.location} returned no torch.nn.Module, but the type {type(network).__name__}"
        )
    return network


def _parts(location: str) -> tuple[str, str]:
    module, colon, attribute = location.partition(":")[2].rpartition(":")
    relative = module.startswith(".") and not _is_file(module)
    if not colon or not module or relative or not attribute.isidentifier():
        raise UsageError(f"{location} does not name a module and a factory", hint=_FORM)
    return module, attribute


def _is_file(module: str) -> bool:
    return module.endswith(".py") or os.sep in module or "/" in module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Look for modules in ``folder`` first while the block runs, as Python does for a script there.

    Later it is looked at last, for imports inside of functions: nothing in it hides an installed package.
    """
    path = str(folder)
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)
        finder = _LastResort(path)
        if finder not in sys.meta_path:
            sys.meta_path.append(finder)


@dataclass(frozen=True)
class _LastResort:
    """Finds modules in a folder that are found nowhere else.

    Unlike ``sys.path`` it leaves out folders without ``__init__.py``: PyTorch, for one, would take a model
    repository named ``triton`` for the package of that name, which need not be installed.
    """

    folder: str

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As Python's import system calls it; ``path`` is given for modules inside of packages."""
        if path is not None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, [self.folder])
        return None if spec is None or spec.loader is None else spec


def _import(name: str) -> types.ModuleType:
    importlib.invalidate_caches()
    try:
        with _one_line(f"the module {name} cannot be imported"):
            return importlib.import_module(name)
    except ModelError as error:
        missing = error.__cause__
        parents = [name.rsplit(".", count)[0] for count in range(name.count(".") + 1)]
        if isinstance(missing, ModuleNotFoundError) and missing.name in parents:
            raise UsageError(
                f"there is no module {missing.name}, in the current folder or installed", hint=_FORM
            ) from missing
        raise


def _load_file(name: str) -> types.ModuleType:
    """Run a file as a module of its own, anew each time."""
    path = expanded(name).resolve()
    if reason := why_no_file(expanded(name)):
        raise UsageError(reason, hint=_FORM)
    unique = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{name} is no Python file", hint=_FORM)
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module  # dataclasses, among others, look their module up
    with _one_line(f"{name} cannot be imported"):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises, SystemExit included, into a ModelError of one line."""
    try:
        yield
    except SegplugError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        reason = one_line(error)
        kind = type(error).__name__
        text = reason if reason == kind else f"{kind}: {reason}"
        raise ModelError(f"{what}: {text}{raised_in(error)}") from error


def _look_up(module: types.ModuleType, module_name: str, attribute: str) -> Any:
    if not hasattr(module, attribute):
        guess = nearest(attribute, [name for name in vars(module) if not name.startswith("_")])
        raise UsageError(
            f"{module_name} has no '{attribute}'" + (f"; did you mean '{guess}'?" if guess else ""),
            hint=f"it was read from {module.__file__}" if getattr(module, "__file__", None) else None,
        )
    return getattr(module, attribute)


def _source_file(function: Callable[..., Any], module: types.ModuleType) -> Path | None:
    try:
        name = inspect.getsourcefile(inspect.unwrap(function)) or module.__file__
    except TypeError:  # an instance with __call__, or something built in
        name = module.__file__
    path = None if name is None else Path(name)
    return path if path is not None and path.is_file() else None


def _check_arguments(factory: Factory, keywords: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(factory.function)
    except (TypeError, ValueError):  # something built in
        return
    try:
        signature.bind(**keywords)
    except TypeError as error:
        raise UsageError(
            f"{factory.location} takes {signature}: {error}",
            hint="give its arguments with --cfg-options NAME=VALUE ...",
        ) from error


def _literal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
