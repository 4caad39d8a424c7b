"""The tables of exportable forms, which replace code of a network, and the functions that add to them.

A *cause* is one thing that exporters cannot follow (adaptive pooling, window attention, ...), and one module
of a plugin. It registers any of these:

* a **method form**: another ``forward`` for one class. The class is named by its qualified name: no framework
  is imported to register the form, and a class that has several names (mmcv, mmengine) has one form:

      @method_form("mmseg.models.utils.embed.AdaptivePadding")
      def adaptive_padding(self, x): ...

  ``method="get_points"`` replaces another method of the class;

* a **function form**: the replacement of a torch function wherever the network calls it:

      @function_form(torch.nn.functional.adaptive_avg_pool2d)
      def adaptive_avg_pool2d(input, output_size): ...

* a **context**: a context manager that is entered whenever the exportable network runs:

      @run_inside
      @contextmanager
      def without_hints(): ...

* a **preparation**: what is done with each part of a class when the exportable copy is made. Weights are
  numbers still; an export sees them only as tensors without values:

      @preparation("transformers.models.eomt.modeling_eomt.EomtForUniversalSegmentation")
      def read_switches(self): ...

A form takes the arguments of what it replaces and gives the same numbers. Where it cannot (an option that
it does not know), it calls the original: ``original_forward(self)`` for a method form, the function itself
for a function form.

A form that is registered counts for every network, whatever source loaded it: it is looked up by the name of
the class. So a plugin imports its forms before it calls :func:`segplug_torch.exportable.make_exportable`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from torch import nn

__all__ = [
    "CONTEXTS",
    "FUNCTION_FORMS",
    "METHOD_FORMS",
    "PREPARATIONS",
    "form_of",
    "forms_of",
    "function_form",
    "method_form",
    "original_forward",
    "preparation",
    "preparation_of",
    "run_inside",
]

Form = TypeVar("Form", bound=Callable[..., Any])
Context = TypeVar("Context", bound=Callable[[], AbstractContextManager[None]])
Preparation = TypeVar("Preparation", bound=Callable[[Any], None])

METHOD_FORMS: dict[str, Callable[..., Any]] = {}
"""By the qualified name of the class, followed by ``.method`` for another method than ``forward``."""
FUNCTION_FORMS: dict[Callable[..., Any], Callable[..., Any]] = {}
CONTEXTS: list[Callable[[], AbstractContextManager[None]]] = []
PREPARATIONS: dict[str, Callable[[Any], None]] = {}
"""By the qualified name of the class."""

_METHODS = {"forward"}


def _key(qualified_name: str, method: str) -> str:
    return qualified_name if method == "forward" else f"{qualified_name}.{method}"


def method_form(*qualified_names: str, method: str = "forward") -> Callable[[Form], Form]:
    """Register the decorated function as the exportable ``forward`` (or ``method``) of the named classes."""

    def register(form: Form) -> Form:
        _METHODS.add(method)
        for name in (_key(qualified, method) for qualified in qualified_names):
            if name in METHOD_FORMS:
                raise ValueError(f"two exportable forms for {name}")
            METHOD_FORMS[name] = form
        return form

    return register


def function_form(function: Callable[..., Any]) -> Callable[[Form], Form]:
    """Register the decorated function as the replacement of ``function``."""

    def register(form: Form) -> Form:
        if function in FUNCTION_FORMS:
            raise ValueError(f"two exportable forms for {function}")
        FUNCTION_FORMS[function] = form
        return form

    return register


def run_inside(context: Context) -> Context:
    """Register the decorated context manager: every exportable network runs inside of it."""
    CONTEXTS.append(context)
    return context


def preparation(*qualified_names: str) -> Callable[[Preparation], Preparation]:
    """Register the decorated function: it gets each part of the named classes of an exportable copy.

    It may set attributes of the part, which belongs to the copy alone. Parameters and buffers are shared with
    the original: it must not change them. What cannot be exported at all, it refuses with a ``ModelError``.
    A copy of a copy is prepared again.
    """

    def register(prepare: Preparation) -> Preparation:
        for name in qualified_names:
            if name in PREPARATIONS:
                raise ValueError(f"two preparations for {name}")
            PREPARATIONS[name] = prepare
        return prepare

    return register


def preparation_of(module: nn.Module) -> Callable[[Any], None] | None:
    """The preparation for ``module``: of its class, or of the nearest parent that has one, or ``None``."""
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(module).__mro__)
    return next((PREPARATIONS[name] for name in names if name in PREPARATIONS), None)


def form_of(module: nn.Module, method: str = "forward") -> Callable[..., Any] | None:
    """The method form for ``module``: that of the class whose ``forward`` it runs, or ``None``.

    A subclass that keeps its parent's ``forward`` takes the parent's form; one that has its own does not.
    """
    for cls in type(module).__mro__:
        if method in cls.__dict__:
            return METHOD_FORMS.get(_key(f"{cls.__module__}.{cls.__qualname__}", method))
    return None


def forms_of(module: nn.Module) -> dict[str, Callable[..., Any]]:
    """The method forms for ``module``, by the name of the method that each replaces."""
    found = {method: form_of(module, method) for method in sorted(_METHODS)}
    return {method: form for method, form in found.items() if form is not None}


def original_forward(module: nn.Module) -> Callable[..., Any]:
    """The ``forward`` of the class of ``module``, bound to it: what a form calls where it does not apply."""
    bound: Callable[..., Any] = type(module).forward.__get__(module)
    return bound
