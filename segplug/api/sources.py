"""Load models and data sets through the sources that read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segplug.api.calling import Caller
from segplug.api.early import check_checkpoint
from segplug.errors import NonfiniteError, UsageError
from segplug.model import LoadArguments, SegmentationModel
from segplug.requests import LoadDatasetRequest, LoadModelRequest
from segplug.results import BackboneFit
from segplug.session import PathLike

if TYPE_CHECKING:
    import torch

    from segplug.dataset import Dataset
    from segplug.model import ModelMeta

__all__ = ["Sources"]


class Sources(Caller):
    """The part of :class:`segplug.Segplug` that loads models and data sets."""

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
        """Load a model through the source that reads ``config`` (or the one named ``source``).

        Args:
            config: As the source reads it.
            checkpoint: The weights; ``None``: as the source initialises them.
            cfg_options: Dotted key to value.
            source: Chooses between sources that read the same files.
            device: Where the network is put.
            trust_checkpoint: Allow the full unpickler, which can run code that the file holds.
            trust_artifact: Open a config that is a program, such as a TorchScript file of another tool,
                without checking it; see :meth:`segplug.Segplug.open`.
            allow_nonfinite: Load weights that are NaN or infinite, too, which is an error otherwise.
            for_training: Build also what only training uses, such as auxiliary heads.
            structure_only: Only the structure is needed: the weights may have any values.
            approximate: Leave out what segplug cannot do exactly as the source's framework does, and list it
                in the metadata, in place of an error.
            **options: The source's own options.
        """
        provider = self.registry.source("load_model", str(config), source, warn=self.reporter.warn)
        check_checkpoint(checkpoint)
        request: LoadModelRequest[Any] = LoadModelRequest(
            config=str(config),
            checkpoint=None if checkpoint is None else str(checkpoint),
            cfg_options=dict(cfg_options or {}),
            device=device,
            trust_checkpoint=trust_checkpoint,
            trust_artifact=trust_artifact,
            for_training=for_training,
            structure_only=structure_only,
            approximate=approximate,
            options=provider.make_options(options),
            **self._context(provider.entry),
        )
        with self.reporter.progress("loading the model", None):
            model: SegmentationModel = self._call_hook(provider, request)
            if not structure_only:
                self._check_weights(model, f"the weights of {_weights(request)}", allow_nonfinite)
        load_arguments = LoadArguments(
            config=request.config,
            checkpoint=request.checkpoint,
            cfg_options=request.cfg_options,
            source=source,
            trust_checkpoint=trust_checkpoint,
            trust_artifact=trust_artifact,
            allow_nonfinite=allow_nonfinite,
            approximate=approximate,
            options={**options, **model.found_options},
        )
        return replace(model, load_arguments=load_arguments)

    def _check_weights(self, model: SegmentationModel, what: str, allow_nonfinite: bool) -> None:
        """Refuse weights that are NaN or infinite, or warn of them if they are allowed.

        Raises:
            NonfiniteError: some are, and are not allowed.
        """
        from segplug.checkpoint import refuse_nonfinite

        try:
            refuse_nonfinite(model.module.state_dict(), what)
        except NonfiniteError as error:
            if not allow_nonfinite:
                raise
            self.reporter.warn(error.message)

    def config_text(
        self,
        config: PathLike,
        *,
        cfg_options: Mapping[str, Any] | None = None,
        source: str | None = None,
        **options: Any,
    ) -> str:
        """A config with everything it imports written out, in its source's own language.

        Args:
            config: As the source reads it.
            cfg_options: Dotted key to value.
            source: Chooses between sources that read the same files.
            **options: The source's own options.

        Raises:
            UsageError: the source cannot write its configs out.
        """
        return self._text("config_text", config, cfg_options, source, options)

    def upgraded_text(
        self,
        config: PathLike,
        *,
        cfg_options: Mapping[str, Any] | None = None,
        source: str | None = None,
        **options: Any,
    ) -> str:
        """As :meth:`config_text`, translated to the next generation of the framework's configs.

        Args:
            config: A config of an older generation.
            cfg_options: Dotted key to value, with the keys of the older generation.
            source: Chooses between sources that read the same files.
            **options: The source's own options.

        Raises:
            UsageError: the source has no older generation of configs, or the config is not of one.
            ModelError: something of it cannot be translated; it is named.
        """
        return self._text("upgraded_text", config, cfg_options, source, options)

    def _text(
        self,
        method: str,
        config: PathLike,
        cfg_options: Mapping[str, Any] | None,
        source: str | None,
        options: dict[str, Any],
    ) -> str:
        provider = self.registry.source("load_model", str(config), source, warn=self.reporter.warn)
        request: LoadModelRequest[Any] = LoadModelRequest(
            config=str(config),
            cfg_options=dict(cfg_options or {}),
            options=provider.make_options(options),
            **self._context(provider.entry),
        )
        return str(provider.method(method)(request))

    def describe_model(
        self, location: PathLike, *, source: str | None = None, **options: Any
    ) -> ModelMeta | None:
        """What the files of a model say of it: classes and preprocessing. No network is built.

        A network that another program has exported beside them, such as an ONNX file, is described so. What
        only the network itself would show, the stride of its scores, has its default.

        Args:
            location: A model as its source reads it: a folder.
            source: Chooses between sources that read the same files.
            **options: The source's own options.

        Returns:
            ``None`` if the source knows nothing without the network.

        Raises:
            UsageError: no installed source reads the location.
            ModelError: the files say something that cannot be followed.
        """
        provider = self.registry.source("load_model", str(location), source, warn=self.reporter.warn)
        request: LoadModelRequest[Any] = LoadModelRequest(
            config=str(location),
            structure_only=True,
            options=provider.make_options(options),
            **self._context(provider.entry),
        )
        meta: ModelMeta | None = provider.method("describe_model")(request)
        return meta

    def fit_backbone(
        self,
        config: PathLike,
        state: Mapping[str, torch.Tensor],
        *,
        optional: Collection[str] = (),
        source: str | None = None,
        **options: Any,
    ) -> BackboneFit:
        """Load weights strictly into the backbone of a config's model, as its source's framework would.

        Args:
            config: As the source reads it.
            state: Parameter and buffer name to tensor, named as in the backbone.
            optional: Names of ``state`` that the backbone may be built without.
            source: Chooses between sources that read the same files.
            **options: The source's own options.

        Raises:
            UsageError: the source cannot do that.
        """
        provider = self.registry.source("load_model", str(config), source, warn=self.reporter.warn)
        request: LoadModelRequest[Any] = LoadModelRequest(
            config=str(config),
            structure_only=True,
            options=provider.make_options(options),
            **self._context(provider.entry),
        )
        fitted: BackboneFit = provider.method("fit_backbone")(request, state, optional)
        return fitted

    def reads_model(self, location: PathLike) -> bool:
        """Whether ``location`` is, by its name, a model that an installed source loads: a config."""
        return self.registry.is_source("load_model", str(location))

    def dataset_palette(self, name: str) -> tuple[tuple[int, int, int], ...]:
        """The colours (RGB) of a data set that a framework knows by name: ``CityscapesDataset``.

        Raises:
            UsageError: no installed source knows the name.
        """
        for source in self.registry.sources("load_dataset"):
            found = source.method("palette")(name)
            if found:
                return tuple(found)
        raise UsageError(
            f"{name} is no config or folder, and no installed source knows a data set of that name",
            hint="give a config, a folder of images, or a name such as CityscapesDataset",
        )

    def load_dataset(
        self,
        location: PathLike,
        *,
        cfg_options: Mapping[str, Any] | None = None,
        source: str | None = None,
        **options: Any,
    ) -> Dataset:
        """Open a data set through the source that reads ``location``: a config or a folder."""
        provider = self.registry.source("load_dataset", str(location), source, warn=self.reporter.warn)
        request: LoadDatasetRequest[Any] = LoadDatasetRequest(
            location=str(location),
            cfg_options=dict(cfg_options or {}),
            options=provider.make_options(options),
            **self._context(provider.entry),
        )
        with self.reporter.progress("opening the data set", None):
            dataset: Dataset = self._call_hook(provider, request)
        return dataset


def _weights(request: LoadModelRequest[Any]) -> str:
    return request.checkpoint or request.config
