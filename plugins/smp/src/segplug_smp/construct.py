"""Build a network of smp from its arguments, without weights of its encoder."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from segplug_torch.errors import one_line

from segplug.errors import MissingDependencyError, ModelError, SegplugError, UsageError
from segplug.options import nearest
from segplug.quiet import quiet
from segplug_smp.architectures import OLD_ARGUMENTS
from segplug_smp.folder import Folder

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TIMM", "build", "require_arguments", "smp"]

TIMM = "tu-"
"""How names of encoders of timm begin."""
_RENAMED = ("timm-regnet", "timm-res2", "timm-resnest", "timm-mobilenetv3", "timm-gernet")
"""Encoders of older versions that smp now takes from timm."""
_INSIDE = ("pretrained", "checkpoint_path", "cache_dir")
"""Arguments of timm that would read weights from elsewhere."""


def smp() -> Any:
    """The library.

    Raises:
        MissingDependencyError: it cannot be imported.
    """
    try:
        with quiet():
            import segmentation_models_pytorch
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        package = library.replace("_", "-")
        raise MissingDependencyError(
            f"models of segmentation-models-pytorch need {package}, which is not installed",
            hint=f"pip install {package}",
        ) from error
    except Exception as error:  # torchvision whose operators do not fit PyTorch raises RuntimeError
        raise MissingDependencyError(
            f"segmentation-models-pytorch cannot be imported: {one_line(error)}",
            hint="torchvision has to fit the installed torch: install the one that belongs to it, from where "
            "this torch came (a CPU build for a CPU build, CUDA for CUDA): pip install --force-reinstall "
            "--no-deps torchvision",
        ) from error
    return segmentation_models_pytorch


def _encoder_of_timm(name: str) -> str | None:
    """The name that timm has for an encoder; ``None``: the encoder is smp's own."""
    if name.startswith(TIMM):
        return name.removeprefix(TIMM)
    if not name.startswith(_RENAMED):
        return None
    own = name.removeprefix("timm-")
    return f"tf_{own}" if "mobilenetv3" in own else own


def require_arguments(folder: Folder) -> None:
    """Check the arguments against those that the installed smp has.

    Raises:
        UsageError: the user gives an argument that there is not.
        ModelError: the config has one, or an encoder that there is not.
    """
    library = smp()
    found = getattr(library, folder.architecture, None)
    if found is None:
        raise ModelError(
            f"segmentation-models-pytorch {library.__version__} has no {folder.architecture}",
            hint="pip install --upgrade segmentation-models-pytorch",
        )
    encoder = folder.arguments.get("encoder_name")
    if not isinstance(encoder, str):
        raise ModelError(f"{folder.config_file} names no encoder: encoder_name is missing or no text")
    timm_name = _encoder_of_timm(encoder)
    names = [name for name in inspect.signature(found.__init__).parameters if name not in ("self", "kwargs")]
    known = {*names, *OLD_ARGUMENTS.get(folder.architecture, ())}
    for name in folder.arguments:
        if name in known:
            continue
        if timm_name is None or name in _INSIDE:
            raise _unknown_argument(folder, name, names, library.__version__)
    _require_encoder(folder, encoder, timm_name, library)


def _unknown_argument(folder: Folder, name: str, names: Iterable[str], version: str) -> SegplugError:
    if name in _INSIDE:
        return ModelError(
            f"{folder.config_file}: the argument '{name}' of the encoder reads weights from elsewhere",
            hint="remove it: all weights are in the folder's own",
        )
    guess = nearest(name, names)
    text = f"{folder.architecture} of segmentation-models-pytorch {version} has no argument '{name}'"
    text += f"; did you mean '{guess}'?" if guess else ""
    if name in folder.overridden:
        return UsageError(f"--cfg-options {name}: {text}", hint=f"it has {', '.join(names)}")
    return ModelError(f"{folder.config_file}: {text}", hint="load it with the version that saved it")


def _require_encoder(folder: Folder, encoder: str, timm_name: str | None, library: Any) -> None:
    if timm_name is None:
        known = library.encoders.get_encoder_names()
        if encoder not in known and folder.architecture != "DPT":
            guess = nearest(encoder, known)
            raise ModelError(
                f"{folder.config_file}: segmentation-models-pytorch {library.__version__} has no encoder "
                f"'{encoder}'" + (f"; did you mean '{guess}'?" if guess else ""),
                hint=f"encoders of timm begin with {TIMM}",
            )
        return
    import timm

    if not timm.is_model(timm_name) or ":" in timm_name:  # hf-hub:NAME would be fetched
        guess = nearest(timm_name, timm.list_models())
        raise ModelError(
            f"{folder.config_file}: timm {timm.__version__} has no encoder '{timm_name}'"
            + (f"; did you mean '{guess}'?" if guess else ""),
        )


def build(folder: Folder, *, with_labels: bool) -> nn.Module:
    """The network with random weights, in eval mode, without an activation in its head.

    Nothing is fetched: the weights that the encoder once began with are in the folder's own.

    Args:
        folder: Its arguments, which :func:`require_arguments` has checked.
        with_labels: Whether a head that classifies the whole image is built, too.

    Raises:
        ModelError: smp refuses the arguments.
    """
    arguments: Mapping[str, Any] = {**folder.arguments, "encoder_weights": None, "activation": None}
    if not with_labels:
        arguments = {**arguments, "aux_params": None}
    try:
        with quiet():
            network: nn.Module = getattr(smp(), folder.architecture)(**arguments)
    except Exception as error:
        raise ModelError(
            f"segmentation-models-pytorch cannot build {folder.architecture} from {folder.config_file}: "
            f"{one_line(error)}"
        ) from error
    return network.eval()
