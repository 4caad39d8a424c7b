"""``load_model smp``: a folder that save_pretrained of segmentation-models-pytorch wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.hookspecs import hookimpl
from segplug.providers import Confidence, ModelSource
from segplug_smp.options import Options

if TYPE_CHECKING:
    from segplug.model import SegmentationModel
    from segplug.requests import LoadModelRequest

__all__ = ["provider"]


class SmpModels(ModelSource[Options]):
    """Loads a model of segmentation-models-pytorch from the folder that save_pretrained wrote."""

    hook_version = 2
    options = Options

    def accepts(self, location: str) -> Confidence:
        """Likely for a folder whose config.json has _model_class."""
        return Confidence.NO

    @hookimpl
    def load_model(self, request: LoadModelRequest[Options]) -> SegmentationModel:
        """Build the network, load its weights strictly."""
        raise NotImplementedError


provider = SmpModels()
