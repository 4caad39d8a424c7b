"""One frozen request for each kind of provider, with the fields that all its targets understand.

All fields are keyword-only. New fields come with defaults, so that a hook can grow without breaking an
installed plugin. Every request is generic in the provider's own options: ``ExportRequest[Options]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from segplug.errors import UsageError
from segplug.options import require_number
from segplug.results import Artifact, Precision

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.calls import Call
    from segplug.dataset import Dataset
    from segplug.model import ModelMeta, SegmentationModel
    from segplug.progress import Reporter
    from segplug.session import OnError, Session, Subject
    from segplug.sink import Sink

__all__ = [
    "AnalyzeRequest",
    "BuildEngineRequest",
    "CommandRequest",
    "ConvertWeightsRequest",
    "ExportRequest",
    "InferRequest",
    "LoadDatasetRequest",
    "LoadModelRequest",
    "MakePlan",
    "PackRequest",
    "Request",
    "RunRequest",
    "SubjectRequest",
]

OptionsT = TypeVar("OptionsT")

_COUNTS = ("threads", "batch_size")
"""The fields of any request that are whole numbers from 1."""

_NAMES = ("device", "config", "checkpoint", "location", "url")
"""The fields of any request that name something: empty, they would mean something else."""


@dataclass(frozen=True, kw_only=True)
class Request(Generic[OptionsT]):
    """What every request has.

    Attributes:
        call: The context: hook, target, distribution, id, parent call, and whether it belongs to a
            verification.
        options: The target's own options: an instance of the dataclass that its provider declares.
        reporter: Takes notes, warnings and progress.
        session: Calls other hooks, with the same add-ons and reporter. Their calls have this one as parent.
    """

    call: Call
    options: OptionsT
    reporter: Reporter
    session: Session

    def __post_init__(self) -> None:
        for name in _COUNTS:
            require_number(name, getattr(self, name, None), least=1, whole=True)
        require_number("unknown_below", getattr(self, "unknown_below", None), least=0, most=1)
        for name in _NAMES:
            if getattr(self, name, None) == "":
                raise UsageError(f"{name} is empty", hint="leave it out, or name one")


@dataclass(frozen=True, kw_only=True)
class SubjectRequest(Request[OptionsT]):
    """A request about one model, artifact or server. Exactly one of the three is set.

    Attributes:
        model: A loaded model.
        artifact: The path of an artifact, a file or a folder.
        url: The address of a server that runs a model.
    """

    model: SegmentationModel | None = None
    artifact: Path | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if sum(item is not None for item in (self.model, self.artifact, self.url)) != 1:
            raise UsageError(f"a {type(self).__name__} is about one model, artifact or url")
        super().__post_init__()

    @property
    def subject(self) -> Subject:
        """The model, the path or the address, whichever is set."""
        found = self.model or self.artifact or self.url
        assert found is not None
        return found

    @property
    def location(self) -> str:
        """The subject as a person names it: the config's path, the artifact's path, or the address."""
        if self.model is not None:
            return self.model.meta.provenance.config or self.model.meta.name
        return str(self.artifact or self.url)

    @property
    def meta(self) -> ModelMeta | None:
        """The metadata of the model or artifact; ``None`` for a server, or a file that has none.

        Raises:
            ArtifactError: the metadata of the artifact is damaged.
            UsageError: the artifact is not there.
            PluginError: the plugin of its format is broken.
        """
        if self.model is not None:
            return self.model.meta
        return None if self.artifact is None else self.session.read_meta(self.artifact)

    @property
    def loaded(self) -> SegmentationModel:
        """``model``, for a provider that takes models only.

        Raises:
            UsageError: there is none.
        """
        if self.model is None:
            raise UsageError(f"{self.call.hook} {self.call.target} takes a loaded model, not {self.location}")
        return self.model

    @property
    def file(self) -> Path:
        """``artifact``, for a provider that takes artifacts only.

        Raises:
            UsageError: there is none.
        """
        if self.artifact is None:
            raise UsageError(f"{self.call.hook} {self.call.target} takes an artifact, not {self.location}")
        return self.artifact

    @property
    def address(self) -> str:
        """``url``, for a provider that takes addresses only.

        Raises:
            UsageError: there is none.
        """
        if self.url is None:
            raise UsageError(
                f"{self.call.hook} {self.call.target} takes the address of a server, not {self.location}"
            )
        return self.url


@dataclass(frozen=True, kw_only=True)
class ExportRequest(SubjectRequest[OptionsT]):
    """Ask an exporter to trace a loaded model and write an artifact.

    Attributes:
        model: The model; always set.
        output: The file to write, in a staging folder. It does not exist. Files beside it become parts of the
            artifact.
        destination: Where the artifact will lie when every add-on has agreed. Its name is that of ``output``.
        shape: Network input (height, width) in pixels; ``None``: the model's nominal input size.
        dynamic: Let batch, height and width vary, within ``model.input_limits()``, which go into the
            metadata.
        precision: The arithmetic of the artifact, one of the provider's ``precisions``.
        sample: A preprocessed float32 input ``(1, C, H, W)``, for exporters that need values, or a size.
    """

    model: SegmentationModel
    output: Path
    destination: Path
    shape: tuple[int, int] | None = None
    dynamic: bool = False
    precision: Precision = "fp32"
    sample: npt.NDArray[np.float32] | None = None

    def made(self, meta: ModelMeta) -> Artifact:
        """The result: the artifact at ``output``. The core adds its parts, size and hash."""
        return Artifact(path=self.output, format=self.call.target, meta=meta)


@dataclass(frozen=True, kw_only=True)
class MakePlan(Generic[OptionsT]):
    """What a maker is going to be asked for, before a model is loaded or an artifact is opened.

    Attributes:
        options: The target's own options.
        destination: Where the artifact will lie.
        precision: One of the provider's ``precisions``.
        device: As in :class:`BuildEngineRequest`; ``None`` for an exporter.
        images: The user's images, all of which are there.
    """

    options: OptionsT
    destination: Path
    precision: Precision
    device: str | None
    images: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class PackRequest(SubjectRequest[OptionsT]):
    """Ask a packer to write an artifact, or a model's config and weights, in the form that a server reads.

    Attributes:
        output: An empty staging folder. What is written there is moved into ``destination`` in the end.
        destination: The server's folder of models. Only read it: it may hold an older version of the model.
        force: Whether the user allows to replace a model of the same name (and version).
        trust_artifact: Open the artifact even if it may run code; see :class:`InferRequest`.
    """

    output: Path
    destination: Path
    force: bool = False
    trust_artifact: bool = False

    def made(self, path: Path, meta: ModelMeta) -> Artifact:
        """The result: the file or folder ``path`` in ``output``. The core adds its parts, size and hash."""
        return Artifact(path=path, format=self.call.target, meta=meta)


@dataclass(frozen=True, kw_only=True)
class BuildEngineRequest(SubjectRequest[OptionsT]):
    """Ask for an engine artifact, compiled from another artifact or from a loaded model.

    Attributes:
        output: The file to write, in a staging folder. It does not exist. Files beside it become parts of the
            artifact.
        destination: Where the engine will lie when every add-on has agreed. Its name is that of ``output``.
        precision: The arithmetic of the engine, one of the provider's ``precisions``.
        device: ``cuda:0`` and the like; ``None``: the target's own default.
        images: Real images, for builders that calibrate on them.
        trust_artifact: Open the artifact even if it may run code; see :class:`InferRequest`.
    """

    output: Path
    destination: Path
    precision: Precision = "fp32"
    device: str | None = None
    images: tuple[Path, ...] = ()
    trust_artifact: bool = False

    def made(self, meta: ModelMeta) -> Artifact:
        """The result: the artifact at ``output``. The core adds its parts, size and hash."""
        return Artifact(path=self.output, format=self.call.target, meta=meta)


@dataclass(frozen=True, kw_only=True)
class InferRequest(SubjectRequest[OptionsT]):
    """Ask for an engine: open ``artifact``, wrap ``model``, or reach ``url``; ready to run batches.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:1``, or another name that the target knows.
        threads: Threads of one ``run``; ``None``: the library's own default.
        want_logits: Give logits for a comparison, even if the artifact gives labels. A target that cannot do
            that gives labels.
        trust_artifact: Open the artifact even if it may run code. Otherwise a target whose artifacts are
            programs checks the file before it opens it, and raises
            :class:`segplug.errors.UntrustedError`.
        allow_nonfinite: Open an artifact that gives labels even if weights in it are NaN. Otherwise a target
            that can read them raises :class:`segplug.errors.NonfiniteError`: labels would not show it.
    """

    device: str = "cpu"
    threads: int | None = None
    want_logits: bool = False
    trust_artifact: bool = False
    allow_nonfinite: bool = False


@dataclass(frozen=True, kw_only=True)
class RunRequest(SubjectRequest[OptionsT]):
    """Ask an executor to run a model or artifact on a data set and to give the results to sinks.

    Attributes:
        backend: The ``infer`` target, as ``distribution:target``.
        backend_options: The backend's own options, keyword to value.
        dataset: The data set.
        sinks: Take the results: scores, label maps, pictures.
        device: The device of the backend: ``cpu``, ``cuda:1``.
        threads: Threads of one engine run; ``None``: the library's own default.
        batch_size: Images of equal size that are run together.
        on_error: ``stop``, or ``skip`` unreadable images, counting and listing them.
        resume: Go on where an interrupted run of the same kind stopped.
        tta: Run the model's test-time augmentation; ``None``: if it is the model's default.
        unknown_below: Labels that are less probable than this become the data set's ignored label; 0 to 1.
        allow_nonfinite: Go on if scores are NaN or infinite: such pixels get the data set's ignored label,
            and the report lists the images.
        trust_artifact: Open the artifact even if it may run code; see :class:`InferRequest`.
    """

    backend: str
    dataset: Dataset
    sinks: tuple[Sink, ...] = ()
    backend_options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    threads: int | None = None
    batch_size: int = 1
    on_error: OnError = "stop"
    resume: bool = False
    tta: bool | None = None
    unknown_below: float | None = None
    allow_nonfinite: bool = False
    trust_artifact: bool = False


@dataclass(frozen=True, kw_only=True)
class ConvertWeightsRequest(Request[OptionsT]):
    """Ask for weights under other names or in another form.

    Attributes:
        checkpoint: The file to read. It is never modified.
        output: The file to write, in a staging folder. It does not exist.
        destination: Where the file will lie when every add-on has agreed. Its name is that of ``output``.
    """

    checkpoint: Path
    output: Path
    destination: Path


@dataclass(frozen=True, kw_only=True)
class AnalyzeRequest(Request[OptionsT]):
    """Ask for a report about one or more files.

    Attributes:
        subjects: Configs, artifacts, logs: as the user gave them.
        force: Replace files that are there. Those that options with ``output=True`` name are staged: the core
            has checked them.
    """

    subjects: tuple[str, ...]
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class LoadModelRequest(Request[OptionsT]):
    """Ask a source for a model.

    Attributes:
        config: The location of the config, as the user gave it.
        checkpoint: Path of the weights; ``None``: random weights, as the source initialises them.
        cfg_options: Dotted key to value. A string is parsed as the source parses its own command line.
        device: Where the network is put.
        trust_checkpoint: Allow the full unpickler, which can run code that the file holds.
        trust_artifact: Open a config that is a program (a TorchScript file) even if it may do more than
            compute; see :class:`InferRequest`.
        for_training: Build also what only training uses, such as auxiliary heads. ``forward`` stays the same.
        structure_only: The values of the weights do not matter: without a checkpoint they need no
            initialisation.
        approximate: Leave out what segplug cannot do exactly, and list it in ``ModelMeta.approximations``.
            Otherwise it is an error.
    """

    config: str
    checkpoint: str | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    trust_checkpoint: bool = False
    trust_artifact: bool = False
    for_training: bool = False
    structure_only: bool = False
    approximate: bool = False


@dataclass(frozen=True, kw_only=True)
class LoadDatasetRequest(Request[OptionsT]):
    """Ask a source for a data set.

    Attributes:
        location: A config or a folder, as the user gave it.
        cfg_options: Dotted key to value. A string is parsed as the source parses its own command line.
    """

    location: str
    cfg_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CommandRequest(Request[OptionsT]):
    """A plugin's own command (``segplug serve``) that is about to run. Only add-ons get this request.

    Attributes:
        parameters: The parameters by name, as the command line was parsed; of a group of commands, those
            of the group.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
