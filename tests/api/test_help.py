"""What `help()` shows to the author of a plugin: each hook, attribute, method and field, with its meaning."""

from __future__ import annotations

import inspect
import pydoc
import re
from types import ModuleType

import pytest

from segplug import hookspecs, providers, requests
from segplug.groups import EXECUTOR_HOOK, HOOKS, SOURCE_HOOKS
from segplug.versions import HOOK_VERSIONS

CLASSES = [
    pytest.param(module, getattr(module, name), id=name)
    for module in (providers, requests)
    for name in module.__all__
    if inspect.isclass(getattr(module, name))
]


def help_of(thing: object) -> str:
    return pydoc.render_doc(thing, renderer=pydoc.plaintext)


def flat(text: str) -> str:
    """A text without the lines and blanks of its layout."""
    return " ".join(text.replace("|", " ").split())


def test_the_lists_are_complete() -> None:
    assert set(HOOK_VERSIONS) == {*HOOKS, *SOURCE_HOOKS, EXECUTOR_HOOK, "command"}
    shown = {case.values[1] for case in CLASSES}
    assert {kind for kinds in providers.KINDS.values() for kind in kinds} < shown
    assert set(requests.Request.__subclasses__()) < shown


@pytest.mark.parametrize("hook", HOOK_VERSIONS)
def test_every_hook_is_explained(hook: str) -> None:
    text = help_of(hookspecs)
    assert re.search(rf"^    {hook}\(request: '\w+Request\[Any\]", text, re.MULTILINE)
    explanation = inspect.getdoc(getattr(hookspecs, hook)) or ""
    assert "Returns:" in explanation
    assert flat(explanation) in flat(text)


@pytest.mark.parametrize(("module", "cls"), CLASSES)
def test_every_attribute_and_field_is_explained(module: ModuleType, cls: type) -> None:
    assert f"class {cls.__name__}(" in help_of(module)
    text = help_of(cls)
    for name in vars(cls).get("__annotations__", {}):
        if not name.startswith("_"):
            assert re.search(rf"^ \|\s+{name}: [A-Z`]", text, re.MULTILINE), f"{cls.__name__}.{name}"


@pytest.mark.parametrize(("module", "cls"), CLASSES)
def test_every_method_is_explained(module: ModuleType, cls: type) -> None:
    text = flat(help_of(module))
    for name, member in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            explanation = flat(vars(cls)[name].__doc__ or "")
            assert explanation, f"{cls.__name__}.{name}"
            assert explanation in text, f"{cls.__name__}.{name}"
