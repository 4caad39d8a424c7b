"""``load_model torchvision``: a segmentation model of torchvision, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.hookspecs import hookimpl
from segplug.providers import Confidence, ModelSource
from segplug_torchvision.options import Options

if TYPE_CHECKING:
    from segplug.model import SegmentationModel
    from segplug.requests import LoadModelRequest

__all__ = ["provider"]


class TorchvisionModels(ModelSource[Options]):
    """Loads a segmentation model of torchvision by its name, such as torchvision:deeplabv3_resnet50."""

    hook_version = 2
    options = Options

    def accepts(self, location: str) -> Confidence:
        """Sure of what begins with torchvision:, and of nothing else."""
        return Confidence.NO

    @hookimpl
    def load_model(self, request: LoadModelRequest[Options]) -> SegmentationModel:
        """Build the network, load its weights strictly."""
        raise NotImplementedError


provider = TorchvisionModels()
