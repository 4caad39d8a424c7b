"""Classes of the frameworks, by name: to ask for one does not import it."""

from __future__ import annotations

__all__ = ["is_a"]


def is_a(thing: object, qualified_name: str) -> bool:
    """Whether ``thing`` is of the class of this qualified name, or of a subclass."""
    return any(f"{cls.__module__}.{cls.__qualname__}" == qualified_name for cls in type(thing).__mro__)
