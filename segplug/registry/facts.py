"""The facts of a provider's class, as its manifest says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from segplug.errors import PluginError
from segplug.installed import Facts
from segplug.options import nearest
from segplug.providers import KINDS, Backend, EngineBuilder, Exporter, Packer
from segplug.results import Precision

__all__ = ["command_facts", "facts_of"]

_TAKES: Mapping[type, tuple[str, ...]] = {
    Exporter: ("model",),
    Packer: ("artifact", "either"),
    EngineBuilder: ("artifact", "model"),
    Backend: ("artifact", "model", "url"),
}

_PRECISIONS = get_args(Precision)


def facts_of(hook: str, target: str, plugin: object, base: type) -> Facts:
    """Read a provider's or an add-on's facts from its attributes.

    Args:
        hook: Its hook, or ``addon``.
        target: Its name.
        plugin: The object.
        base: The base class that declares its attributes.

    Raises:
        PluginError: an attribute has a wrong type or value; it is named.
    """

    def read(name: str, kind: type, default: Any = None) -> Any:
        value = getattr(plugin, name, getattr(base, name, None))
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise PluginError(f"its '{name}' must be {_WORDS[kind]}, not {value!r}")
        return value

    def read_words(name: str, known: tuple[str, ...] = ()) -> tuple[str, ...]:
        words = tuple(read(name, tuple, ()))
        for word in words:
            if not isinstance(word, str) or (known and word not in known):
                raise PluginError(f"its '{name}' cannot hold {word!r}" + _one_of(word, known))
        return words

    about = read("about", str) or _first_line(plugin)
    if base in KINDS["addon"]:
        return Facts(
            kind=base.__name__,
            versions=_versions(read("hook_versions", Mapping, {})),
            about=about,
            mandatory=read("mandatory", bool, False),
            order=read("order", int, 0),
            sidecars=_sidecars(read_words("sidecars")),
        )
    takes = read("takes", str, "")
    allowed = _TAKES.get(base, ("",))
    if takes not in allowed:
        raise PluginError(f"its 'takes' cannot be {takes!r}" + _one_of(takes, allowed))
    opens = base in (Backend, EngineBuilder) and takes == "artifact"
    makes = base in (Exporter, EngineBuilder)
    reads = read_words("reads") if opens else ()
    precisions = read_words("precisions", _PRECISIONS) if makes else ()
    if makes and not precisions:
        raise PluginError("its 'precisions' are empty")
    return Facts(
        kind=base.__name__,
        versions={hook: read("hook_version", int)},
        about=about,
        takes=takes,
        reads=(reads or (target,)) if opens else (),
        suffix=_suffix(read("suffix", str), target, base) if makes or base is Packer else "",
        verify_with=read("verify_with", str, "") if makes else "",
        default_device=read("default_device", str, "") if base is Backend else "",
        precisions=precisions,
    )


def command_facts(command: Any) -> Facts:
    """The facts of a plugin's ``click.Command``."""
    return Facts(kind="Command", versions={}, about=command.get_short_help_str(limit=100))


_WORDS = {str: "text", tuple: "a tuple", bool: "True or False", int: "a whole number", Mapping: "a mapping"}


def _one_of(word: object, known: tuple[str, ...]) -> str:
    if not known:
        return ""
    guess = nearest(str(word), known)
    return f": it is one of {', '.join(known)}" + (f"; did you mean '{guess}'?" if guess else "")


def _versions(declared: Mapping[str, Any]) -> dict[str, int]:
    for hook, version in declared.items():
        if type(version) is not int:
            raise PluginError(f"its 'hook_versions' must be whole numbers, not {version!r} for {hook}")
    return dict(declared)


def _suffix(declared: str | None, target: str, base: type) -> str:
    if declared is None:
        return f".{target}"
    if declared and not declared.startswith("."):
        raise PluginError(f"its 'suffix' begins with a dot, not {declared!r}")
    if not declared and base is not Packer:
        raise PluginError("its 'suffix' is empty; an artifact's name ends in something")
    return declared


def _sidecars(declared: tuple[str, ...]) -> tuple[str, ...]:
    for end in declared:
        if not end.startswith(".") or "/" in end or "\\" in end:
            raise PluginError(f"its 'sidecars' hold {end!r}: each begins with a dot, and names no folder")
    return declared


def _first_line(plugin: object) -> str:
    text = (getattr(plugin, "__doc__", None) or "").strip()
    return text.splitlines()[0].strip() if text else ""
