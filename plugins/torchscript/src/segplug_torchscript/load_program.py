"""``load_model torch-export``: a torch.export program (.pt2) as a :class:`SegmentationModel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.errors import ArtifactError
from segplug.hookspecs import hookimpl
from segplug.providers import Confidence, ModelSource
from segplug_torchscript import packing
from segplug_torchscript.models.options import ProgramOptions
from segplug_torchscript.models.recognise import confidence

if TYPE_CHECKING:
    from torch import nn

    from segplug.model import SegmentationModel
    from segplug.requests import LoadModelRequest

__all__ = ["provider"]

_TARGET = "torch-export"


class TorchExportModels(ModelSource[ProgramOptions]):
    """Loads a torch.export program (.pt2) that another tool saved.

    The program maps normalised float32 images (N, channels, H, W) to float32 scores (N, classes, h, w): h and
    w are H and W, or those divided by one whole number; --output-key says which of several outputs that is.
    The sizes that it takes are read from it. It is checked before it is opened: one that does more than
    compute needs --trust-artifact. A file that segplug exported is an artifact; with --source torch-export it
    is a model.
    """

    hook_version = 2
    options = ProgramOptions
    example = "net.pt2 --mean 123.675 116.28 103.53 --std 58.395 57.12 57.375 --classes sky road car"

    def accepts(self, location: str) -> Confidence:
        """Likely for a program without metadata of segplug's; its list of entries is read."""
        return confidence(location, _TARGET)

    @hookimpl
    def load_model(self, request: LoadModelRequest[ProgramOptions]) -> SegmentationModel:
        """Check the file, open it, run it once; see :func:`segplug.hookspecs.load_model`."""
        from segplug_torchscript.models.loading import FileNetwork, as_model, open_file

        path, kind, own = open_file(request, _TARGET)
        if kind == "aot":
            raise ArtifactError(
                f"{path} is compiled: it has no graph that could be exported",
                hint="save the program itself: torch.export.save(program, 'net.pt2')",
            )
        packing.require_torch("load_model torch-export")
        from segplug_torch.devices import resolve_device

        from segplug_torchscript import checks, programs
        from segplug_torchscript.models.inputs import image_input
        from segplug_torchscript.models.wrapping import as_plain_module

        if not request.trust_artifact:
            checks.check_program(path)
        device = resolve_device(request.device)
        program = programs.open_program(path, device)
        given = image_input(program, path)

        def network() -> nn.Module:
            return as_plain_module(programs.module_of(program, path))

        opened = FileNetwork(network(), network, given.channels, given.alone, given.limits)
        return as_model(request, _TARGET, path, opened, own, device)


provider = TorchExportModels()
