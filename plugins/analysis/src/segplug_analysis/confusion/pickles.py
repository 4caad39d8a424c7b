"""Read mmseg's ``results.pkl``, a list of arrays, without running other code that a pickle may have."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import ArtifactError
from segplug.regular_files import open_regular

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["read_arrays"]

_ARRAY_PARTS = frozenset(
    {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.numeric", "_frombuffer"),
        ("_codecs", "encode"),  # how pickles of the old protocols hold bytes
    }
)
"""Everything that a pickled list of arrays refers to, in numpy 1 and 2."""

_TRUST = "if you trust its author, add --trust-results: it may run code on this machine"


class _Refused(Exception):
    """The pickle refers to something that is not part of an array."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAY_PARTS:
            raise _Refused(f"{module}.{name}")
        return getattr(importlib.import_module(module), name)


def read_arrays(path: Path, *, trust: bool) -> list[npt.NDArray[Any]]:
    """The arrays of a pickled list. All are in memory at once, because of the format.

    Args:
        path: The file.
        trust: Allow the full unpickler.

    Raises:
        ArtifactError: it is damaged, has something else, or needs ``trust``.
    """
    try:
        with open_regular(path) as file:
            arrays = (pickle.Unpickler if trust else _ArrayUnpickler)(file).load()
    except _Refused as error:
        if str(error).startswith("torch."):
            raise _no_list(path) from error
        raise ArtifactError(f"{path} holds more than arrays: {error}", hint=_TRUST) from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise ArtifactError(f"the results {path} cannot be read: {error or type(error).__name__}") from error
    if not isinstance(arrays, list) or not all(isinstance(item, np.ndarray) for item in arrays):
        raise _no_list(path)
    return arrays


def _no_list(path: Path) -> ArtifactError:
    return ArtifactError(
        f"{path} is no list of label maps",
        hint="mmseg's test tool writes one with --out and without --eval; with --eval it writes pixel counts",
    )
