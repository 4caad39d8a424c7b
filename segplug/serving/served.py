"""What a server runs: which engine on which file, as JSON beside the model, and how it is opened again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import ArtifactError, UsageError
from segplug.registry.formats import backends_for
from segplug.serving.requests import Limits

if TYPE_CHECKING:
    from segplug.engine import Engine, EngineSpec
    from segplug.installed import Provider
    from segplug.session import Session

__all__ = ["SERVED_FILE", "Served", "choose_backend", "label_output_warning", "open_served"]

SERVED_FILE = "segplug-served.json"
"""The file's name, in the folder of what it describes."""


@dataclass(frozen=True)
class Served:
    """An artifact, or a config and its weights, and its engine. Paths are relative to its folder."""

    backend: str
    """The ``infer`` target."""
    artifact: str | None = None
    config: str | None = None
    checkpoint: str | None = None
    source: str | None = None
    trust_checkpoint: bool = False
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    """Threads of one engine run; ``None``: the library's own default."""
    batch_size: int = 1
    """Images of one network size that the engine is given together."""
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Served:
        """The inverse of :meth:`to_json`; raises :class:`ArtifactError` for anything else."""
        try:
            data = json.loads(text)
            return cls(**{**data, "limits": Limits(**data.get("limits", {}))})
        except (ValueError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{SERVED_FILE} is damaged, or of another segplug: {error}") from error


def choose_backend(session: Session, artifact: Path, wanted: str | None = None) -> Provider:
    """The ``infer`` target that opens an artifact: the one that is wanted, else its format's own.

    Raises:
        UsageError: none is installed, or several are and none is the format's own.
    """
    if wanted is not None:
        backend = session.registry.provider("infer", wanted)
        if backend.takes != "artifact":
            raise UsageError(f"infer {wanted} opens no artifacts")
        return backend
    found = backends_for(session.registry, artifact)
    if not found:
        raise UsageError(
            f"no installed backend opens files named *{artifact.suffix}", hint="segplug plugins list"
        )
    named_by_exporters = _verification_backends(session)
    own = [backend for backend in found if backend.entry.target in named_by_exporters]
    if len(found) > 1 and len(own) != 1:
        names = " and ".join(backend.entry.target for backend in found)
        raise UsageError(f"{artifact.name} is opened by {names}", hint="choose with --backend")
    return own[0] if len(own) == 1 else found[0]


def _verification_backends(session: Session) -> set[str]:
    """The backends that exporters name as their format's own."""
    from segplug.errors import PluginError

    named = set()
    for entry in session.targets("export"):
        try:
            exporter = session.registry.load(entry)
        except PluginError:
            continue  # asking for it by name says why
        named.add(str(getattr(exporter.plugin, "verify_with", "")))
    return named


def label_output_warning(spec: EngineSpec) -> str | None:
    """The warning for a server whose engine gives labels; ``None`` for an engine that gives logits."""
    if spec.output != "labels" or spec.input != "tensor":
        return None
    return (
        "this artifact gives labels: its masks of images of another size than the network's are not quite "
        "PyTorch's; those of one exported with --output-kind logits are"
    )


@contextmanager
def open_served(session: Session, folder: Path, served: Served, *, device: str = "cpu") -> Iterator[Engine]:
    """Open what ``served`` describes, in ``folder``; closed with the context."""
    what: Any
    if served.artifact is not None:
        what = folder / served.artifact
    elif served.config is not None:
        what = session.load_model(
            folder / served.config,
            checkpoint=None if served.checkpoint is None else folder / served.checkpoint,
            source=served.source,
            trust_checkpoint=served.trust_checkpoint,
        )
    else:
        raise ArtifactError(f"{SERVED_FILE} names neither an artifact nor a config")
    options = dict(served.backend_options)
    with session.open(
        what, backend=served.backend, device=device, threads=served.threads, **options
    ) as engine:
        yield engine
