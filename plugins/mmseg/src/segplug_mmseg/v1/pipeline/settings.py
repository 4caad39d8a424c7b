"""Where a config keeps its test data and its test pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from segplug.errors import ModelError
from segplug_mmseg.values import is_list

__all__ = ["data_sets", "split_data", "test_data", "test_pipelines"]


def test_data(config: Any) -> Any:
    """``test_dataloader.dataset``: the settings of a data set, or of a wrapper around others; ``None``: there
    is none.

    Raises:
        ModelError: ``test_dataloader`` is no dict.
    """
    return split_data(config, "test")


def split_data(config: Any, split: str) -> Any:
    """As :func:`test_data`, for any split: ``train``, ``val`` or ``test``."""
    loader = config.get(f"{split}_dataloader") or {}
    if not isinstance(loader, dict):
        raise ModelError(f"{split}_dataloader of the config must be a dict, not {loader!r}")
    return loader.get("dataset")


def test_pipelines(config: Any) -> list[Any]:
    """The pipelines of all data sets of ``test_dataloader``, or ``test_pipeline``. Empty: there is none."""
    found = [settings["pipeline"] for settings in data_sets(test_data(config)) if settings.get("pipeline")]
    shared = config.get("test_pipeline")
    return found or ([shared] if shared else [])


def data_sets(settings: Any) -> Iterator[dict[str, Any]]:
    """The data sets in the settings of one, wrappers (``ConcatDataset``, ``RepeatDataset``) opened."""
    if is_list(settings):
        for item in settings:
            yield from data_sets(item)
    elif isinstance(settings, dict):
        wrapped = settings.get("datasets", settings.get("dataset"))
        if isinstance(wrapped, (dict, list, tuple)):
            yield from data_sets(wrapped)
        else:
            yield settings
