"""The folder of a model in a repository: its versions, and the ``config.pbtxt`` that they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segplug.errors import ArtifactError, UsageError
from segplug.files import ensure_free_folder
from segplug.model import ModelMeta
from segplug.regular_files import copy_regular, is_regular
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

    @property
    def is_model(self) -> bool:
        """Whether it is the folder of a model: it has a ``config.pbtxt``."""
        return is_regular(self.path / CONFIG)

    def check(self, version: int, inputs: Iterable[Path], *, force: bool) -> None:
        """Check that a version can be written, before any work is done.

        Raises:
            UsageError: the folder is not a model's, the version exists and ``force`` is not set, or the
                version contains an input.
        """
        ensure_free_folder(self.path, force=True)
        folder = self.path / str(version)
        if self.path.exists() and not self.is_model:
            raise UsageError(f"{self.path} is not a model of a Triton repository: it has no {CONFIG}")
        if folder.exists() and not force:
            raise UsageError(
                f"{folder} already exists",
                hint="add --force to replace it, or set another --model-version",
            )
        for path in inputs:
            if folder.resolve() in path.resolve().parents:
                raise UsageError(
                    f"{path} is the input and would be overwritten", hint="choose another --model-version"
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

    def meta(self) -> ModelMeta | None:
        """Read the metadata of the newest version; raises :class:`segplug.errors.ArtifactError`."""
        config = self.config()
        try:
            return configs.meta_of(config)
        except ArtifactError as error:
            raise ArtifactError(f"{self.path / CONFIG}: {error.message}", hint=error.hint) from error

    def has_config(self, config: ModelConfig) -> bool:
        """Whether ``config.pbtxt`` says the same; raises :class:`segplug.errors.ArtifactError`."""
        return self.is_model and self.config() == config

    def add_version(self, version: int, files: Mapping[str, Path]) -> None:
        """Copy the files of a version: names in the version's folder, and the files that are copied there.

        Raises:
            ArtifactError: a file cannot be read, or the disk is full.
        """
        for name, source in files.items():
            target = self.path / str(version) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                copy_regular(source, target)
            except OSError as error:
                raise ArtifactError(f"cannot copy {source}: {error.strerror or error}") from error

    def write_config(self, config: ModelConfig) -> None:
        """Write ``config.pbtxt``."""
        (self.path / CONFIG).write_text(configs.as_text(config), encoding="utf-8")
