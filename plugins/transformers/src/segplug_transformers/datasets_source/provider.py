"""The data set source ``datasets``: what the library ``datasets`` of Hugging Face leaves on disk.

It reads what ``save_to_disk`` wrote, Parquet files, and folders with Parquet files, such as a data set that
was downloaded from the Hugging Face hub. Nothing is fetched, nothing is copied into a cache, and no loading
script runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.errors import MissingDependencyError, UsageError
from segplug.hookspecs import hookimpl
from segplug.providers import Confidence, DatasetSource
from segplug.regular_files import expanded
from segplug_transformers.datasets_source.layout import Split, find_layout, recognise
from segplug_transformers.datasets_source.options import DatasetsOptions
from segplug_transformers.palettes import palette_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segplug.requests import LoadDatasetRequest
    from segplug_transformers.datasets_source.dataset import TableDataset

__all__ = ["provider"]


class Datasets(DatasetSource[DatasetsOptions]):
    """Opens data sets of the library datasets: save_to_disk folders, and Parquet files."""

    hook_version = 2
    options = DatasetsOptions

    def accepts(self, location: str) -> Confidence:
        """Likely for the library's own files; a folder of image files is another source's."""
        return Confidence.NO if recognise(location) is None else Confidence.LIKELY

    def palette(self, name: str) -> tuple[tuple[int, int, int], ...]:
        """The colours of a data set by its name on the hub: ``scene_parse_150``; empty: not known."""
        return palette_of(name)

    @hookimpl
    def load_dataset(self, request: LoadDatasetRequest[DatasetsOptions]) -> TableDataset:
        """Open the table of one split; no image is read. Overrides of a config are the model's."""
        layout, splits = find_layout(request.location)
        split = _chosen(splits, request.options.split, request.location)
        try:
            import datasets  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                f"reading {request.location} needs the library datasets: {error}",
                hint="pip install 'segplug-transformers[datasets]'",
            ) from error
        from segplug_transformers.datasets_source.dataset import TableDataset
        from segplug_transformers.datasets_source.rows import open_rows

        path = expanded(request.location).resolve()
        name = path.stem if layout == "parquet file" else path.name
        return TableDataset(request.location, name, split, open_rows(layout, split), request.options)


def _chosen(splits: Mapping[str, Split], wanted: str | None, location: str) -> Split:
    if wanted is None and len(splits) == 1:
        return next(iter(splits.values()))
    names = ", ".join(splits)
    if wanted is None:
        raise UsageError(f"{location} has several splits: {names}", hint="choose one: split=NAME")
    if wanted not in splits:
        raise UsageError(f"{location} has no split {wanted}", hint=f"it has: {names}")
    return splits[wanted]


provider = Datasets()
