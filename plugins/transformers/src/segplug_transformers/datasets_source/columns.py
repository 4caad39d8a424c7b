"""Which columns hold images and masks, the names of their classes, and what a cell holds."""

from __future__ import annotations

from typing import Any, Literal

from segplug.errors import DatasetError, UsageError

__all__ = ["ColumnKind", "cell_content", "classes_of", "column_kind", "image_column", "label_column"]

ColumnKind = Literal["encoded", "array"]
"""Encoded images, as the library's ``Image`` stores them; or nested lists and arrays."""

_IMAGES = ("image", "images", "img", "pixel_values")
_LABELS = (
    *("label", "labels", "mask", "masks", "annotation", "annotations", "label_map", "segmentation"),
    *("segmentation_map", "segmentation_mask", "semantic_segmentation", "semantic_mask"),
)
_NAMED = 8
"""How many columns an error lists."""


def column_kind(feature: Any) -> ColumnKind | None:
    """How a column of this feature holds pictures; ``None``: it holds something else."""
    import datasets

    if isinstance(feature, datasets.Image):
        return "encoded"
    if isinstance(feature, dict):  # Image(decode=False), or written by another library
        return "encoded" if set(feature) == {"bytes", "path"} else None
    if isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary"):
        return "encoded"
    if isinstance(feature, (datasets.Array2D, datasets.Array3D)):
        return "array"
    depth, inner = _innermost(feature)
    if depth not in (2, 3) or not isinstance(inner, (datasets.Value, datasets.ClassLabel)):
        return None
    return "array" if inner.dtype.startswith(("int", "uint", "float", "bool")) else None


def image_column(features: Any, wanted: str | None) -> str:
    """The column of the images: the named one, or one with a usual name.

    Raises:
        UsageError: there is none, or several may be meant.
    """
    found = _choose(features, wanted, _IMAGES, "image_column", "images")
    if found is None:
        raise UsageError(
            f"no column of images is found among {_listed(features)}", hint="name it with image_column"
        )
    return found


def label_column(features: Any, wanted: str | None, images: str) -> str | None:
    """The column of the masks: the named one, or one with a usual name; ``None``: there is none.

    Raises:
        UsageError: the named one holds no masks, or several may be meant.
    """
    others = {name: feature for name, feature in features.items() if name != images}
    return _choose(others, wanted, _LABELS, "label_column", "masks")


def classes_of(feature: Any) -> tuple[str, ...]:
    """The names of the classes that a column's feature carries (``ClassLabel``); empty: none."""
    import datasets

    inner = _innermost(feature)[1]
    names = inner.names if isinstance(inner, datasets.ClassLabel) else None
    return tuple(names or ())


def cell_content(cell: Any, what: str) -> Any:
    """What a cell holds: bytes of an encoded image, or an array of NumPy.

    Args:
        cell: A scalar of pyarrow.
        what: The cell, for errors.

    Raises:
        DatasetError: it holds nothing, only a path, or rows of different lengths.
    """
    import pyarrow as pa

    if not cell.is_valid:
        raise DatasetError(f"{what} is missing: its cell in the table is empty")
    if isinstance(cell, pa.StructScalar):
        if not cell["bytes"].is_valid:
            raise DatasetError(
                f"{what} is not in the data set, which holds only its path {cell['path'].as_py()}",
                hint="save the data set with save_to_disk, which puts the files into it; to_parquet does not",
            )
        return cell["bytes"].as_py()
    if isinstance(cell, (pa.BinaryScalar, pa.LargeBinaryScalar)):
        return cell.as_py()
    if isinstance(cell, pa.ExtensionScalar):
        cell = cell.value
    return _array(cell.values, what)


def _array(values: Any, what: str) -> Any:
    """Nested lists of one row as an array; ``values`` is the outer list's content."""
    import pyarrow as pa
    import pyarrow.compute

    shape = [len(values)]
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or _is_fixed(values.type):
        lengths = pyarrow.compute.list_value_length(values).unique().to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise DatasetError(f"{what} is no array: its rows have different lengths")
        shape.append(lengths[0])
        values = values.flatten()
    if values.null_count:
        raise DatasetError(f"{what} has {values.null_count} values that are empty")
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def _is_fixed(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_list(kind))


def _innermost(feature: Any) -> tuple[int, Any]:
    """How many lists lie around a feature, and what is in them."""
    depth = 0
    while True:
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif type(feature).__name__ in ("List", "LargeList", "Sequence"):
            feature = feature.feature
        else:
            return depth, feature
        depth += 1


def _choose(features: Any, wanted: str | None, usual: tuple[str, ...], option: str, what: str) -> str | None:
    if wanted is not None:
        if wanted not in features:
            raise UsageError(f"there is no column {wanted}; there are {_listed(features)}")
        if column_kind(features[wanted]) is None:
            raise UsageError(f"the column {wanted} holds no {what}: it is {features[wanted]}")
        return wanted
    found = [name for name in features if name.lower() in usual and column_kind(features[name]) is not None]
    if len(found) > 1:
        raise UsageError(
            f"several columns may hold the {what}: {', '.join(found)}", hint=f"name one: {option}"
        )
    return found[0] if found else None


def _listed(features: Any) -> str:
    names = list(features)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
