"""What goes into an archive, gathered in a folder as it will lie on the server, and tried there."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from segplug.artifact import read_sidecar
from segplug.engine import REFERENCE_BACKEND
from segplug.errors import DeviceError, SegplugError, UsageError
from segplug.model import ModelMeta, SegmentationModel
from segplug.registry.formats import companions
from segplug.requests import ExportRequest
from segplug.serving.served import SERVED_FILE, Served, choose_backend, label_output_warning, open_served
from segplug.session import Session

__all__ = ["REQUIREMENTS_FILE", "stage", "try_out"]

REQUIREMENTS_FILE = "segplug-requirements.txt"

_MODEL = "model"
"""The folder of the model's own files, apart from those that TorchServe and segplug look for."""


def stage(request: ExportRequest, settings: Served, backend: str | None, folder: Path) -> Served:
    """Copy the model's files into ``folder``, and write what describes them.

    Args:
        request: A model with load arguments, or an artifact.
        settings: What the user chose; where the files are is filled in.
        backend: The ``infer`` target that the user wants; ``None``: the format's own.
        folder: An empty folder.
    """
    (folder / _MODEL).mkdir()
    if request.model is not None:
        served = _staged_model(request.session, request.model, settings, backend, folder)
    elif request.artifact is not None:
        served = _staged_artifact(request.session, request.artifact, settings, backend, folder)
    else:
        raise UsageError("export torchserve takes a config or an artifact")
    (folder / SERVED_FILE).write_text(served.to_json(), encoding="utf-8")
    return served


def try_out(request: ExportRequest, served: Served, folder: Path) -> ModelMeta:
    """Open what was staged as the server will, so that what is missing shows now; returns the metadata."""
    try:
        with open_served(request.session, folder, served) as engine:
            if (note := label_output_warning(engine.spec)) is not None:
                request.reporter.warn(note)
            return engine.spec.meta
    except DeviceError as error:
        meta = None if request.artifact is None else read_sidecar(request.artifact)
        if meta is None:
            raise
        request.reporter.warn(f"not tried: {error}; on the server it has to open")
        return meta
    except SegplugError as error:
        raise _of_the_users_file(error, request, folder) from error


def _of_the_users_file(error: SegplugError, request: ExportRequest, folder: Path) -> SegplugError:
    """The same error, where it names a copy that will be gone."""
    if request.artifact is None:
        return error
    copies, own = f"{folder / _MODEL}/", f"{request.artifact.parent}/"
    hint = None if error.hint is None else error.hint.replace(copies, own)
    return type(error)(error.message.replace(copies, own), hint=hint)


def _staged_model(
    session: Session, model: SegmentationModel, settings: Served, backend: str | None, folder: Path
) -> Served:
    arguments = model.load_arguments
    if arguments is None:
        raise UsageError("this model was made in memory: nothing says how a server loads it again")
    if backend not in (None, REFERENCE_BACKEND):
        raise UsageError(
            f"a config runs in {REFERENCE_BACKEND}, not in {backend}", hint="export an artifact for it first"
        )
    if arguments.checkpoint is None:
        raise UsageError("a model without weights is of no use on a server", hint="add --checkpoint WEIGHTS")
    # Under its own name, which is the model's name, too; a source writes its configs out as Python, whatever
    # they were.
    config = f"{_MODEL}/{Path(arguments.config).stem}.py"
    checkpoint = f"{_MODEL}/{Path(arguments.checkpoint).name}"
    text = session.config_text(arguments.config, cfg_options=arguments.cfg_options, source=arguments.source)
    (folder / config).write_text(text, encoding="utf-8")
    _copy(Path(arguments.checkpoint).expanduser(), folder / checkpoint)
    return replace(
        settings,
        backend=REFERENCE_BACKEND,
        config=config,
        checkpoint=checkpoint,
        source=arguments.source,
        trust_checkpoint=arguments.trust_checkpoint,
    )


def _staged_artifact(
    session: Session, artifact: Path, settings: Served, backend: str | None, folder: Path
) -> Served:
    chosen = choose_backend(session, artifact, backend)
    for file in (artifact, *companions(chosen, artifact)):
        _copy(file, folder / _MODEL / _place(file, artifact))
    return replace(settings, backend=chosen.entry.target, artifact=f"{_MODEL}/{artifact.name}")


def _place(file: Path, artifact: Path) -> Path:
    """Where a file lies as seen from its artifact's folder: there it is found on the server, too."""
    place = Path(os.path.relpath(file, artifact.parent))
    if place.parts[:1] == (os.pardir,):
        raise UsageError(
            f"{artifact.name} needs {file}, which is outside the artifact's folder: an archive holds nothing "
            "from there",
            hint="put the two into one folder, and export or save the artifact again",
        )
    return place


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    except OSError as error:
        raise UsageError(f"{source} cannot be copied: {error.strerror or error}") from error
