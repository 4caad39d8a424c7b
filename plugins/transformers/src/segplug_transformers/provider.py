"""``load_model transformers``: a folder that ``save_pretrained`` wrote as a :class:`SegmentationModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.hookspecs import hookimpl
from segplug.providers import Confidence, ModelSource
from segplug_transformers.options import Options
from segplug_transformers.recognise import confidence

if TYPE_CHECKING:
    from segplug.model import ModelMeta, SegmentationModel
    from segplug.requests import LoadModelRequest

__all__ = ["provider"]


class TransformersModels(ModelSource[Options]):
    """Loads a segmentation model of transformers from the folder that save_pretrained wrote.

    The location is a folder with config.json, weights (safetensors, several files with their index, or .bin)
    and preprocessor_config.json, or a snapshot in the cache of the Hugging Face hub. Nothing is fetched, and
    no code of the folder runs. --checkpoint names other weights than the folder's own. --cfg-options are
    dotted keys of config.json; those that begin with preprocessor. are of the processor's settings. After
    such a location each option is a flag (--processor pil); --source-options processor=pil says the same.
    """

    hook_version = 2
    options = Options

    def accepts(self, location: str) -> Confidence:
        """Likely for a folder with the config of a segmentation model of transformers, which is read."""
        return confidence(location)

    @hookimpl
    def load_model(self, request: LoadModelRequest[Options]) -> SegmentationModel:
        """Read the folder, build the network, load the weights strictly, read the processor."""
        from segplug_transformers.folder import read_folder
        from segplug_transformers.options import windows
        from segplug_transformers.refusals import require_architecture, require_own_labels

        # First of all: what the files say alone is an error before the libraries are imported.
        windows(request.options)
        folder = read_folder(
            request.config,
            request.cfg_options,
            checkpoint=request.checkpoint,
            need_weights=not request.structure_only,
        )
        architecture = require_architecture(folder)
        require_own_labels(folder)
        from segplug_transformers.loader import load

        return load(request, folder, architecture)

    def describe_model(self, request: LoadModelRequest[Options]) -> ModelMeta | None:
        """Read the folder's classes and its processor; see :meth:`ModelSource.describe_model`."""
        from segplug_transformers.described import describe

        return describe(request)


provider = TransformersModels()
