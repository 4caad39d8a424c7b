"""Which packages a TorchServe needs to run an archive."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from segplug.model import ModelMeta
from segplug.serving.served_model import ServedModel
from segplug.session import Session

__all__ = ["server_requirements"]

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def server_requirements(session: Session, served: ServedModel, meta: ModelMeta, folder: Path) -> list[str]:
    """``name==version`` of segplug, its runtime, the plugins that the server uses, and their libraries.

    The versions are those of this installation. The list does not contain segplug-torchserve itself: callers
    name it with its extra.

    Args:
        session: Knows what is installed.
        served: What the server runs.
        meta: The model's metadata.
        folder: Where the files of ``served`` lie.
    """
    backend = session.registry.provider("infer", served.backend).entry.distribution
    plugins, extra = ["segplug", backend], set[str]()
    if served.config is not None:
        source = session.registry.source("load_model", str(folder / served.config), served.source)
        plugins.append(source.entry.distribution)
        extra = set(meta.versions)  # the libraries with which the source loaded the model, such as mmcv
    extras = ["runtime", *(["tiff"] if meta.decoding.library in ("bands", "tifffile") else [])]
    libraries = set(
        _package_names(
            line
            for line in metadata.requires("segplug") or ()
            if any(f'extra == "{name}"' in line for name in extras)
        )
    )
    for plugin in plugins[1:]:
        libraries |= set(
            _package_names(line for line in metadata.requires(plugin) or () if "extra ==" not in line)
        )
    names = [*dict.fromkeys(plugins), *sorted((libraries | extra) - set(plugins))]
    return [f"{name}=={version}" for name in names if (version := _version(name))]


def _package_names(requirements: Iterable[str]) -> list[str]:
    found = (_NAME.match(line) for line in requirements)
    return [name.group() for name in found if name is not None]


def _version(name: str) -> str:
    """The installed version without the tag of a local build; empty: the package is not installed."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""
