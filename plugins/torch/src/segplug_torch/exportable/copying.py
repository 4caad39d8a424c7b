"""The exportable copy of a network: new modules that share the parameters and buffers of the original."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

from torch import nn
from torch.overrides import TorchFunctionMode

from .registry import CONTEXTS, FUNCTION_FORMS, forms_of, preparation_of
from .small_probabilities import SIGMOIDS

__all__ = ["make_exportable"]

Module = TypeVar("Module", bound=nn.Module)


def make_exportable(module: Module, *, probabilities: bool = False) -> Module:
    """A copy of ``module`` in eval mode that exporters can follow, with the same weights.

    Its parameters and buffers share the memory of the original's and need no gradient; the original is not
    changed. All registered forms are applied (:mod:`segplug_torch.exportable.registry`). Outputs are equal up
    to the rounding of float32 in another order. Names in ``state_dict`` are kept.

    Args:
        module: A network.
        probabilities: Whether it gives probabilities (``ModelMeta.scores``): then no sigmoid in it loses its
            small values in a runtime (:mod:`segplug_torch.exportable.small_probabilities`).

    Raises:
        ModelError: a part cannot be exported with the same numbers.
    """
    exportable = _share(module)
    exportable.eval()  # not chained: some modules (of mmseg) return nothing from it
    for part in exportable.modules():
        for method, form in forms_of(part).items():
            setattr(part, method, types.MethodType(form, part))
        if prepare := preparation_of(part):
            prepare(part)
    forms = {**FUNCTION_FORMS, **(SIGMOIDS if probabilities else {})}
    exportable.forward = _with_function_forms(exportable.forward, forms)
    return exportable


def _share(module: Module) -> Module:
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach()
    return copy.deepcopy(module, memo)


def _with_function_forms(forward: Callable[..., Any], forms: Mapping[Any, Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def traced(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            for context in CONTEXTS:
                stack.enter_context(context())
            stack.enter_context(_FunctionForms(forms))
            return forward(*args, **kwargs)

    return traced


class _FunctionForms(TorchFunctionMode):
    """Calls the form instead of each torch function that has one."""

    def __init__(self, forms: Mapping[Any, Any]) -> None:
        super().__init__()
        self._forms = forms

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self._forms.get(func, func)(*args, **(kwargs or {}))
