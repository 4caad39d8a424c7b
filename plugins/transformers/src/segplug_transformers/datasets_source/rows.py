"""Cells of a table on disk: the Arrow files of ``save_to_disk``, or Parquet. Any thread may read them."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from segplug.errors import DatasetError, first_line
from segplug.quiet import quiet
from segplug.regular_files import NotRegularError, open_regular

if TYPE_CHECKING:
    from segplug_transformers.datasets_source.layout import Layout, Split

__all__ = ["Rows", "open_rows"]

_KEPT = 4
"""Columns of row groups that stay in memory: of images and masks, on both sides of a border."""


class Rows(Protocol):
    """A table of which single cells are read."""

    @property
    def features(self) -> Any:
        """The library's ``Features``: what each column holds."""
        ...

    def __len__(self) -> int: ...

    def cell(self, column: str, row: int) -> Any:
        """The value as a scalar of pyarrow; raises :class:`DatasetError` if it cannot be read."""
        ...

    def paths(self, column: str) -> list[str | None]:
        """The field ``path`` of each row of a column of images; ``None``: there is none."""
        ...


def open_rows(layout: Layout, split: Split) -> Rows:
    """Open the table of a split. Only its structure is read.

    Raises:
        DatasetError: a file is no table, or the files differ.
    """
    if layout in ("saved split", "saved splits"):
        return _SavedRows(split)
    return _ParquetRows(split)


class _SavedRows:
    """What ``save_to_disk`` wrote, opened by the library, which maps the files into memory."""

    def __init__(self, split: Split) -> None:
        import datasets

        self._folder = split.folder
        with _explained(split.folder), quiet():
            self._data = datasets.load_from_disk(str(split.folder)).with_format("arrow")
        self._columns = {name: self._data.select_columns([name]) for name in self._data.column_names}

    @property
    def features(self) -> Any:
        return self._data.features

    def __len__(self) -> int:
        count: int = self._data.num_rows
        return count

    def cell(self, column: str, row: int) -> Any:
        with _explained(self._folder):
            return self._columns[column][row].column(column)[0]

    def paths(self, column: str) -> list[str | None]:
        with _explained(self._folder):
            return _paths(self._columns[column][:].column(column))


class _ParquetRows:
    """Parquet files, of which one row group after the other is read: the library would copy them all."""

    def __init__(self, split: Split) -> None:
        import datasets
        import pyarrow.parquet

        self._files = split.files
        self._metadata = []
        for file in split.files:
            with _explained(file), open_regular(file) as opened:
                self._metadata.append(pyarrow.parquet.read_metadata(opened))
        first = self._metadata[0].schema.to_arrow_schema()
        for file, metadata in zip(self._files[1:], self._metadata[1:], strict=True):
            if metadata.schema.to_arrow_schema() != first:
                raise DatasetError(f"{file} has other columns than {self._files[0]}")
        with _explained(self._files[0]):
            self.features = datasets.Features.from_arrow_schema(first)
        self._structs = {field.name for field in first if pyarrow.types.is_struct(field.type)}
        self._groups = [
            (number, group)
            for number, metadata in enumerate(self._metadata)
            for group in range(metadata.num_row_groups)
        ]
        sizes = [self._metadata[number].row_group(group).num_rows for number, group in self._groups]
        self._starts: list[int] = [0, *itertools.accumulate(sizes)]
        self._kept: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._starts[-1]

    def cell(self, column: str, row: int) -> Any:
        place = bisect.bisect_right(self._starts, row) - 1
        with self._lock:
            values = self._kept.get((column, place))
            if values is None:
                values = self._kept[column, place] = self._read(place, column)
            self._kept.move_to_end((column, place))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return values[row - self._starts[place]]

    def paths(self, column: str) -> list[str | None]:
        if column not in self._structs:
            return [None] * len(self)
        tables = (self._read(place, column, field=".path") for place in range(len(self._groups)))
        return [path for values in tables for path in _paths(values)]

    def _read(self, place: int, column: str, *, field: str = "") -> Any:
        """A column of a row group; of a struct one field."""
        import pyarrow.parquet

        number, group = self._groups[place]
        file = self._files[number]
        with _explained(file), open_regular(file) as opened:
            table = pyarrow.parquet.ParquetFile(opened, metadata=self._metadata[number])
            return table.read_row_group(group, columns=[column + field], use_threads=False).column(column)


def _paths(values: Any) -> list[str | None]:
    import pyarrow as pa
    import pyarrow.compute

    if not pa.types.is_struct(values.type):
        return [None] * len(values)
    found: list[str | None] = pyarrow.compute.struct_field(values, "path").to_pylist()
    return found


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what pyarrow and the library raise for files that they cannot read into one line."""
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:  # both raise almost anything for a damaged file
        own = error.strerror if isinstance(error, NotRegularError) else None
        raise DatasetError(f"the table {path} cannot be read: {own or first_line(error)}") from error
