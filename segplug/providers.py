"""One base class for each kind of provider: every attribute and method that segplug looks at.

A *provider* implements one hook for one *target*. It is an object that an entry point names::

    [project.entry-points."segplug.infer"]
    npu = "segplug_acme.engine:provider"

and its class extends a base class of this module::

    class Npu(Backend[Options]):
        '''Runs compiled models on an Acme NPU.'''

        hook_version = 2
        options = Options
        reads = ("npu",)

        @hookimpl
        def infer(self, request: InferRequest[Options]) -> NpuEngine: ...

    provider = Npu()

The base class is generic in the provider's own options (:mod:`segplug.options`); a provider without options
extends ``Backend[NoOptions]``. An object of another class is taken too, with the same attributes and the same
defaults. An attribute whose name is nearly that of a declared one (``defualt_device``) is refused.

What listings, routes and rules ask (``takes``, ``reads``, ``suffix``, ``mandatory``, ...) lies in the
distribution's manifest, too, which ``segplug plugins manifest`` writes from the classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from segplug.artifact import read_sidecar, write_sidecar
from segplug.errors import UsageError
from segplug.options import NoOptions

if TYPE_CHECKING:
    import torch

    from segplug.dataset import Dataset
    from segplug.description import FileDescription
    from segplug.engine import Engine
    from segplug.model import ModelMeta, SegmentationModel
    from segplug.requests import (
        AnalyzeRequest,
        BuildEngineRequest,
        ConvertWeightsRequest,
        ExportRequest,
        InferRequest,
        LoadDatasetRequest,
        LoadModelRequest,
        MakePlan,
        PackRequest,
        Request,
        RunRequest,
    )
    from segplug.results import AnalyzeReport, Artifact, BackboneFit, ConversionReport, Precision
    from segplug.scores import RunReport

__all__ = [
    "KINDS",
    "AddOn",
    "Backend",
    "BaseProvider",
    "Confidence",
    "DatasetSource",
    "EngineBuilder",
    "Executor",
    "Exporter",
    "Maker",
    "ModelSource",
    "Packer",
    "Report",
    "WeightConverter",
]

OptionsT = TypeVar("OptionsT")


class Confidence(IntEnum):
    """How sure a source is that it reads a location. The surest loads it; between two, the user chooses."""

    NO = 0
    """Not mine."""
    POSSIBLE = 1
    """The form fits, such as the suffix, but other sources read the same form."""
    LIKELY = 2
    """The file was looked into, and holds what this source reads."""
    SURE = 3
    """Nothing else is meant: the location names the source (``python:package.module:factory``)."""


class BaseProvider(ABC, Generic[OptionsT]):
    """What all providers declare.

    Attributes:
        hook_version: The version of the hook that the provider was written for
            (:data:`segplug.versions.HOOK_VERSIONS`). Every provider says it; there is no default.
        options: The frozen dataclass of the provider's own options. Default: none.
        about: One line for listings. Default: the first line of the class's docstring.
        example: What follows the command's name in the example of its help: ``CONFIG.py --shape 512 1024``.
            Default: the usual files of its kind of command.
    """

    hook_version: int
    options: type[OptionsT] = NoOptions  # type: ignore[assignment]  # the default of Backend[NoOptions]
    about: str = ""
    example: str = ""


class Maker(BaseProvider[OptionsT]):
    """What exporters and engine builders declare: they make artifacts of the format that their target names.

    Attributes:
        suffix: What the names of the artifacts end in, with the dot. It may have several parts
            (``.ncnn.param``). Default: ``.<target>``.
        verify_with: The ``infer`` target that ``--verify`` opens the artifacts with. Default: none, and
            ``--verify`` is refused.
        precisions: What ``--precision`` may ask for; the first is the default. Default: ``fp32`` alone.
        output_flags: Other spellings of ``--output``, for those who come from an older tool: ``--trt-file``.
        precision_flags: Flags that mean a precision: ``{"--fp16": "fp16"}``.
    """

    suffix: str | None = None
    verify_with: str | None = None
    precisions: tuple[Precision, ...] = ("fp32",)
    output_flags: tuple[str, ...] = ()
    precision_flags: ClassVar[Mapping[str, Precision]] = {}

    def check_plan(self, plan: MakePlan[OptionsT]) -> None:
        """Called before the model is loaded, which takes long: refuse here what the hook itself would refuse.

        Default: nothing is checked. What every maker needs has been: the output can be written, the images
        are there, the precision is one of these.

        Raises:
            SegplugError: the plan cannot be met: options exclude each other, a device or library is missing.
        """
        return

    def write_meta(self, path: Path, meta: ModelMeta) -> None:
        """Replace the metadata of an artifact. Default: in the file ``<path>.json`` beside it.

        Raises:
            ArtifactError: the file cannot be written.
        """
        write_sidecar(path, meta)

    def read_meta(self, path: Path) -> ModelMeta | None:
        """Read the metadata of an artifact. Default: from ``<path>.json``.

        Returns:
            ``None`` if the file has none, or is of another maker.

        Raises:
            ArtifactError: the metadata is damaged.
        """
        return read_sidecar(path)

    def describe(self, path: Path) -> FileDescription | None:
        """What a file says of itself besides its metadata, for ``segplug info``. Default: nothing is known.

        It runs nothing that a file holds, reads little of a large one, and also describes files of other
        tools.

        Returns:
            ``None`` if the file is of another maker, or of no kind that this one knows.

        Raises:
            ArtifactError: the file is damaged.
        """
        return None


class Exporter(Maker[OptionsT]):
    """Writes a loaded model in another format. Hook ``export``, group ``segplug.export``.

    It has the attributes and methods of :class:`Maker`, too.

    Attributes:
        takes: Always ``model``.
    """

    takes: ClassVar[Literal["model"]] = "model"

    @abstractmethod
    def export(self, request: ExportRequest[OptionsT]) -> Artifact:
        """Trace ``request.model``; see :func:`segplug.hookspecs.export`. Marked ``@hookimpl``."""


class Packer(BaseProvider[OptionsT]):
    """Packs an artifact, or a model's config and weights, for a server. Hook and group ``segplug.export``.

    ``segplug export <target>`` has ``--output-folder`` and ``--force`` then, and none of the flags of
    tracing; from Python it is :meth:`segplug.Segplug.pack`.

    Attributes:
        takes: ``artifact``; or ``either``: an artifact, or a loaded model with the arguments that load it
            again. Default: ``artifact``.
        suffix: What the names of the packages end in, with the dot; empty: a package is a folder. Default:
            empty.
        shared_levels: How many levels of folders below the server's folder packages share with others.
            0: an entry of the server's folder is replaced whole. 1: the entries inside a model's folder are
            replaced one by one, and other versions of the model stay. Default: 0.
    """

    takes: Literal["artifact", "either"] = "artifact"
    suffix: str = ""
    shared_levels: int = 0

    @abstractmethod
    def export(self, request: PackRequest[OptionsT]) -> Artifact:
        """Pack ``request.subject``; see :func:`segplug.hookspecs.export`. Marked ``@hookimpl``."""

    def read_meta(self, path: Path) -> ModelMeta | None:
        """Read the metadata inside a package. Default: it has none.

        Returns:
            ``None`` if the package has none, or is of another packer.

        Raises:
            ArtifactError: the metadata is damaged.
        """
        return None

    def describe(self, path: Path) -> FileDescription | None:
        """As :meth:`Maker.describe`, for a package."""
        return None


class EngineBuilder(Maker[OptionsT]):
    """Compiles an artifact or a model for one device. Hook and group ``segplug.build_engine``.

    It has the attributes and methods of :class:`Maker`, too.

    Attributes:
        takes: ``artifact`` or ``model``. Default: ``artifact``.
        reads: The formats (targets of makers) that are built from, for ``takes = "artifact"``. Default: the
            format of its own name.
    """

    takes: Literal["artifact", "model"] = "artifact"
    reads: tuple[str, ...] | None = None

    @abstractmethod
    def build_engine(self, request: BuildEngineRequest[OptionsT]) -> Artifact:
        """Build from the subject; see :func:`segplug.hookspecs.build_engine`. Marked ``@hookimpl``."""


class Backend(BaseProvider[OptionsT]):
    """Opens artifacts, wraps models or reaches servers, and runs batches. Hook and group ``segplug.infer``.

    Attributes:
        takes: ``artifact``; ``model``: it runs the loaded model itself; ``url``: its engine is a server.
            Default: ``artifact``.
        reads: The formats (targets of makers) that are opened, for ``takes = "artifact"``. Default: the
            format of its own name.
        default_device: Where it runs if no device is asked for. Default: ``cpu``.
    """

    takes: Literal["artifact", "model", "url"] = "artifact"
    reads: tuple[str, ...] | None = None
    default_device: str = "cpu"

    @abstractmethod
    def infer(self, request: InferRequest[OptionsT]) -> Engine:
        """Open ``request.subject``; see :func:`segplug.hookspecs.infer`. Marked ``@hookimpl``."""

    def check_device(self, device: str) -> None:
        """Called before long work that ends on this device. Default: nothing is checked.

        Raises:
            DeviceError: as :meth:`infer` would: the device is not there.
            MissingDependencyError: a library is not installed.
        """
        return

    def companions(self, artifact: Path) -> Iterable[Path]:
        """The files without which ``artifact`` does not open, such as external weights. Default: none.

        The sidecar of the metadata need not be named.

        Raises:
            ArtifactError: the artifact is damaged.
        """
        return ()


class WeightConverter(BaseProvider[OptionsT]):
    """Converts weights to other names or forms. Hook and group ``segplug.convert_weights``.

    Attributes:
        renames: Whether the converter adds to the name of the file that the user gave, such as a hash of the
            content. Default: ``False``.
    """

    renames: bool = False

    def writes(self, options: OptionsT) -> bool:
        """Whether a call with these options writes a file; a dry run does not. Default: ``True``."""
        return True

    @abstractmethod
    def convert_weights(self, request: ConvertWeightsRequest[OptionsT]) -> ConversionReport:
        """Convert the weights; see :func:`segplug.hookspecs.convert_weights`. Marked ``@hookimpl``."""


class Report(BaseProvider[OptionsT]):
    """Reports on configs, artifacts or logs. Hook and group ``segplug.analyze``.

    Attributes:
        needs_subjects: Whether the report is about files. ``False``: it takes everything from its options.
            Default: ``True``.
    """

    needs_subjects: bool = True

    @abstractmethod
    def analyze(self, request: AnalyzeRequest[OptionsT]) -> AnalyzeReport:
        """Report on ``request.subjects``; see :func:`segplug.hookspecs.analyze`. Marked ``@hookimpl``."""


class ModelSource(BaseProvider[OptionsT]):
    """Loads the models of one framework. Hook and group ``segplug.load_model``."""

    @abstractmethod
    def accepts(self, location: str) -> Confidence:
        """How sure the source is that it reads ``location``, a config as the user gave it.

        It may look into the file, and imports no framework. It must not raise for a file that is not there.
        """

    @abstractmethod
    def load_model(self, request: LoadModelRequest[OptionsT]) -> SegmentationModel:
        """Load ``request.config``; see :func:`segplug.hookspecs.load_model`. Marked ``@hookimpl``."""

    def config_text(self, request: LoadModelRequest[OptionsT]) -> str:
        """The config in full, with everything that it imports and with ``request.cfg_options`` applied.

        Raises:
            UsageError: the source does not write its configs out (the default).
        """
        raise UsageError(f"the source {request.call.target} does not write its configs out")

    def upgraded_text(self, request: LoadModelRequest[OptionsT]) -> str:
        """As :meth:`config_text`, translated to the framework's next generation of configs.

        Comments at its beginning say what that generation does otherwise.

        Raises:
            UsageError: the source knows one generation of configs (the default), or the config is of the
                newest one.
        """
        raise UsageError(f"the source {request.call.target} has no older configs that could be upgraded")

    def describe_model(self, request: LoadModelRequest[OptionsT]) -> ModelMeta | None:
        """What the files of ``request.config`` say of their model, without its network and its weights.

        It is asked for a network that another program has exported beside these files, such as an ONNX file.
        What only the network itself would show has its default: ``output_stride`` 1, no ``output_size``.

        Returns:
            ``None`` if the source reads models from networks alone (the default).

        Raises:
            ModelError: the files say something that cannot be followed; the message says what.
        """
        return None

    def fit_backbone(
        self,
        request: LoadModelRequest[OptionsT],
        state: Mapping[str, torch.Tensor],
        optional: Collection[str],
    ) -> BackboneFit:
        """Load weights strictly into the network's backbone; resize position tables as the framework does.

        Args:
            request: The config of the network.
            state: Parameter and buffer name to tensor, named as in the backbone.
            optional: Names of ``state`` that the backbone may be built without.

        Raises:
            UsageError: the source has no backbones to load weights into (the default).
        """
        raise UsageError(f"the source {request.call.target} has no backbones to load weights into")


class DatasetSource(BaseProvider[OptionsT]):
    """Opens the data sets of one framework or layout. Hook and group ``segplug.load_dataset``."""

    @abstractmethod
    def accepts(self, location: str) -> Confidence:
        """How sure the source is that it reads ``location``, a config or a folder.

        It may look into the file, and imports no framework. It must not raise for a file that is not there.
        """

    @abstractmethod
    def load_dataset(self, request: LoadDatasetRequest[OptionsT]) -> Dataset:
        """Open ``request.location``; see :func:`segplug.hookspecs.load_dataset`. Marked ``@hookimpl``."""

    def palette(self, name: str) -> tuple[tuple[int, int, int], ...]:
        """The RGB colours (0 to 255) of a data set that the framework knows by this name. Default: empty."""
        return ()


class Executor(BaseProvider[OptionsT]):
    """Runs a job: a model or artifact on a data set. Hook ``run``, group ``segplug.executor``.

    The target ``local`` runs it in this process.
    """

    @abstractmethod
    def run(self, request: RunRequest[OptionsT]) -> RunReport:
        """Run the job; see :func:`segplug.hookspecs.run`. Marked ``@hookimpl``."""


class AddOn(Generic[OptionsT]):
    """Wraps hooks for all targets: an organisation's rules, an audit. Group ``segplug.addon``.

    It has a method for each hook that it wraps, named like the hook and marked ``@hookimpl(wrapper=True)``.
    Such a method is a generator: what it does before its one ``yield`` happens before the provider is
    called, ``yield`` gives the provider's result, and what it returns is the result for those outside. It
    refuses with :class:`segplug.errors.RefusedError`::

        @hookimpl(wrapper=True)
        def infer(self, request: InferRequest[Any]) -> Generator[None, Engine, Engine]:
            engine = yield
            return engine

    Attributes:
        hook_versions: Hook to the version of it that the add-on was written for, for every hook that it
            wraps. There is no default.
        options: The frozen dataclass of the add-on's own options, which ``--addon-options NAME.KEY=VALUE``
            and ``Segplug(addon_options=...)`` set; :meth:`settings` gives them. Default: none.
        about: One line for listings. Default: the first line of the class's docstring.
        mandatory: Whether it must not be left out. Default: ``False``.
        order: The add-on with the lowest order is the outermost: it is asked first, and sees the result last.
            Equal orders go by name. Default: 0.
        sidecars: What the names of the files end in that the add-on writes beside an artifact, after the
            artifact's own name: ``(".release.json",)``. They go away with an artifact that is replaced.
            Default: none.
    """

    hook_versions: ClassVar[Mapping[str, int]]
    options: type[OptionsT] = NoOptions  # type: ignore[assignment]  # the default of AddOn[NoOptions]
    about: str = ""
    mandatory: bool = False
    order: int = 0
    sidecars: tuple[str, ...] = ()

    def settings(self, request: Request[Any]) -> OptionsT:
        """The add-on's own options, as the caller of ``request`` set them.

        Raises:
            PluginError: the add-on is not in use in the request's session.
        """
        settings: OptionsT = request.session.registry.addon_options(self)
        return settings


KINDS: Mapping[str, tuple[type, ...]] = {
    "export": (Exporter, Packer),
    "build_engine": (EngineBuilder,),
    "infer": (Backend,),
    "convert_weights": (WeightConverter,),
    "analyze": (Report,),
    "load_model": (ModelSource,),
    "load_dataset": (DatasetSource,),
    "run": (Executor,),
    "addon": (AddOn,),
}
"""The base classes of each hook's providers, and of add-ons."""
