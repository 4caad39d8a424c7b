"""The sink that writes all label maps of a run to one file."""

from __future__ import annotations

import io
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import ArtifactError, UsageError
from segplug.files import ensure_free, making_parents, write_bytes, writing
from segplug.runtime.pictures import is_unchanged, state_note
from segplug.sink import ImageResult, Notes, RunContext
from segplug.temporary import remove_abandoned, temporary_folder
from segplug.text import encodable

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.dataset import Dataset

__all__ = ["BIT_MASKS", "RawSink"]

BIT_MASKS = b"segplug: bit masks, bit c is set where class c is"
"""The comment of the zip file of label maps that are bit masks (:attr:`segplug.model.ModelMeta.multilabel`):
by it they are told from those of one label for each pixel."""


class RawSink:
    """Writes one ``.npz``: an unsigned ``(H, W)`` array for each image, under the image's name.

    Label maps are stored, compressed, beside the journal until the run ends, and then packed one by one:
    memory does not grow, and an interrupted run loses none. A file of bit masks says so
    (:data:`BIT_MASKS`).

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
        self._own_spool = ExitStack()

    @property
    def key(self) -> str:
        return f"raw {self._path.resolve()}"

    def open(self, run: RunContext) -> None:
        self._dataset: Dataset = run.dataset
        self._comment = BIT_MASKS if run.meta.multilabel else b""
        self._reporter = run.reporter
        self._done: list[int] = []
        if run.spool is not None:
            self._spool = run.spool
            return
        try:
            remove_abandoned(self._path.parent)
            self._own_spool.enter_context(making_parents(self._path))
            self._spool = self._own_spool.enter_context(temporary_folder(self._path.parent))
        except OSError as error:
            raise ArtifactError(f"cannot write {self._path}: {error.strerror or error}") from error

    def consume(self, result: ImageResult) -> Notes:
        piece, content = self._piece(result.index), io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("labels.npy", _npy(result.labels))
        write_bytes(piece, content.getvalue())
        self._done.append(result.index)
        return state_note(piece)

    def has(self, index: int, notes: Notes) -> bool:
        return is_unchanged(self._piece(index), notes)

    def restore(self, index: int, notes: Notes) -> None:
        self._done.append(index)

    def close(self, *, finished: bool) -> None:
        with self._own_spool:
            if finished:
                self._pack()

    def _pack(self) -> None:
        with (
            writing(self._path, force=self._force) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            self._reporter.progress(f"writing {self._path.name}", len(self._done)) as progress,
        ):
            archive.comment = self._comment
            for index in sorted(self._done):
                with zipfile.ZipFile(self._piece(index)) as piece:
                    archive.writestr(encodable(self._dataset.name(index)) + ".npy", piece.read("labels.npy"))
                progress.advance()

    def _piece(self, index: int) -> Path:
        return self._spool / f"{index}.zip"


def _npy(labels: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(labels), allow_pickle=False)
    return buffer.getvalue()
