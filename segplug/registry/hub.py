"""What to type for a repository of the Hugging Face hub, from which nothing is fetched."""

from __future__ import annotations

import os

from segplug.locations import repository_name
from segplug.registry.discovery import entries

__all__ = ["how_to_download"]

_READERS = {
    "load_model": ("transformers", "segplug-transformers", ""),
    "load_dataset": ("datasets", "'segplug-transformers[datasets]'", " --repo-type dataset"),
}
"""The hook: the source that reads what the hub has, what brings it, and a flag of the hub's tool."""


def how_to_download(location: str | os.PathLike[str], hook: str = "load_model") -> str | None:
    """How to get what a location names, if it leads to nothing here and may be a repository of the hub.

    Args:
        location: As the user gave it: ``OWNER/NAME``, or its address.
        hook: ``load_model`` or ``load_dataset``: what is looked for.

    Returns:
        A hint, for the error of a file that is not there; ``None``: it is no such name.
    """
    text = os.fspath(location)
    repository = None if os.path.lexists(os.path.expanduser(text)) else repository_name(text)
    if repository is None:
        return None
    reader, plugin, flag = _READERS[hook]
    name = repository.partition("/")[2]
    known = any(entry.target == reader for entry in entries(hook))
    install = "" if known else f"; pip install {plugin}"
    return (
        f"nothing is fetched from a hub: hf download{flag} {repository} --local-dir {name}{install}; "
        f"then give {name} in its place"
    )
