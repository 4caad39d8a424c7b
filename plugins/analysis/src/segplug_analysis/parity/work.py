"""The work folder: files that a model was made into, made once and used again.

A folder for each file, named for people (model, what, precision, size, output) and by a key over
everything that changes the file. Beside the file lies ``made.json``, written last: without it, or
where it does not tell of the very same recipe, files and versions, the file is made anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.artifact import file_sha256
from segplug.registry.formats import suffix_of
from segplug_analysis.parity.building import built
from segplug_analysis.parity.job import file_name

if TYPE_CHECKING:
    from segplug.installed import Provider
    from segplug.model import SegmentationModel
    from segplug.results import Artifact, Precision
    from segplug.session import Session
    from segplug_analysis.parity.form import Form
    from segplug_analysis.parity.plan import Trial

__all__ = ["RECORD", "Made", "Workshop", "key_of"]

RECORD = "made.json"
"""What lies beside a file that was made."""

_KEY_DIGITS = 12


@dataclass(frozen=True)
class Made:
    """A file in the work folder."""

    path: Path
    format: str
    precision: str
    hook: str
    """That made it: ``export`` or ``build_engine``."""
    reused: bool
    seconds: float
    """That it took to make, now or when it was made."""
    bytes: int
    """Of it and all that lies beside it."""


@dataclass(frozen=True)
class Workshop:
    """Makes the files of one model in one form.

    Args:
        folder: The work folder; it is there.
        session: What files are made with.
        model: The loaded model.
        origin: All that makes the model what it is (JSON types).
        form: What an exporter is asked for.
        device: What engines are compiled for.
        force: Make files anew, even where they would be used again.
    """

    folder: Path
    session: Session
    model: SegmentationModel
    origin: Mapping[str, Any]
    form: Form
    device: str
    force: bool
    _done: dict[Path, Made] = field(default_factory=dict)

    def make(self, trial: Trial) -> list[Made]:
        """Every file on the way to the one that the trial's backend opens; none if it takes the model.

        Raises:
            SegplugError: as the makers do.
        """
        steps: list[Made] = []
        recipe: Mapping[str, Any] = self.origin
        for maker in trial.route:
            last = maker is trial.route[-1]
            precision: Precision = trial.precision if last else "fp32"
            recipe = self._recipe(maker, precision, recipe)
            steps.append(self._step(maker, precision, recipe, steps[-1].path if steps else None))
        return steps

    def _recipe(self, maker: Provider, precision: str, of: Mapping[str, Any]) -> dict[str, Any]:
        entry = maker.entry
        return {
            "of": of,
            "maker": f"{entry.hook} {entry.qualified} {entry.version}",
            "segplug": distributions.version("segplug"),
            "precision": precision,
            "size": self.form.size_text,
            "options": self._options(maker),
            "device": None if entry.hook == "export" else self.device,
        }

    def _options(self, maker: Provider) -> dict[str, Any]:
        """Ask for the form's output where the maker lets itself be asked."""
        offered = {spec.name: spec.choices for spec in maker.option_specs}
        kind = self.form.output_kind
        return {"output_kind": kind} if kind in offered.get("output_kind", ()) else {}

    def _step(
        self, maker: Provider, precision: Precision, recipe: Mapping[str, Any], source: Path | None
    ) -> Made:
        target = maker.entry.target
        stem = self.model.meta.name
        words = (target, precision, self.form.size_text, self.form.output_kind, key_of(recipe))
        folder = self.folder / file_name("-".join((stem, *words)))
        if folder in self._done:  # for another trial
            return self._done[folder]
        name = stem + suffix_of(maker)
        seconds = None if self.force else _seconds_if_reusable(folder, recipe)
        reused = seconds is not None
        if seconds is None:
            with built(folder) as building:
                start = time.perf_counter()
                artifact = self._made(maker, precision, source, building / name)
                seconds = time.perf_counter() - start
                _write_record(building, recipe, artifact.meta.versions, seconds)
        made = Made(folder / name, target, precision, maker.entry.hook, reused, seconds, _size(folder))
        self._done[folder] = made
        return made

    def _made(self, maker: Provider, precision: Precision, source: Path | None, output: Path) -> Artifact:
        target, options = maker.entry.qualified, self._options(maker)
        if maker.entry.hook == "export":
            return self.session.export(
                target,
                self.model,
                output=output,
                shape=None if self.model.meta.inference.mode == "slide" else self.form.size,
                dynamic=self.form.size is None,
                precision=precision,
                **options,
            )
        return self.session.build_engine(
            target,
            source or self.model,
            output=output,
            precision=precision,
            device=self.device,
            **options,
        )


def key_of(recipe: Mapping[str, Any]) -> str:
    """A name for a recipe: equal recipes have equal ones."""
    text = json.dumps(recipe, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]


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
    """How long the file in ``folder`` took, if it is whole and would be made the same today."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        same = record["recipe"] == json.loads(json.dumps(recipe))
        whole = all(file_sha256(folder / name) == digest for name, digest in record["files"].items())
        current = all(_installed(name) in (None, version) for name, version in record["versions"].items())
        seconds = float(record["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return seconds if same and whole and current else None


def _installed(name: str) -> str | None:
    """A distribution's version; ``None`` for a name that is none, such as a driver's."""
    try:
        return distributions.version(name)
    except distributions.PackageNotFoundError:
        return None


def _files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD
    )


def _size(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in _files(folder))
