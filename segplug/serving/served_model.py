"""The description of a served model, which is a JSON file beside it, and how to open the model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import ArtifactError, UsageError
from segplug.preprocessing import keeps_size
from segplug.registry.formats import default_backend
from segplug.serving.requests import Limits

if TYPE_CHECKING:
    from segplug.engine import Engine, EngineSpec
    from segplug.installed import Provider
    from segplug.session import Session

__all__ = ["SERVED_FILE", "ServedModel", "choose_backend", "open_served_model", "serving_warnings"]

SERVED_FILE = "segplug-served.json"
"""The name of the description, in the folder of the model that it describes."""


@dataclass(frozen=True)
class ServedModel:
    """An artifact, or a config with its weights, and its backend. Paths are relative to the folder."""

    backend: str
    """The ``infer`` target."""
    artifact: str | None = None
    config: str | None = None
    checkpoint: str | None = None
    source: str | None = None
    trust_checkpoint: bool = False
    allow_nonfinite: bool = False
    trust_artifact: bool = False
    """Whether the artifact is opened even if it may run code: whoever packed it has said so."""
    approximate: bool = False
    """Whether what cannot be done exactly was left out when the config was packed."""
    source_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the source that loads the config."""
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    """Threads of the engine; ``None``: the library's own default."""
    batch_size: int = 1
    """The largest batch for the engine; its images have one network size."""
    limits: Limits = field(default_factory=Limits)
    unknown_below: float | None = None
    """Labels of a lower probability become unknown, unless a request says otherwise."""

    def to_json(self) -> str:
        """The description as one JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ServedModel:
        """The inverse of :meth:`to_json`; raises :class:`ArtifactError` for other text."""
        try:
            data = json.loads(text)
            return cls(**{**data, "limits": Limits(**data.get("limits", {}))})
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactError(
                f"{SERVED_FILE} is damaged, or another version of segplug wrote it: {error}"
            ) from error


def choose_backend(session: Session, artifact: Path, wanted: str | None = None) -> Provider:
    """Choose the ``infer`` target that opens an artifact: ``wanted``, or else the default of its format
    (:func:`segplug.registry.formats.default_backend`).

    Raises:
        UsageError: there is no such file, or no installed target opens it.
    """
    if wanted is None:
        backend, _ = default_backend(session.registry, artifact)
    else:
        backend = session.registry.provider("infer", wanted)
    if backend.takes != "artifact":
        raise UsageError(f"infer {backend.entry.target} does not open artifacts")
    return backend


def serving_warnings(spec: EngineSpec) -> list[str]:
    """Why a server's masks may differ from those of the source's framework, one line each.

    That images are stretched to an artifact's only size is not among them: the runtime says it of the first.
    """
    found = [f"approximate: {line}" for line in spec.meta.approximations]
    if spec.meta.default_tta:
        found.append(
            f"test-time augmentation (views: {len(spec.meta.default_tta)}) is left out on a server, as with "
            "--no-tta"
        )
    # Another tool's own program resizes its labels, too, by this rule: they do not differ.
    own_labels = spec.meta.label_resize != "nearest_exact"
    # Where the file takes any size, and no step changes it, labels have the image's own size.
    free = not (spec.height.is_fixed or spec.width.is_fixed)
    kept = free and keeps_size(spec.meta.preprocessing)
    if spec.output == "labels" and spec.input == "tensor" and not own_labels and not kept:
        found.append(
            "this artifact outputs labels: for images of another size than the network's input its masks "
            "differ slightly from PyTorch's; an artifact exported with --output-kind logits gives equal masks"
        )
    return found


@contextmanager
def open_served_model(
    session: Session, folder: Path, served: ServedModel, *, device: str | None = None
) -> Iterator[Engine]:
    """Open the model in ``folder`` that ``served`` describes; it is closed with the context.

    ``device`` is where it runs; ``None``: the backend's own default.
    """
    subject: Any
    if served.artifact is not None:
        subject = folder / served.artifact
    elif served.config is not None:
        subject = session.load_model(
            folder / served.config,
            checkpoint=None if served.checkpoint is None else folder / served.checkpoint,
            source=served.source,
            trust_checkpoint=served.trust_checkpoint,
            trust_artifact=served.trust_artifact,
            allow_nonfinite=served.allow_nonfinite,
            approximate=served.approximate,
            **served.source_options,
        )
    else:
        raise ArtifactError(f"{SERVED_FILE} names neither an artifact nor a config")
    options = dict(served.backend_options)
    with session.open(
        subject,
        backend=served.backend,
        device=device,
        threads=served.threads,
        trust_artifact=served.trust_artifact,
        **options,
    ) as engine:
        yield engine
