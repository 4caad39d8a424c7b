"""What both sources share: the checks of a file, and the model that it becomes.

This module imports no torch: what is wrong with the file or the request is found before that takes its time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.artifact import file_sha256
from segplug.errors import ModelError, UsageError
from segplug.model import InputLimits, ModelMeta, Provenance, SegmentationModel
from segplug.regular_files import expanded
from segplug.requests import LoadModelRequest
from segplug_torchscript import archive, packing

if TYPE_CHECKING:
    import torch
    from segplug_torch.undescribed.options import AnyNetworkOptions
    from torch import nn

__all__ = ["FileNetwork", "as_model", "open_file"]


@dataclass(frozen=True)
class FileNetwork:
    """The network of a file, as a source has opened it."""

    network: nn.Module
    """In eval mode, on its device."""
    exportable: Callable[[], nn.Module]
    """Builds the module that exporters follow in place of ``network``."""
    in_channels: int
    alone: bool
    """Whether it takes one image at a time."""
    limits: InputLimits | None = None
    """The sizes that the file says; ``None``: it says none."""


def open_file(request: LoadModelRequest[Any], target: str) -> tuple[Path, archive.Kind, ModelMeta | None]:
    """Check the request and every byte of the file; the metadata is that of a file of segplug's.

    Raises:
        UsageError: there is no such file; or weights or overrides are given, or facts that the file says.
        ArtifactError: it is damaged, or of another kind.
    """
    path = expanded(request.config)
    kind, meta = archive.read_whole(path, target)
    if request.checkpoint is not None:
        raise UsageError(f"the weights are in {path}", hint="leave out --checkpoint")
    if request.cfg_options:
        raise UsageError(f"{path} has no settings that could be changed", hint="leave out --cfg-options")
    if meta is not None and (given := _given(request.options)):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"the metadata in {path} says how it is used", hint=f"leave out {flags}")
    return path, kind, meta


def _given(options: AnyNetworkOptions) -> list[str]:
    default = type(options)()
    names = [field.name for field in dataclasses.fields(options)]
    return [name for name in names if getattr(options, name) != getattr(default, name)]


def as_model(
    request: LoadModelRequest[Any],
    target: str,
    path: Path,
    opened: FileNetwork,
    own: ModelMeta | None,
    device: torch.device,
) -> SegmentationModel:
    """The model of an opened file.

    Args:
        request: Its options say what the file does not.
        target: The name of the source.
        path: The file.
        opened: Its network.
        own: The metadata of a file that segplug wrote.
        device: Where the network is.

    Raises:
        ModelError: the network does not take images and return scores.
        UsageError: options are wrong, or contradict each other.
    """
    from segplug_torch.exportable import make_exportable
    from segplug_torch.limits import find_input_limits
    from segplug_torch.undescribed.metadata import input_files
    from segplug_torch.undescribed.outputs import select_output

    from segplug_torchscript.models.wrapping import OneByOne

    options: AnyNetworkOptions = request.options

    def completed(network: nn.Module) -> nn.Module:
        chosen = select_output(network, options.output_key)
        return (OneByOne(chosen) if opened.alone else chosen).eval().requires_grad_(False)

    network = completed(opened.network)
    if own is None:
        meta, tried = _described(request, target, path, opened, network)
    else:
        meta = _own(own, target, path)
        tried = meta.input_size or (64, 64)
    known = meta.input_limits
    shape = (1, meta.in_channels, *tried)

    def exportable() -> nn.Module:
        form = make_exportable(completed(opened.exportable()), probabilities=meta.scores == "probabilities")
        _require_same(network, form, shape, device)
        return form

    return SegmentationModel(
        module=network,
        meta=meta,
        exportable=exportable,
        device=str(device),
        input_limits=lambda: known or find_input_limits(network, meta),
        files=input_files(options, path),
    )


def _described(
    request: LoadModelRequest[Any], target: str, path: Path, opened: FileNetwork, network: nn.Module
) -> tuple[ModelMeta, tuple[int, int]]:
    """The metadata of another tool's file, and a size that its network takes."""
    from segplug_torch.undescribed.metadata import Known, make_meta, nominal_size
    from segplug_torch.undescribed.scores import find_scores

    options: AnyNetworkOptions = request.options
    limits = opened.limits
    fixed = limits.minimum if limits is not None and limits.is_fixed else None
    size = nominal_size(options)
    if fixed is not None and size not in (None, fixed):
        raise UsageError(f"{path} is made for images of {limits}", hint="leave out other sizes")
    scores = find_scores(
        network,
        opened.in_channels,
        size or _usual(limits),
        options.scores,
        step=1 if limits is None else limits.multiple_of,
    )
    known = Known(
        name=path.stem,
        in_channels=opened.in_channels,
        scores=options.scores,
        input_size=fixed,
        input_limits=limits,
        config_file=path,
        distributions=("segplug-torchscript",),
        extra={target: {"file": path.name}},
    )
    return make_meta(request, known, scores), scores.sizes[0]


def _usual(limits: InputLimits | None) -> tuple[int, int] | None:
    """A small size that a file takes; ``None``: any."""
    if limits is None or (limits.minimum == (1, 1) and limits.maximum is None):
        return None
    step, most = limits.multiple_of, limits.maximum or (None, None)
    edges = [
        max(-(-max(low, 64) // step) * step, low) if top is None else max(low, min(top, 64) // step * step)
        for low, top in zip(limits.minimum, most, strict=True)
    ]
    return edges[0], edges[1]


def _own(own: ModelMeta, target: str, path: Path) -> ModelMeta:
    """The metadata of a file of segplug's as that of a model: what is said of the file alone is left out."""
    free = own.extra_as(target, packing.Details, file=path).free
    limits = own.input_limits
    if "height" not in free and own.input_size is not None:
        limits = InputLimits(minimum=own.input_size, maximum=own.input_size)
    made_from = own.provenance
    return own.replace(
        provenance=Provenance(
            config=str(path),
            config_sha256=file_sha256(path),
            checkpoint=made_from.checkpoint,
            checkpoint_sha256=made_from.checkpoint_sha256,
        ),
        input_limits=limits,
        verification=None,
        extra={name: value for name, value in own.extra.items() if name != target},
    )


_STEPS = (1, 2, 4, 8, 16, 32)
"""By what an image is larger, so that a network of several sizes takes it."""


def _require_same(network: nn.Module, form: nn.Module, shape: tuple[int, ...], device: torch.device) -> None:
    """Check that what exporters follow gives what the file gives: at one size, and at the next that it takes.

    Raises:
        ModelError: it does not.
    """
    import torch
    from segplug_torch.errors import refusals

    count, channels, height, width = shape
    larger = [(height + step, width + 3 * step) for step in _STEPS]
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for number, size in enumerate([(height, width), *larger]):
            images = torch.randn((count, channels, *size), generator=generator).to(device)
            try:
                expected = network(images.clone())  # it may change its input
            except refusals():
                if not number:
                    raise
                continue
            if not _same(expected, form(images.clone())):
                raise ModelError(
                    "the network of the file, run step by step, gives other numbers than PyTorch gives: at "
                    f"{size[0]}x{size[1]}",
                    hint="infer pytorch runs the file itself; export it from the code that made it",
                )
            if number:
                return


def _same(expected: torch.Tensor, answer: torch.Tensor) -> bool:
    finite = expected[expected.isfinite()]
    span = float(finite.max() - finite.min()) if finite.numel() else 0.0
    # Not by the largest difference: NaN on one side would pass, and so would equal infinities not.
    return answer.shape == expected.shape and answer.allclose(
        expected, rtol=0, atol=1e-4 * max(span, 1e-6), equal_nan=True
    )
