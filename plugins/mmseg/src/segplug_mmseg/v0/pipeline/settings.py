"""Where a config keeps its test pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from segplug.errors import ModelError
from segplug_mmseg.values import is_list

__all__ = ["data_settings", "test_pipelines"]


def data_settings(config: Any, split: str) -> dict[str, Any]:
    """The first data set of ``data.<split>``, or an empty dict. Its classes count for all.

    Raises:
        ModelError: the config's ``data`` is no dict.
    """
    return next(_data_sets(config, split), {})


def test_pipelines(config: Any) -> list[Any]:
    """The pipelines of all data sets of ``data.test``, or ``test_pipeline``. Empty: there is none."""
    found = [settings["pipeline"] for settings in _data_sets(config, "test") if settings.get("pipeline")]
    shared = config.get("test_pipeline")
    return found or ([shared] if shared else [])


def _data_sets(config: Any, split: str) -> Iterator[dict[str, Any]]:
    data = config.get("data") or {}
    if not isinstance(data, dict):
        raise ModelError(f"data of the config must be a dict, not {data!r}")
    return _single(data.get(split))


def _single(found: Any) -> Iterator[dict[str, Any]]:
    if is_list(found):
        for item in found:
            yield from _single(item)
    elif isinstance(found, dict):
        repeated = found.get("dataset")
        yield from _single(repeated) if isinstance(repeated, dict) else (found,)
