"""What has to be installed where TorchServe runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata

from segplug.model import ModelMeta
from segplug.serving.served import Served
from segplug.session import Session

__all__ = ["requirements_of"]

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_RUNTIME = 'extra == "runtime"'


def requirements_of(session: Session, served: Served, meta: ModelMeta) -> list[str]:
    """``name==version`` of segplug, its runtime, the plugins that the server uses, and their libraries.

    The versions are those of this installation. segplug-torchserve itself is not among them: whoever shows
    the list names it, with its extra.
    """
    backend = session.registry.provider("infer", served.backend).entry.distribution
    plugins, more = ["segplug", backend], set[str]()
    if served.config is not None:
        plugins.append(session.registry.source("load_model", served.config, served.source).entry.distribution)
        more = set(meta.versions)  # a source names what its model was loaded with, as mmcv
    libraries = set(_named(line for line in metadata.requires("segplug") or () if _RUNTIME in line))
    for plugin in plugins[1:]:
        libraries |= set(_named(line for line in metadata.requires(plugin) or () if "extra ==" not in line))
    names = [*dict.fromkeys(plugins), *sorted((libraries | more) - set(plugins))]
    return [f"{name}=={version}" for name in names if (version := _version(name))]


def _named(requirements: Iterable[str]) -> list[str]:
    found = (_NAME.match(line) for line in requirements)
    return [name.group() for name in found if name is not None]


def _version(name: str) -> str:
    """As package indexes know it, without the tag of a local build; empty: it is not installed."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""
