"""The folder of a model in a repository: its versions, and the ``config.pbtxt`` that they share."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.errors import ArtifactError, UsageError
from segplug.files import ensure_free_folder, writing_folder
from segplug_triton import config as configs

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

__all__ = ["CONFIG", "ModelFolder", "check_name", "name_from"]

CONFIG = "config.pbtxt"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]*")


def check_name(name: str) -> str:
    """Return a name if it is valid as a folder and in Triton's URLs; else raise :class:`UsageError`."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--model-name '{name}' is not a valid name",
            hint="use at most 128 letters, digits, '.', '_' and '-'; the first must be a letter or a digit",
        )
    return name


def name_from(text: str) -> str:
    """Make a valid model name from another name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip("._-")[:128] or "model"


@dataclass(frozen=True)
class ModelFolder:
    """``REPOSITORY/<name>``, which may not exist yet."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the model, so that no other process packs a version of it at the same time.

        The lock is a hidden file beside the folder; Triton ignores files there.

        Raises:
            UsageError: another process packs into the same model.
            ArtifactError: the repository is not writable.
        """
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            lock.touch(exist_ok=False)
        except FileExistsError as error:
            raise UsageError(
                f"another process is packing into {self.path}",
                hint=f"try again later; if that process was killed: rm {lock}",
            ) from error
        except OSError as error:
            raise ArtifactError(f"cannot write {self.path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)

    def check(self, version: int, artifact: Path, *, force: bool) -> None:
        """Check that a version can be written, before any work is done.

        Raises:
            UsageError: the folder is not a model's, the version exists and ``force`` is not set, or the
                version contains the input.
        """
        ensure_free_folder(self.path, force=True)
        folder = self.path / str(version)
        if self.path.exists() and not (self.path / CONFIG).is_file():
            raise UsageError(f"{self.path} is not a model of a Triton repository: it has no {CONFIG}")
        if folder.exists() and not force:
            raise UsageError(
                f"{folder} already exists",
                hint="add --force to replace it, or set another --model-version",
            )
        if folder.resolve() in artifact.resolve().parents:
            raise UsageError(
                f"{artifact} is the input and would be overwritten", hint="choose another --model-version"
            )

    def others(self, version: int) -> tuple[int, ...]:
        """The versions other than ``version``. Folders with other names are ignored, as Triton does."""
        if not self.path.is_dir():
            return ()
        found = [item.name for item in self.path.iterdir() if item.is_dir()]
        return tuple(sorted({int(name) for name in found if _VERSION.fullmatch(name)} - {version}))

    def config(self) -> ModelConfig:
        """Read ``config.pbtxt``; raises :class:`segplug.errors.ArtifactError`."""
        return configs.read(self.path / CONFIG)

    def write(self, version: int, files: Mapping[str, Path], config: ModelConfig) -> None:
        """Write a version into the folder and keep everything else in it. A failure changes nothing.

        Args:
            version: The number of the version; an existing version is replaced.
            files: Names in the version's folder, and the files that are copied there.
            config: The new configuration. If ``config.pbtxt`` contains the same, that file is kept with its
                comments.

        Raises:
            ArtifactError: the disk is full, or the folder is not writable.
        """
        exists = self.path.is_dir()
        keep_config = exists and self.config() == config
        with writing_folder(self.path, force=exists) as fresh:
            if exists:
                self._copy_existing(fresh, without={str(version)} | (set() if keep_config else {CONFIG}))
            for name, source in files.items():
                target = fresh / str(version) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            if not keep_config:
                (fresh / CONFIG).write_text(configs.as_text(config), encoding="utf-8")

    def _copy_existing(self, fresh: Path, *, without: set[str]) -> None:
        """Copy the other files. Those of versions are hard-linked: they are large and never modified."""
        for item in self.path.iterdir():
            if item.name in without:
                continue
            if item.is_dir() and not item.is_symlink():
                shutil.copytree(item, fresh / item.name, symlinks=True, copy_function=_link_or_copy)
            else:
                shutil.copy2(item, fresh / item.name, follow_symlinks=False)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)
