"""The methods of ``request.session``: everything that segplug does, with the caller's add-ons and reporter.

A provider that needs a model, an engine or another artifact calls ``request.session``, and makes no
:class:`segplug.Segplug` of its own: so the same add-ons apply, and the same reporter gets the messages.
:class:`segplug.Segplug` implements :class:`Session` and documents each argument. A target is given by its
name, or as the provider itself if that is loaded already.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from segplug.installed import Entry, Provider
from segplug.model import SegmentationModel
from segplug.results import Artifact, Precision

if TYPE_CHECKING:
    import torch

    from segplug.comparison import Comparison, Thresholds
    from segplug.dataset import Dataset
    from segplug.engine import Engine
    from segplug.info import FileInfo
    from segplug.model import ModelMeta
    from segplug.progress import Reporter
    from segplug.results import AnalyzeReport, BackboneFit, ConversionReport
    from segplug.scores import RunReport
    from segplug.sink import Sink

__all__ = ["OnError", "PathLike", "Providers", "Session", "Subject", "Target"]

PathLike = str | Path

Subject = SegmentationModel | Artifact | PathLike
"""What a hook works on: a loaded model, an artifact or its path, or the address of a server."""

OnError = Literal["stop", "skip"]

Target = str | Entry | Provider
"""A target: its name, its entry, or its loaded provider."""


class Providers(Protocol):
    """The installed providers, chosen by name and loaded when they are asked for."""

    @property
    def without_addons(self) -> frozenset[str]:
        """The add-ons that the caller left out: a process that works for this one leaves out the same."""
        ...

    @property
    def given_addon_options(self) -> Mapping[str, Mapping[str, Any]]:
        """The options of add-ons as they were given: a process that works for this one needs the same."""
        ...

    def addon_options(self, addon: object) -> Any:
        """The options of an add-on in use; :meth:`segplug.providers.AddOn.settings` calls this."""
        ...

    def provider(self, hook: str, name: str) -> Provider:
        """Load the provider that ``name`` (``target`` or ``distribution:target``) means.

        Raises:
            UsageError: none or several distributions offer it; they are named.
            PluginError: the plugin is broken or outdated; the original exception is the cause.
        """
        ...

    def source(self, hook: str, location: str, name: str | None) -> Provider:
        """The source for a location: the named one, or the one that is surest that it reads it.

        Raises:
            UsageError: none accepts it, or several are equally sure; they are named.
        """
        ...

    def load(self, entry: Entry) -> Provider:
        """Import and check the plugin of one entry; raises :class:`PluginError` if it is unusable."""
        ...


class Session(Protocol):
    """Everything segplug does. Every method may raise :class:`segplug.errors.SegplugError`."""

    @property
    def registry(self) -> Providers:
        """The installed providers."""
        ...

    @property
    def reporter(self) -> Reporter:
        """Where notes, warnings and progress go."""
        ...

    def with_reporter(self, reporter: Reporter) -> Session:
        """The same session, reporting to ``reporter``."""
        ...

    def targets(self, hook: str) -> tuple[Entry, ...]:
        """The installed targets of a hook, from metadata alone."""
        ...

    def load_model(
        self,
        config: PathLike,
        *,
        checkpoint: PathLike | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        source: str | None = None,
        device: str = "cpu",
        trust_checkpoint: bool = False,
        trust_artifact: bool = False,
        allow_nonfinite: bool = False,
        for_training: bool = False,
        structure_only: bool = False,
        approximate: bool = False,
        **options: Any,
    ) -> SegmentationModel:
        """Load a model through the source that reads ``config``."""
        ...

    def config_text(
        self,
        config: PathLike,
        *,
        cfg_options: Mapping[str, Any] | None = None,
        source: str | None = None,
        **options: Any,
    ) -> str:
        """A config with everything it imports written out, in its source's own language."""
        ...

    def upgraded_text(
        self,
        config: PathLike,
        *,
        cfg_options: Mapping[str, Any] | None = None,
        source: str | None = None,
        **options: Any,
    ) -> str:
        """The same, translated to the next generation of its framework's configs."""
        ...

    def describe_model(
        self, location: PathLike, *, source: str | None = None, **options: Any
    ) -> ModelMeta | None:
        """What the files of a model say of it, without its network."""
        ...

    def fit_backbone(
        self,
        config: PathLike,
        state: Mapping[str, torch.Tensor],
        *,
        optional: Collection[str] = (),
        source: str | None = None,
        **options: Any,
    ) -> BackboneFit:
        """Load weights strictly into the backbone of a config's model."""
        ...

    def reads_model(self, location: PathLike) -> bool:
        """Whether an installed source loads a model from ``location``."""
        ...

    def dataset_palette(self, name: str) -> tuple[tuple[int, int, int], ...]:
        """The colours (RGB) of a data set that a framework knows by name."""
        ...

    def load_dataset(
        self,
        location: PathLike,
        *,
        cfg_options: Mapping[str, Any] | None = None,
        source: str | None = None,
        **options: Any,
    ) -> Dataset:
        """Open a data set through the source that reads ``location``."""
        ...

    def export(
        self,
        target: Target,
        model: SegmentationModel,
        *,
        output: PathLike,
        shape: tuple[int, int] | None = None,
        dynamic: bool = False,
        precision: Precision | None = None,
        force: bool = False,
        images: Sequence[PathLike] = (),
        verify: bool = False,
        thresholds: Thresholds | None = None,
        **options: Any,
    ) -> Artifact:
        """Write a model as an artifact."""
        ...

    def pack(
        self,
        target: Target,
        what: Subject,
        *,
        folder: PathLike,
        force: bool = False,
        trust_artifact: bool = False,
        **options: Any,
    ) -> Artifact:
        """Pack an artifact, or a config and its weights, for a server."""
        ...

    def build_engine(
        self,
        target: Target,
        what: Subject,
        *,
        output: PathLike,
        precision: Precision | None = None,
        device: str | None = None,
        force: bool = False,
        images: Sequence[PathLike] = (),
        verify: bool = False,
        thresholds: Thresholds | None = None,
        trust_artifact: bool = False,
        **options: Any,
    ) -> Artifact:
        """Compile an artifact or a model for one device."""
        ...

    def open(
        self,
        what: Subject,
        *,
        backend: Target | None = None,
        device: str | None = None,
        threads: int | None = None,
        want_logits: bool = False,
        trust_artifact: bool = False,
        allow_nonfinite: bool = False,
        **options: Any,
    ) -> AbstractContextManager[Engine]:
        """Open an artifact (or wrap a model) with an ``infer`` target; closed with the context."""
        ...

    def evaluate(
        self,
        what: Subject,
        *,
        backend: Target | None = None,
        dataset: Dataset | PathLike,
        metrics: Sequence[str] = ("mIoU",),
        sinks: Sequence[Sink] = (),
        device: str | None = None,
        threads: int | None = None,
        batch_size: int = 1,
        on_error: OnError = "stop",
        resume: bool = False,
        tta: bool | None = None,
        unknown_below: float | None = None,
        allow_nonfinite: bool = False,
        cfg_options: Mapping[str, Any] | None = None,
        nan_to_num: float | None = None,
        beta: float | None = None,
        executor: Target = "local",
        executor_options: Mapping[str, Any] | None = None,
        trust_artifact: bool = False,
        **options: Any,
    ) -> RunReport:
        """Run and score on a data set."""
        ...

    def verify(
        self,
        artifact: Artifact | PathLike,
        reference: Subject,
        *,
        images: Sequence[PathLike] = (),
        backend: Target | None = None,
        reference_backend: Target | None = None,
        device: str | None = None,
        precision: Precision = "fp32",
        thresholds: Thresholds | None = None,
        trust_artifact: bool = False,
        trust_reference: bool = False,
        **options: Any,
    ) -> Comparison:
        """Compare an artifact with the model or the file it came from, on the same inputs."""
        ...

    def read_meta(self, path: PathLike) -> ModelMeta | None:
        """The metadata of an artifact of any format, by its path; ``None`` if it has none."""
        ...

    def info(self, path: PathLike) -> FileInfo:
        """What a model file is, of segplug or of another tool. Nothing that it holds is run."""
        ...

    def convert_weights(
        self,
        target: Target,
        checkpoint: PathLike,
        destination: PathLike,
        *,
        force: bool = False,
        **options: Any,
    ) -> ConversionReport:
        """Convert weights to another framework's names."""
        ...

    def analyze(
        self, target: Target, *subjects: PathLike, force: bool = False, **options: Any
    ) -> AnalyzeReport:
        """Report on configs, artifacts or logs."""
        ...
