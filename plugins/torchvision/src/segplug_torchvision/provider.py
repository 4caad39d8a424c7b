"""``load_model torchvision``: a segmentation network of torchvision, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.hookspecs import hookimpl
from segplug.providers import Confidence, ModelSource
from segplug_torchvision.builders import SCHEME
from segplug_torchvision.options import Options

if TYPE_CHECKING:
    from segplug.model import SegmentationModel
    from segplug.requests import LoadModelRequest

__all__ = ["provider"]


class TorchvisionModels(ModelSource[Options]):
    """Loads a segmentation network of torchvision by its name.

    The location is torchvision:NAME, such as torchvision:deeplabv3_resnet50. Nothing is fetched: --checkpoint
    names the weights, torchvision's own file or one of your training, from which the number of classes is
    read. --cfg-options are arguments of torchvision's function: num_classes, aux_loss. The network takes
    images of three channels, prepared as torchvision's weights say. After such a location each option is a
    flag (--resize-size 0); --source-options resize_size=0 says the same.
    """

    hook_version = 2
    options = Options

    def accepts(self, location: str) -> Confidence:
        """Sure of what begins with ``torchvision:``, and of nothing else."""
        return Confidence.SURE if location.startswith(SCHEME) else Confidence.NO

    @hookimpl
    def load_model(self, request: LoadModelRequest[Options]) -> SegmentationModel:
        """Build the network, load its weights strictly, and read the preset of torchvision's own weights."""
        from segplug_torchvision.library import import_models

        import_models()  # first of all: what is not installed is an error at once
        from segplug_torchvision.loader import load_model

        return load_model(request)


provider = TorchvisionModels()
