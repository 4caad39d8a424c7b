"""Read mmseg's ``results.pkl``, a list of arrays, without running other code that a pickle may have."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.checkpoint.arrays import array_types
from segplug.errors import ArtifactError
from segplug.regular_files import open_regular

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["read_arrays"]

_TRUST = "if you trust its author, add --trust-results: it may run code on this machine"


class _Refused(Exception):
    """The pickle refers to something that is not part of an array."""


_Unpickler: Any = vars(pickle)["_Unpickler"]
"""The unpickler in Python: that in C reserves memory as a pickle tells it to."""


class _ArrayUnpickler(_Unpickler):  # type: ignore[misc]
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # how pickles of the old protocols hold bytes
            return _encoded
        found = array_types().get(f"{module}.{name}")
        if found is None:
            raise _Refused(f"{module}.{name}")
        return found


def _encoded(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes in {encoding!a}")
    return text.encode("latin-1")


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
            _check_size(os.fstat(file.fileno()).st_size, path)
            arrays = (pickle.Unpickler if trust else _ArrayUnpickler)(file).load()
    except _Refused as error:
        if str(error).startswith("torch."):
            raise _no_list(path) from error
        raise ArtifactError(f"{path} holds more than arrays: {error}", hint=_TRUST) from error
    except ArtifactError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        reason = str(error) or type(error).__name__
        raise ArtifactError(f"the results {path} cannot be read: {reason}") from error
    if not isinstance(arrays, list) or not all(isinstance(item, np.ndarray) for item in arrays):
        raise _no_list(path)
    return arrays


def _check_size(size: int, path: Path) -> None:
    """Refuse a file that the machine's memory does not hold."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return
    if size > memory:
        raise ArtifactError(
            f"the results {path} have {size:,} bytes, more than the {memory:,} of this machine's memory",
            hint="a .pkl is read as a whole: name an .npz or a folder of label maps",
        )


def _no_list(path: Path) -> ArtifactError:
    return ArtifactError(
        f"{path} is no list of label maps",
        hint="mmseg's test tool writes one with --out and without --eval; with --eval it writes pixel counts",
    )
