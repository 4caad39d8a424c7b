"""Show the curves in a window, through matplotlib's global state."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from segplug.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_backend", "open_window"]

_INSTEAD = "write a file with --out, or leave out --backend"


def check_backend(name: str, *, shows: bool) -> None:
    """Check, before any work is done, that a backend exists and can show a window.

    Raises:
        UsageError: matplotlib does not have it; or, with ``shows``, it cannot open a window here.
    """
    # Any: matplotlib's types do not have the registry.
    registry: Any = importlib.import_module("matplotlib.backends").backend_registry
    try:
        _, framework = registry.resolve_backend(name)
    except Exception as error:  # module://NAME imports a module, which may raise anything
        known = ", ".join(registry.list_all())
        raise UsageError(f"matplotlib has no backend '{name}'", hint=f"matplotlib has {known}") from error
    if not shows:
        return
    if framework is None and not name.startswith("module://"):  # matplotlib knows nothing about those
        raise UsageError(f"the backend {name} only writes files", hint="name one with --out")
    _switch(name)


def _switch(name: str) -> None:
    from matplotlib import pyplot

    try:
        pyplot.switch_backend(name)
    except Exception as error:
        raise UsageError(f"no window can be opened with {name}: {error}", hint=_INSTEAD) from error


def open_window(draw: Callable[[Figure], None], size: tuple[float, float]) -> None:
    """Show what ``draw`` draws until the window is closed."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=size, layout="constrained")
    draw(figure)
    pyplot.show()
    pyplot.close(figure)
