"""``load_model torchscript``: a TorchScript file as a :class:`SegmentationModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.hookspecs import hookimpl
from segplug.providers import Confidence, ModelSource
from segplug_torchscript import packing
from segplug_torchscript.models.options import ScriptOptions
from segplug_torchscript.models.recognise import confidence

if TYPE_CHECKING:
    from segplug.model import SegmentationModel
    from segplug.requests import LoadModelRequest

__all__ = ["provider"]

_TARGET = "torchscript"


class TorchScriptModels(ModelSource[ScriptOptions]):
    """Loads a TorchScript file that another tool saved (.pt, .pth, .ts): a traced or a scripted network.

    The network maps normalised float32 images (N, channels, H, W) to float32 scores (N, classes, h, w): h and
    w are H and W, or those divided by one whole number; --output-key says which of several outputs that is.
    Such a file is a program, which is checked before it is opened: one that does more than compute needs
    --trust-artifact. A file that segplug exported is an artifact; with --source torchscript it is a model.
    """

    hook_version = 2
    options = ScriptOptions
    example = "net.pt --mean 123.675 116.28 103.53 --std 58.395 57.12 57.375 --classes sky road car"

    def accepts(self, location: str) -> Confidence:
        """Likely for a TorchScript file without metadata of segplug's; its list of entries is read."""
        return confidence(location, _TARGET)

    @hookimpl
    def load_model(self, request: LoadModelRequest[ScriptOptions]) -> SegmentationModel:
        """Check the file, open it, run it once; see :func:`segplug.hookspecs.load_model`."""
        from segplug_torchscript.models.loading import FileNetwork, as_model, open_file

        path, _, own = open_file(request, _TARGET)
        packing.require_torch("load_model torchscript")
        from segplug_torch.devices import resolve_device

        from segplug_torchscript import checks, jit
        from segplug_torchscript.graphs.network import GraphNetwork
        from segplug_torchscript.models.wrapping import ScriptNetwork

        if not request.trust_artifact:
            checks.check_script(path)
        device = resolve_device(request.device)
        script = ScriptNetwork(jit.load(path, device), device)
        alone = own is not None and "batch" not in own.extra_as(_TARGET, packing.Details, file=path).free
        opened = FileNetwork(
            network=script,
            exportable=lambda: GraphNetwork(script.script),
            in_channels=request.options.in_channels if own is None else own.in_channels,
            alone=alone,
        )
        return as_model(request, _TARGET, path, opened, own, device)


provider = TorchScriptModels()
