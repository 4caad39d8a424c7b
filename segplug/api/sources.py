"""Load models and data sets through the sources that read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segplug.errors import UsageError
from segplug.model import LoadArguments, SegmentationModel
from segplug.progress import QuietReporter, Reporter
from segplug.registry.registry import Registry
from segplug.requests import LoadDatasetRequest, LoadModelRequest
from segplug.results import BackboneFit
from segplug.session import PathLike

if TYPE_CHECKING:
    import torch

    from segplug.dataset import Dataset

__all__ = ["Sources"]


class Sources:
    """The part of :class:`segplug.Segplug` that loads models and data sets."""

    def __init__(self, *, reporter: Reporter | None = None, without_addons: Collection[str] = ()) -> None:
        self.registry = Registry(without_addons)
        self.reporter: Reporter = reporter or QuietReporter()

    def load_model(
        self,
        config: PathLike,
        *,
        checkpoint: PathLike | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        source: str | None = None,
        device: str = "cpu",
        trust_checkpoint: bool = False,
        for_training: bool = False,
        structure_only: bool = False,
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
            for_training: Build also what only training uses, such as auxiliary heads.
            structure_only: Only the structure is needed: the weights may have any values.
            **options: The source's own options.
        """
        provider = self.registry.source("load_model", str(config), source)
        request = LoadModelRequest(
            config=str(config),
            checkpoint=None if checkpoint is None else str(checkpoint),
            cfg_options=dict(cfg_options or {}),
            device=device,
            trust_checkpoint=trust_checkpoint,
            for_training=for_training,
            structure_only=structure_only,
            options=provider.make_options(options),
            reporter=self.reporter,
        )
        model: SegmentationModel = self.registry.call(provider, request)
        load_arguments = LoadArguments(
            config=request.config,
            checkpoint=request.checkpoint,
            cfg_options=request.cfg_options,
            source=source,
            trust_checkpoint=trust_checkpoint,
            options=options,
        )
        return replace(model, load_arguments=load_arguments)

    def config_text(
        self, config: PathLike, *, cfg_options: Mapping[str, Any] | None = None, source: str | None = None
    ) -> str:
        """A config with everything it imports written out, in its source's own language.

        Raises:
            UsageError: the source cannot write its configs out.
        """
        provider = self.registry.source("load_model", str(config), source)
        write_out = provider.method("config_text")
        if write_out is None:
            raise UsageError(f"the source {provider.entry.target} does not write its configs out")
        request = LoadModelRequest(
            config=str(config),
            cfg_options=dict(cfg_options or {}),
            options=provider.make_options({}),
            reporter=self.reporter,
        )
        return str(write_out(request))

    def fit_backbone(
        self,
        config: PathLike,
        state: Mapping[str, torch.Tensor],
        *,
        optional: Collection[str] = (),
        source: str | None = None,
    ) -> BackboneFit:
        """Load weights strictly into the backbone of a config's model, as its source's framework would.

        Args:
            config: As the source reads it.
            state: Parameter and buffer name to tensor, named as in the backbone.
            optional: Names of ``state`` that the backbone may be built without.
            source: Chooses between sources that read the same files.

        Raises:
            UsageError: the source cannot do that.
        """
        provider = self.registry.source("load_model", str(config), source)
        fit = provider.method("fit_backbone")
        if fit is None:
            raise UsageError(f"the source {provider.entry.target} has no backbones to load weights into")
        request = LoadModelRequest(
            config=str(config), structure_only=True, options=provider.make_options({}), reporter=self.reporter
        )
        fitted: BackboneFit = fit(request, state, optional)
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
            look_up = source.method("palette")
            found = look_up(name) if look_up else None
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
        provider = self.registry.source("load_dataset", str(location), source)
        request = LoadDatasetRequest(
            location=str(location),
            cfg_options=dict(cfg_options or {}),
            options=provider.make_options(options),
            reporter=self.reporter,
        )
        dataset: Dataset = self.registry.call(provider, request)
        return dataset
