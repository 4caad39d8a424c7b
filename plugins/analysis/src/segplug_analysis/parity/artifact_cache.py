"""The work folder as a cache of exported files and engines: each is made once and used again.

Each file has a folder, named after the model, format, precision, size and output, with a hash of the recipe
at the end. The recipe is everything that the file depends on. Beside the file is ``made.json`` with the
recipe, the hashes of all files, and the versions of the libraries that made them. Where one of these
differs, the file is made again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.artifact import file_sha256
from segplug.files import writing_folder
from segplug.regular_files import is_regular, read_regular_text
from segplug_analysis.parity.names import file_name, short_hash
from segplug_analysis.parity.outcomes import CachedFile

if TYPE_CHECKING:
    from segplug.installed import Entry
    from segplug.model import SegmentationModel
    from segplug.results import Artifact, Precision
    from segplug.session import Session
    from segplug_analysis.parity.form import Form
    from segplug_analysis.parity.plan import Trial

__all__ = ["RECORD", "ArtifactCache"]

RECORD = "made.json"
"""The file beside an artifact that says how it was made."""


@dataclass(frozen=True)
class ArtifactCache:
    """Makes the files of one model in one form, or finds them in the work folder.

    Args:
        folder: The work folder; it exists.
        session: Exports models and builds engines.
        model: The loaded model.
        identity: Everything that decides what the model computes (JSON types).
        form: What an exporter is asked for.
        device: What engines are built for; ``None``: their builder's own default.
        force: Make every file again, even where it could be used.
        trust_artifact: Open files that an earlier report made even if they may run code.
    """

    folder: Path
    session: Session
    model: SegmentationModel
    identity: Mapping[str, Any]
    form: Form
    device: str | None
    force: bool
    trust_artifact: bool = False
    _files: dict[Path, CachedFile] = field(default_factory=dict)

    def files_for(self, trial: Trial) -> list[CachedFile]:
        """Every file on the way to the one that the trial's backend opens; none if it takes the model.

        Raises:
            SegplugError: as the makers do.
        """
        files: list[CachedFile] = []
        recipe: Mapping[str, Any] = self.identity
        for maker in trial.route:
            is_last = maker == trial.route[-1]
            precision: Precision = trial.precision if is_last else "fp32"
            recipe = self._recipe(maker, precision, recipe)
            files.append(self._file(maker, precision, recipe, files[-1] if files else None))
        return files

    def _recipe(self, maker: Entry, precision: str, of: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that a file depends on; ``of`` is the recipe of what it is made from."""
        return {
            "of": of,
            "maker": f"{maker.hook} {maker.qualified} {maker.version}",
            "segplug": distributions.version("segplug"),
            "precision": precision,
            "size": self.form.size_text,
            "options": self._options(maker),
            "device": None if maker.hook == "export" else self.device,
        }

    def _options(self, maker: Entry) -> dict[str, Any]:
        """Ask for the form's output if the maker has an option for it."""
        offered = {spec.name: spec.choices for spec in self.session.registry.load(maker).option_specs}
        kind = self.form.output_kind
        return {"output_kind": kind} if kind in offered.get("output_kind", ()) else {}

    def _file(
        self, maker: Entry, precision: Precision, recipe: Mapping[str, Any], source: CachedFile | None
    ) -> CachedFile:
        target = maker.target
        stem = self.model.meta.name
        words = (target, precision, self.form.size_text, self.form.output_kind, short_hash(recipe))
        folder = self.folder / file_name("-".join((stem, *words)))
        if folder in self._files:  # another trial has asked for it
            return self._files[folder]
        name = stem + maker.facts.suffix
        seconds = None if self.force else _seconds_if_reusable(folder, recipe)
        reused = seconds is not None
        if seconds is None:
            with writing_folder(folder, force=True) as temporary:
                start = time.perf_counter()
                artifact = self._make(maker, precision, source, temporary / name)
                seconds = time.perf_counter() - start
                _write_record(temporary, recipe, artifact.meta.versions, seconds)
        file = CachedFile(
            path=folder / name,
            format=target,
            precision=precision,
            hook=maker.hook,
            reused=reused,
            seconds=seconds,
            bytes=_size(folder),
        )
        self._files[folder] = file
        return file

    def _make(self, maker: Entry, precision: Precision, source: CachedFile | None, output: Path) -> Artifact:
        options = self._options(maker)
        if maker.hook == "export":
            return self.session.export(
                maker,
                self.model,
                output=output,
                shape=None if self.model.meta.inference.mode == "slide" else self.form.size,
                dynamic=self.form.size is None,
                precision=precision,
                **options,
            )
        return self.session.build_engine(
            maker,
            self.model if source is None else source.path,
            output=output,
            precision=precision,
            device=self.device,
            trust_artifact=self.trust_artifact or not (source is not None and source.reused),
            **options,
        )


def _write_record(
    folder: Path, recipe: Mapping[str, Any], versions: Mapping[str, str], seconds: float
) -> None:
    record = {
        "recipe": recipe,
        "versions": dict(versions),
        "files": {name: file_sha256(folder / name) for name in _files(folder)},
        "seconds": seconds,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _seconds_if_reusable(folder: Path, recipe: Mapping[str, Any]) -> float | None:
    """How long the file in ``folder`` took to make; ``None``: it must be made again."""
    try:
        record = json.loads(read_regular_text(folder / RECORD))
        same = record["recipe"] == json.loads(json.dumps(recipe))
        whole = all(file_sha256(folder / name) == digest for name, digest in record["files"].items())
        current = all(_installed(name) in (None, version) for name, version in record["versions"].items())
        seconds = float(record["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return seconds if same and whole and current else None


def _installed(name: str) -> str | None:
    """A distribution's version; ``None`` if no distribution has this name, which may be a driver's."""
    try:
        return distributions.version(name)
    except distributions.PackageNotFoundError:
        return None


def _files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if is_regular(path) and path.name != RECORD
    )


def _size(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in _files(folder))
