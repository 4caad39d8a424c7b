"""The sink that writes all label maps of a run to one file."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import ArtifactError, UsageError
from segplug.files import ensure_free, writing
from segplug.sink import ImageResult, Notes, RunContext

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.dataset import Dataset

__all__ = ["RawSink"]


class RawSink:
    """Writes one ``.npz``: an unsigned ``(H, W)`` array for each image, under the image's name.

    Label maps are stored, compressed, beside the journal until the run ends, and then packed one by one:
    memory does not grow, and an interrupted run loses none.

    Args:
        path: The file, ending in ``.npz``.
        force: Replace it if it exists.

    Raises:
        UsageError: the name does not end in ``.npz``, the folder does not exist, or the file exists and
            ``force`` is not set.
    """

    needs_image = False
    needs_mask = False
    needs_confidence = False

    def __init__(self, path: Path, *, force: bool = False) -> None:
        if path.suffix != ".npz":
            raise UsageError(f"raw results are written as .npz, not as {path.name}")
        ensure_free(path, force=force)
        self._path = path
        self._force = force
        self._own_spool: tempfile.TemporaryDirectory[str] | None = None

    @property
    def key(self) -> str:
        return f"raw {self._path.resolve()}"

    def open(self, run: RunContext) -> None:
        self._dataset: Dataset = run.dataset
        self._done: list[int] = []
        if run.spool is not None:
            self._spool = run.spool
            return
        try:
            folder, prefix = self._path.parent, f".{self._path.name}."
            self._own_spool = tempfile.TemporaryDirectory(prefix=prefix, dir=folder)
        except OSError as error:
            raise ArtifactError(f"cannot write {self._path}: {error.strerror or error}") from error
        self._spool = Path(self._own_spool.name)

    def consume(self, result: ImageResult) -> Notes:
        piece = self._piece(result.index)
        try:
            with zipfile.ZipFile(piece, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                archive.writestr("labels.npy", _npy(result.labels))
        except OSError as error:
            raise ArtifactError(f"cannot write {piece}: {error.strerror or error}") from error
        self._done.append(result.index)
        return {}

    def has(self, index: int, notes: Notes) -> bool:
        return self._piece(index).is_file()

    def restore(self, index: int, notes: Notes) -> None:
        self._done.append(index)

    def close(self, *, finished: bool) -> None:
        try:
            if finished:
                self._pack()
        finally:
            if self._own_spool is not None:
                self._own_spool.cleanup()

    def _pack(self) -> None:
        with (
            writing(self._path, force=self._force) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            for index in sorted(self._done):
                with zipfile.ZipFile(self._piece(index)) as piece:
                    archive.writestr(self._dataset.name(index) + ".npy", piece.read("labels.npy"))

    def _piece(self, index: int) -> Path:
        return self._spool / f"{index}.zip"


def _npy(labels: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(labels), allow_pickle=False)
    return buffer.getvalue()
