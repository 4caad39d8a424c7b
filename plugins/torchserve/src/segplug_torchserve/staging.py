"""Collects the files of an archive in a folder, and opens the model there as the server will."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from segplug.engine import REFERENCE_BACKEND
from segplug.errors import DeviceError, SegplugError, UsageError
from segplug.model import LoadArguments, ModelMeta, SegmentationModel
from segplug.registry.formats import companions
from segplug.regular_files import copy_regular, expanded
from segplug.requests import PackRequest
from segplug.runtime.postprocess import require_scores
from segplug.serving.served_model import (
    SERVED_FILE,
    ServedModel,
    choose_backend,
    open_served_model,
    serving_warnings,
)
from segplug.session import Session

__all__ = ["REQUIREMENTS_FILE", "check_staged", "stage"]

REQUIREMENTS_FILE = "segplug-requirements.txt"

_MODEL = "model"
"""The folder of the model's files, apart from the files of TorchServe and segplug."""


def stage(request: PackRequest[Any], settings: ServedModel, backend: str | None, folder: Path) -> ServedModel:
    """Copy the model's files into ``folder``, and write the description beside them.

    Args:
        request: A model with load arguments, or an artifact.
        settings: The user's settings; returned with the backend and the paths of the files.
        backend: The ``infer`` target that the user chose; ``None``: the default of the format.
        folder: An empty folder.
    """
    (folder / _MODEL).mkdir()
    if request.model is not None:
        served = _stage_model(request.session, request.model, settings, backend, folder)
    else:
        served = _stage_artifact(request, settings, backend, folder)
    (folder / SERVED_FILE).write_text(served.to_json(), encoding="utf-8")
    return served


def check_staged(request: PackRequest[Any], served: ServedModel, folder: Path) -> ModelMeta:
    """Open the staged model as the server will, to find what is missing now; returns its metadata."""
    try:
        with open_served_model(request.session, folder, served) as engine:
            if served.unknown_below is not None:
                require_scores(engine.spec, "--unknown-below")
            for note in serving_warnings(engine.spec):
                request.reporter.warn(note)
            return engine.spec.meta
    except DeviceError as error:
        meta = request.meta
        if meta is None:
            raise
        request.reporter.warn(f"the archive was not tested here: {error}")
        return meta
    except SegplugError as error:
        raise _with_users_paths(error, request, folder) from error


def _with_users_paths(error: SegplugError, request: PackRequest[Any], folder: Path) -> SegplugError:
    """The same error with the user's paths in place of those of the temporary copies."""
    if request.artifact is None:
        return error
    copied, original = f"{folder / _MODEL}/", f"{request.artifact.parent}/"
    hint = None if error.hint is None else error.hint.replace(copied, original)
    return type(error)(error.message.replace(copied, original), hint=hint)


def _stage_model(
    session: Session, model: SegmentationModel, settings: ServedModel, backend: str | None, folder: Path
) -> ServedModel:
    arguments = model.load_arguments
    if arguments is None:
        raise UsageError("this model was made in memory: a server cannot load it again")
    if backend not in (None, REFERENCE_BACKEND):
        raise UsageError(
            f"a config runs in {REFERENCE_BACKEND}, not in {backend}", hint="export an artifact for it first"
        )
    settings = replace(
        settings,
        backend=REFERENCE_BACKEND,
        source=arguments.source,
        trust_checkpoint=arguments.trust_checkpoint,
        trust_artifact=arguments.trust_artifact,
        allow_nonfinite=arguments.allow_nonfinite,
        approximate=arguments.approximate,
        source_options=arguments.options,
    )
    if expanded(arguments.config).is_dir():
        return _stage_folder(model, arguments, settings, folder)
    try:
        text = session.config_text(
            arguments.config,
            cfg_options=arguments.cfg_options,
            source=arguments.source,
            **arguments.options,
        )
    except UsageError as error:
        raise UsageError(
            f"{arguments.config} cannot be packed: {error.message}",
            hint="export an artifact first, such as segplug export onnx, and pack that",
        ) from error
    if arguments.checkpoint is None:
        raise UsageError("this model has no trained weights", hint="add --checkpoint WEIGHTS")
    # The config keeps its name, which is also the model's name. Sources write every config as Python.
    config = f"{_MODEL}/{Path(arguments.config).stem}.py"
    checkpoint = f"{_MODEL}/{Path(arguments.checkpoint).name}"
    (folder / config).write_text(text, encoding="utf-8")
    _copy(expanded(arguments.checkpoint), folder / checkpoint)
    return replace(settings, config=config, checkpoint=checkpoint)


def _stage_folder(
    model: SegmentationModel, arguments: LoadArguments, settings: ServedModel, folder: Path
) -> ServedModel:
    """Copy the files of a model that is a folder, as its source says which they are."""
    if arguments.cfg_options:
        raise UsageError(
            f"{arguments.config} cannot be packed with settings that are not in it (--cfg-options)",
            hint="change its files, or export an artifact, such as segplug export onnx, and pack that",
        )
    root, config = expanded(arguments.config), f"{_MODEL}/{model.meta.name}"

    def staged(file: Path) -> str:
        inside = file.is_relative_to(root)
        return f"{config}/{file.relative_to(root).as_posix()}" if inside else f"{_MODEL}/{file.name}"

    weights = None if arguments.checkpoint is None else expanded(arguments.checkpoint)
    for file in {*model.files, *([] if weights is None else [weights])}:
        _copy(file, folder / staged(file))
    return replace(settings, config=config, checkpoint=None if weights is None else staged(weights))


def _stage_artifact(
    request: PackRequest[Any], settings: ServedModel, backend: str | None, folder: Path
) -> ServedModel:
    artifact = request.file
    chosen = choose_backend(request.session, artifact, backend)
    main = () if artifact.is_dir() else (artifact,)
    for file in (*main, *companions(chosen, artifact)):
        # On the server a file has the same path relative to its artifact.
        _copy(file, folder / _MODEL / os.path.relpath(file, artifact.parent))
    return replace(
        settings,
        backend=chosen.entry.target,
        artifact=f"{_MODEL}/{artifact.name}",
        trust_artifact=request.trust_artifact,
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        copy_regular(source, target)
    except OSError as error:
        raise UsageError(f"{source} cannot be copied: {error.strerror or error}") from error
