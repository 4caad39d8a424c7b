"""What can be known of a call before a model is loaded or an artifact is opened, which takes long."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from segplug.api.making import ensure_output, image_paths, precision_of
from segplug.api.subjects import output_path
from segplug.checkpoint import SAFETENSORS, require_checkpoint
from segplug.dataset import Dataset
from segplug.errors import SpaceError, UsageError
from segplug.files import ensure_folder, refuse_input
from segplug.installed import Provider
from segplug.locations import has_scheme
from segplug.model import SegmentationModel
from segplug.registry.formats import require_device, verification_backend
from segplug.regular_files import expanded, is_regular, open_regular
from segplug.requests import MakePlan
from segplug.results import Precision
from segplug.runtime.folder import LAYOUT
from segplug.session import PathLike, Providers

__all__ = [
    "check_checkpoint",
    "check_making",
    "check_packing",
    "check_run",
    "least_weights",
    "require_space",
    "weights_of",
]

_HERE = "local"

_TRAINING = (b"optimizer", b"ema_")
"""Words in a checkpoint that holds more than the weights of one network."""

_PUBLISHED_SHARE, _TRAINING_SHARE = 2, 8
"""A checkpoint is at most so many times larger than the weights that are used: a part of them is for training
only (auxiliary heads), and there may be averages of them, and two numbers of the optimiser for each.
"""

_WRITTEN = 0.9
"""The part of a network's weights that is written at least: exporters fold norms into convolutions."""

_BYTES: Mapping[Precision, float] = {"fp32": 1, "fp16": 1 / 2, "bf16": 1 / 2, "int8": 1 / 4}

_LARGEST_INDEX = 64 << 20
"""Bytes of the list of tensors of a checkpoint."""


def check_making(
    providers: Providers,
    maker: Provider,
    *,
    output: PathLike,
    inputs: Sequence[str | Path | None],
    precision: Precision | None,
    images: Sequence[PathLike],
    verify: bool,
    force: bool,
    options: Mapping[str, Any],
    device: str | None = None,
    weights: int = 0,
) -> MakePlan[Any]:
    """Check a call of an exporter or an engine builder.

    Args:
        providers: The installed providers.
        maker: The exporter or engine builder.
        output: The file to write.
        inputs: The files that it is made from, as far as they are known.
        precision: ``None``: the maker's first.
        images: The user's images.
        verify: Whether the artifact will be run here.
        force: Replace the output if it exists.
        options: The maker's own options, keyword to value.
        device: Where the artifact will run; ``None``: the target's own default.
        weights: Bytes in fp32 that its weights have at least.

    Raises:
        UsageError: a file is not there, the output cannot be written, or options do not go together.
        SpaceError: the disk has no room for it.
        DeviceError: the device is not there.
        SegplugError: what :meth:`segplug.providers.Maker.check_plan` of the maker raises.
    """
    destination = output_path(output)
    plan: MakePlan[Any] = MakePlan(
        options=maker.make_options(dict(options)),
        destination=destination,
        precision=precision_of(maker, precision),
        device=device,
        images=image_paths(images),
    )
    refuse_input(destination, [*inputs, *plan.images])
    ensure_output(maker, destination, force=force)
    require_space(destination, int(weights * _WRITTEN * _BYTES[plan.precision]))
    if verify:
        require_device(verification_backend(providers, maker.entry), device)
    maker.method("check_plan")(plan)
    return plan


def check_packing(
    packer: Provider, *, folder: PathLike, options: Mapping[str, Any], copied: PathLike | None
) -> None:
    """Check a call of a packer that is given a model.

    Args:
        packer: The packer.
        folder: The server's folder of models.
        options: The packer's own options, keyword to value.
        copied: The checkpoint, which is packed with the config.

    Raises:
        UsageError: the checkpoint is not there, the folder cannot be written, or an option is wrong.
        SpaceError: the disk has no room for it.
    """
    packer.make_options(dict(options))
    check_checkpoint(copied)
    destination = output_path(folder)
    ensure_folder(destination)
    require_space(destination, least_weights(copied))


def check_run(
    backend: Provider,
    executor: Provider,
    dataset: Dataset,
    *,
    metrics: Collection[str],
    device: str | None,
) -> None:
    """Check a run on a data set, once the data set is open.

    Args:
        backend: The backend.
        executor: What runs the job. Only ``local`` does so here: another one may have other devices.
        dataset: The data set.
        metrics: What is scored.
        device: Where the backend runs; ``None``: its own default.

    Raises:
        UsageError: the data set is scored, and has no masks.
        DeviceError: the device is not there.
        MissingDependencyError: a library of the backend is not installed.
    """
    if metrics and not dataset.info.has_masks:
        raise UsageError(
            f"the data set {dataset.info.name} has no masks, so there is nothing to score against",
            hint=dataset.info.masks_hint or LAYOUT,
        )
    if executor.entry.target == _HERE:
        require_device(backend, device)


def check_checkpoint(checkpoint: PathLike | None) -> None:
    """Check that a checkpoint is there, if it is a path; raises :class:`UsageError` if not."""
    if checkpoint is not None and not has_scheme(str(checkpoint)):
        require_checkpoint(str(checkpoint))


def least_weights(checkpoint: PathLike | None) -> int:
    """Bytes that the weights of a checkpoint have at least; 0 if nothing is known of it."""
    if checkpoint is None or not is_regular(path := expanded(checkpoint)):
        return 0
    published = path.suffix.lower() == SAFETENSORS or _is_published(path)
    return path.stat().st_size // (_PUBLISHED_SHARE if published else _TRAINING_SHARE)


def weights_of(model: SegmentationModel) -> int:
    """Bytes of a loaded network's weights. Those that layers share count once; what is no tensor does not."""
    tensors = [value for value in model.module.state_dict().values() if hasattr(value, "data_ptr")]
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def _is_published(path: Path) -> bool:
    """Whether a pickle of PyTorch holds the weights of one network, and nothing else of size."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if not names or archive.getinfo(names[0]).file_size > _LARGEST_INDEX:
                return False
            listed = archive.read(names[0])
    except Exception:  # it may be any file: what reads it says what is wrong with it
        return False
    return not any(word in listed for word in _TRAINING)


def require_space(destination: Path, need: int) -> None:
    """Check that the disk has room for what will be written at ``destination``.

    Args:
        destination: A file or a folder; it need not be there, nor its own folder.
        need: Bytes, at least.

    Raises:
        SpaceError: it has not.
    """
    place = destination.absolute()
    try:
        have = shutil.disk_usage(next(path for path in (place, *place.parents) if path.is_dir())).free
    except (OSError, StopIteration):  # what writes there says what is wrong
        return
    if need > have:
        raise SpaceError(
            f"the disk has no room for {destination}: it needs {need / 1e6:.1f} MB at least, and has "
            f"{have / 1e6:.1f} MB free",
            hint="name an output on another disk",
        )
