"""``load_model smp``: a folder that ``save_pretrained`` of segmentation-models-pytorch wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.hookspecs import hookimpl
from segplug.providers import Confidence, ModelSource
from segplug_smp.options import Options
from segplug_smp.recognise import confidence

if TYPE_CHECKING:
    from segplug.model import SegmentationModel
    from segplug.requests import LoadModelRequest

__all__ = ["provider"]


class SmpModels(ModelSource[Options]):
    """Loads a model of segmentation-models-pytorch from the folder that save_pretrained wrote.

    The location is a folder with config.json (with _model_class) and weights, or a snapshot in the cache of
    the Hugging Face hub. Nothing is fetched, and no code of the folder runs. --checkpoint names other weights
    than the folder's own. --cfg-options are arguments of the network's class. The folder holds neither
    preprocessing nor class names: what is assumed is said, and options replace it. After such a location each
    option is a flag (--mean 0 0 0); --source-options mean=0,0,0 says the same.
    """

    hook_version = 2
    options = Options

    def accepts(self, location: str) -> Confidence:
        """Likely for a folder whose config.json has _model_class."""
        return confidence(location)

    @hookimpl
    def load_model(self, request: LoadModelRequest[Options]) -> SegmentationModel:
        """Read the folder, build the network, load its weights strictly, find what it returns."""
        from segplug_smp.folder import read_folder

        # First of all: what the files say alone is an error before the libraries are imported.
        folder = read_folder(
            request.config,
            request.cfg_options,
            checkpoint=request.checkpoint,
            need_weights=not request.structure_only,
        )
        from segplug_smp.loader import load

        return load(request, folder)


provider = SmpModels()
"""Models of segmentation-models-pytorch in segplug."""
