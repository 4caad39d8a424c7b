"""Find out what a model file is, without running anything that it holds."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.checkpoint.formats import CHECKPOINTS
from segplug.description import FileDescription
from segplug.engine import REFERENCE_BACKEND
from segplug.errors import ArtifactError, PluginError, SegplugError, UntrustedCheckpointError, UsageError
from segplug.info import FileInfo, InstalledBackend
from segplug.installed import Entry
from segplug.legend import LegendEntry
from segplug.locations import has_scheme
from segplug.progress import QuietReporter
from segplug.providers import Confidence
from segplug.registry.discovery import command_entries, entries
from segplug.registry.formats import (
    attached_files,
    backends_for,
    default_backend,
    files_of,
    makers_for,
    read_meta,
)
from segplug.registry.hub import how_to_download
from segplug.regular_files import expanded, is_regular, why_no_file
from segplug.session import PathLike, Providers, Session
from segplug.text import counted

if TYPE_CHECKING:
    from segplug.checkpoint import Checkpoint
    from segplug.model import ModelMeta

__all__ = ["inspect"]

_NOTES = ("mmseg_version", "mmengine_version", "epoch", "iter", "time", "seed", "exp_name")
"""The training run's notes that are told, where they are short texts or numbers."""
_LONGEST_NOTE = 100
_MOST_PARTS = 12
"""How many parts of a network are listed, the largest first."""


def inspect(session: Session, location: PathLike) -> FileInfo:
    """What a file is; see :meth:`segplug.Segplug.info`."""
    providers = session.registry
    if has_scheme(str(location)):
        raise UsageError(
            f"{location} is no file",
            hint=how_to_download(str(location)) or "segplug info tells what a model file is",
        )
    path = expanded(str(location))
    if not path.is_dir() and (reason := why_no_file(path)):
        raise UsageError(reason, hint=how_to_download(location))
    if path.is_file() and path.stat().st_size == 0:
        raise ArtifactError(f"{path} is empty")
    suffix = next((end for end in CHECKPOINTS if path.name.lower().endswith(end)), None)
    try:
        found = _artifact(session, path)
    except ArtifactError:
        # A .pt may also hold weights alone, in a form that is no zip file.
        if suffix is None:
            raise
        found = None
    if found is not None:
        return found
    if suffix is not None and not path.is_dir():
        return _checkpoint(path, suffix)
    return _config(providers, path)


def _artifact(session: Session, path: Path) -> FileInfo | None:
    """``None``: no installed plugin makes or opens such files."""
    providers = session.registry
    maker, description = _described(providers, path)
    meta, notes = read_meta(providers, path), tuple[str, ...]()
    if meta is None and description is not None:
        meta, notes = _of_another_tool(session, description)
        description = description if meta is None else replace(description, next=())
    opened_by = backends_for(path)
    if description is None and meta is None and not opened_by:
        return None
    if description is None and path.suffix.lower() in CHECKPOINTS:
        return None  # a .pt without a network
    backends = tuple(_backends(providers, path))
    return FileInfo(
        path=path,
        kind="artifact",
        format=maker.target if maker else path.suffix.lstrip("."),
        what=description.what if description else f"{path.suffix.lstrip('.')} file",
        files=_files(providers, path),
        meta=meta,
        inputs=tuple(tensor.limited(meta.input_limits if meta else None) for tensor in description.inputs)
        if description
        else (),
        outputs=description.outputs if description else (),
        legend=meta.legend() if meta else (),
        details=description.details if description else {},
        backends=backends,
        notes=(*(description.notes if description else ()), *notes, *_without_meta(meta)),
        next=_commands(path, meta, backends, description),
    )


def _of_another_tool(
    session: Session, description: FileDescription
) -> tuple[ModelMeta | None, tuple[str, ...]]:
    """The metadata that another tool left, as segplug's, and why there is none."""
    if description.meta is not None or description.folder is None:
        return description.meta, ()
    try:
        return session.with_reporter(QuietReporter()).describe_model(description.folder), ()
    except SegplugError as error:
        return None, (str(error),)


def _described(providers: Providers, path: Path) -> tuple[Entry | None, FileDescription | None]:
    """The first maker of the file's suffix that describes it; else the first that reads metadata from it."""
    first: Entry | None = None
    for maker in makers_for(path):
        provider = providers.load(maker)
        description: FileDescription | None = provider.method("describe")(path)
        if description is not None:
            return maker, description
        first = first or (maker if not path.is_dir() else None)
    return first, None


def _backends(providers: Providers, path: Path) -> Iterator[InstalledBackend]:
    """Those that open the file, the one that is taken by default first."""
    opened_by = backends_for(path)
    if not opened_by:
        return
    with suppress(PluginError):
        chosen, others = default_backend(providers, path)
        opened_by = (chosen.entry, *others)
    with suppress(UsageError, PluginError):
        source = providers.source("load_model", str(path), None)
        if source.method("accepts")(str(path)) >= Confidence.LIKELY:  # though its name is an artifact's
            opened_by = (providers.provider("infer", REFERENCE_BACKEND).entry,)
    for entry in opened_by:
        device = entry.facts.default_device
        try:
            providers.load(entry).method("check_device")(device)
            reason = ""
        except SegplugError as error:
            reason = str(error)
        yield InstalledBackend(entry.target, entry.distribution, device, reason)


def _files(providers: Providers, path: Path) -> Mapping[str, int]:
    if path.is_dir():
        parts = sorted(file for file in path.rglob("*") if is_regular(file))
    else:
        parts = [file for file in (*files_of(providers, path), *attached_files(path)) if is_regular(file)]
    return {_relative(file, path.parent): file.stat().st_size for file in parts}


def _relative(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def _without_meta(meta: ModelMeta | None) -> tuple[str, ...]:
    if meta is not None:
        return ()
    return ("it holds no metadata of segplug: classes, colours and preprocessing are not known",)


def _commands(
    path: Path,
    meta: ModelMeta | None,
    backends: tuple[InstalledBackend, ...],
    description: FileDescription | None,
) -> tuple[str, ...]:
    if description is not None and (description.next or meta is None):
        return description.next
    if meta is None or not any(not backend.reason for backend in backends):
        return ()
    file = shlex.quote(str(path))
    lines = [f"segplug predict {file} photo.jpg", f"segplug infer {file} --dataset DATA --eval mIoU"]
    if any(entry.target == "serve" for entry in command_entries()):
        lines.append(f"segplug serve {file}")
    return tuple(lines)


def _checkpoint(path: Path, suffix: str) -> FileInfo:
    from segplug.checkpoint import read_checkpoint

    what, notes, found = CHECKPOINTS[suffix], [], None
    try:
        found = read_checkpoint(str(path))
    except UntrustedCheckpointError as error:
        notes.append(f"{error.message}: it was not read. It may run code when a command trusts it.")
    file = shlex.quote(str(path))
    return FileInfo(
        path=path,
        kind="checkpoint",
        format=suffix.lstrip("."),
        what=what,
        files={path.name: path.stat().st_size},
        legend=_legend_of(found) if found else (),
        details=_weights(found) if found else {},
        notes=(*notes, "it holds weights alone: the config of the model says what they compute"),
        next=(f"segplug export onnx CONFIG.py --checkpoint {file} --output model.onnx --verify",),
    )


def _weights(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the weights are, and what the training run noted."""
    tensors = checkpoint.state
    types = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    parts = Counter(name.partition(".")[0] for name in tensors)
    notes = {
        name: value
        for name, value in checkpoint.meta.items()
        if name in _NOTES and isinstance(value, (str, int, float)) and len(str(value)) <= _LONGEST_NOTE
    }
    found = {
        "tensors": len(tensors),
        "values": sum(tensor.numel() for tensor in tensors.values()),
        "types": dict(types),
        "parts": {name: counted(count, "tensor") for name, count in parts.most_common(_MOST_PARTS)},
        "training": notes,
        "also holds": sorted(checkpoint.rest),
    }
    return {what: value for what, value in found.items() if value not in ({}, [])}


def _legend_of(checkpoint: Checkpoint) -> tuple[LegendEntry, ...]:
    """The classes that the training run noted, as mmcv and mmengine write them."""
    noted = checkpoint.meta.get("dataset_meta")
    notes: Mapping[str, Any] = noted if isinstance(noted, Mapping) else checkpoint.meta
    lower = {str(key).lower(): value for key, value in notes.items()}
    names, colours = lower.get("classes"), lower.get("palette")
    if not isinstance(names, (list, tuple)):
        return ()
    if not (
        isinstance(colours, (list, tuple)) and len(colours) == len(names) and all(map(_is_colour, colours))
    ):
        return tuple(
            LegendEntry(label, str(name), (0, 0, 0), painted=False) for label, name in enumerate(names)
        )
    return tuple(
        LegendEntry(label, str(name), tuple(colour))
        for label, (name, colour) in enumerate(zip(names, colours, strict=True))
    )


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(isinstance(part, int) and 0 <= part <= 255 for part in value)
    )


def _config(providers: Providers, path: Path) -> FileInfo:
    """A config of a source; it may be a program, and is not run."""
    try:
        provider = providers.source("load_model", str(path), None)
    except UsageError as error:
        raise UsageError(f"no installed plugin knows what {path} is", hint=_known(path)) from error
    source, file = provider.entry, shlex.quote(str(path))
    is_whole = provider.method("accepts")(str(path)) >= Confidence.LIKELY
    what = "config of a model" if is_whole else "perhaps a config of a model"
    if path.is_dir():
        return _folder(path, source, sure=is_whole)
    doubt = () if is_whole else ("it lacks what a whole config has: it may be a part of one, or damaged",)
    return FileInfo(
        path=path,
        kind="config",
        format=source.target,
        what=f"{what}, read by the source {source.target} ({source.distribution})",
        files={path.name: path.stat().st_size},
        notes=(
            *doubt,
            "a config may be a program: it was not run, so its classes and its network are not known here",
        ),
        next=(
            f"segplug predict {file} photo.jpg --checkpoint WEIGHTS.pth",
            f"segplug export onnx {file} --checkpoint WEIGHTS.pth --output model.onnx --verify",
            f"segplug analyze config {file} --graph",
        ),
    )


def _folder(path: Path, source: Entry, *, sure: bool) -> FileInfo:
    """A folder that a source reads as a model; it is not loaded."""
    name = shlex.quote(str(path))
    return FileInfo(
        path=path,
        kind="config",
        format=source.target,
        what=f"{'' if sure else 'perhaps '}a model's folder, read by the source {source.target} "
        f"({source.distribution})",
        files={file.name: file.stat().st_size for file in path.iterdir() if is_regular(file)},
        notes=("it was not loaded, so its classes and its network are not known here",),
        next=(
            f"segplug predict {name} photo.jpg",
            f"segplug export onnx {name} --output model.onnx --verify",
            f"segplug serve {name}",
        ),
    )


def _known(path: Path) -> str:
    if path.is_dir():
        return "name a file, or the folder of one model"
    suffixes = {entry.facts.suffix for hook in ("export", "build_engine") for entry in entries(hook)} - {""}
    return f"known are files of {', '.join(sorted({*suffixes, *CHECKPOINTS}))}, and configs"
