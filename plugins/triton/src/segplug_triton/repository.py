"""A model's folder in a repository: its versions, and ``config.pbtxt``, which they share."""

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

__all__ = ["CONFIG", "ModelFolder", "check_name", "name_like"]

CONFIG = "config.pbtxt"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]*")


def check_name(name: str) -> str:
    """A name that is a folder, a part of Triton's addresses and nothing else; raises :class:`UsageError`."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--model-name '{name}' cannot be a model's name",
            hint="letters, digits, '.', '_' and '-', 128 at most, the first a letter or a digit",
        )
    return name


def name_like(text: str) -> str:
    """A model's name made of what an artifact is called."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip("._-")[:128] or "model"


@dataclass(frozen=True)
class ModelFolder:
    """``REPOSITORY/<name>``, there already or not."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other packs out, from the look at the other versions until this one lies beside them.

        The lock is a hidden file beside the folder: Triton looks at folders alone.

        Raises:
            UsageError: another pack is under way.
            ArtifactError: the repository cannot be written.
        """
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            lock.touch(exist_ok=False)
        except FileExistsError as error:
            raise UsageError(
                f"something else is being packed into {self.path}",
                hint=f"try again when it is done; if nothing is, it was killed: rm {lock}",
            ) from error
        except OSError as error:
            raise ArtifactError(f"cannot write {self.path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)

    def check(self, version: int, artifact: Path, *, force: bool) -> None:
        """Check, before any work is done, that a version can be written.

        Raises:
            UsageError: the folder is another's, the version is there and not ``force``, or it is the input.
        """
        ensure_free_folder(self.path, force=True)
        place = self.path / str(version)
        if self.path.exists() and not (self.path / CONFIG).is_file():
            raise UsageError(f"{self.path} is no model of a Triton repository: it has no {CONFIG}")
        if place.exists() and not force:
            raise UsageError(
                f"{place} already exists", hint="add --force to replace it, or give another --model-version"
            )
        if place.resolve() in artifact.resolve().parents:
            raise UsageError(f"{artifact} is an input: it is not written over", hint="name another version")

    def others(self, version: int) -> tuple[int, ...]:
        """The versions beside ``version``. Triton ignores folders of other names, and so do we."""
        if not self.path.is_dir():
            return ()
        found = [item.name for item in self.path.iterdir() if item.is_dir()]
        return tuple(sorted({int(name) for name in found if _VERSION.fullmatch(name)} - {version}))

    def config(self) -> ModelConfig:
        """What ``config.pbtxt`` says; raises :class:`segplug.errors.ArtifactError`."""
        return configs.read(self.path / CONFIG)

    def write(self, version: int, files: Mapping[str, Path], config: ModelConfig) -> None:
        """Put a version's files into the folder, whole or not at all; everything else in it stays.

        Args:
            version: Its number; a version that is there is replaced.
            files: Name in the version's folder to the file that is copied there.
            config: What ``config.pbtxt`` says from then on. A file that says just that keeps its bytes, and
                so the comments of whoever edited it.

        Raises:
            ArtifactError: the disk is full, or the folder cannot be written.
        """
        there = self.path.is_dir()
        keep = there and self.config() == config
        with writing_folder(self.path, force=there) as fresh:
            if there:
                self._keep(fresh, without={str(version)} | (set() if keep else {CONFIG}))
            for name, source in files.items():
                target = fresh / str(version) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            if not keep:
                (fresh / CONFIG).write_text(configs.as_text(config), encoding="utf-8")

    def _keep(self, fresh: Path, *, without: set[str]) -> None:
        """Take the other files over: linked, for versions are large and nobody writes into them."""
        for item in self.path.iterdir():
            if item.name in without:
                continue
            if item.is_dir() and not item.is_symlink():
                shutil.copytree(item, fresh / item.name, symlinks=True, copy_function=_link)
            else:
                shutil.copy2(item, fresh / item.name, follow_symlinks=False)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)
