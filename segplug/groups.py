"""The names of the hooks, and of the entry-point groups that hold their targets."""

from __future__ import annotations

__all__ = [
    "ADDON_GROUP",
    "COMMAND_GROUP",
    "EXECUTOR_HOOK",
    "HOOKS",
    "PROJECT",
    "SOURCE_HOOKS",
    "group_of",
    "hook_name",
]

PROJECT = "segplug"

HOOKS = ("export", "build_engine", "infer", "convert_weights", "analyze")
"""The hooks that a user calls: ``segplug <hook> <target>``."""

SOURCE_HOOKS = ("load_model", "load_dataset")
"""The hooks that load models and data sets for the hooks above."""

EXECUTOR_HOOK = "run"
"""The hook that runs a model or artifact on a data set: ``segplug infer`` calls it."""

ADDON_GROUP = "segplug.addon"

COMMAND_GROUP = "segplug.command"
"""Commands of plugins, for work that is not one of the hooks, such as ``segplug serve``. An entry names a
``click.Command`` in a module that is cheap to import. Add-ons wrap it as the hook ``command``."""


def group_of(hook: str) -> str:
    """The entry-point group that holds the targets of ``hook``."""
    return f"{PROJECT}.{'executor' if hook == EXECUTOR_HOOK else hook}"


def hook_name(word: str) -> str:
    """A hook's name from a user's spelling: ``-`` and ``_`` are the same.

    Raises:
        UsageError: there is no such hook.
    """
    name = word.replace("-", "_")
    if name not in HOOKS:
        from segplug.options import unknown

        raise unknown("hook", word, HOOKS, owner="segplug")
    return name
