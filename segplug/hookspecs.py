"""Every hook of segplug: when it is called, what its request holds, what it must return.

A *provider* implements one of these hooks for one *target* and is found through the entry-point
group ``segplug.<hook>``, whose entry names are the targets::

    [project.entry-points."segplug.infer"]
    onnxruntime = "segplug_onnx.engine:provider"

A provider is an object (or a module) with

* ``api_version``: the hook API version it was written for (now 1),
* ``options``: a dataclass of its own options (see :mod:`segplug.options`); it may be left out,
* one method named like the hook, marked with :data:`hookimpl`, taking ``request`` and nothing else.

Exactly one provider is called for a request: the one whose target was named. *Add-ons* (group
``segplug.addon``) wrap these hooks for all targets with ``@hookimpl(wrapper=True)``: they may read
the request, refuse it with :class:`segplug.errors.RefusedError`, and read or replace the result.

A hook may raise any :class:`segplug.errors.SegplugError`; the errors named below are the usual
ones. Any other exception is reported as a bug of the plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.engine import Engine
    from segplug.model import SegmentationModel
    from segplug.requests import (
        AnalyzeRequest,
        BuildEngineRequest,
        ConvertWeightsRequest,
        ExportRequest,
        InferRequest,
        LoadDatasetRequest,
        LoadModelRequest,
    )
    from segplug.results import AnalyzeReport, Artifact, ConversionReport

__all__ = [
    "ADDON_GROUP",
    "API_VERSION",
    "COMMAND_GROUP",
    "HOOKS",
    "OLDEST_API_VERSION",
    "PROJECT",
    "SOURCE_HOOKS",
    "group_of",
    "hookimpl",
    "hookspec",
]

PROJECT = "segplug"

API_VERSION = 1
"""The version of the hooks below. It grows when a request gains a field or a hook is added."""

OLDEST_API_VERSION = 1
"""Providers written for an older version than this are refused."""

HOOKS = ("export", "build_engine", "infer", "convert_weights", "analyze")
"""The hooks that a user calls: ``segplug run <hook> <target>``."""

SOURCE_HOOKS = ("load_model", "load_dataset")
"""The hooks that load models and data sets for the hooks above."""

ADDON_GROUP = "segplug.addon"

COMMAND_GROUP = "segplug.command"
"""Commands of plugins, for work that is not one of the hooks, such as ``segplug serve``. An entry names a
``click.Command`` in a module that is cheap to import."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


def group_of(hook: str) -> str:
    """The entry-point group that holds the targets of ``hook``."""
    return f"{PROJECT}.{hook}"


@hookspec(firstresult=True)
def export(request: ExportRequest) -> Artifact:
    """Write an artifact that computes what ``request.model`` computes, or pack one for a server.

    There are two kinds of exporters. One whose ``takes`` is ``model`` (the default) writes a file, as
    described below. One whose ``takes`` is ``artifact`` or ``either`` *packs*: it writes
    ``request.artifact`` (or ``request.model``, a config and its weights) into the folder
    ``request.output``, in the form that a server reads, under a name that it chooses, whole or not at all.
    It refuses an existing one unless ``request.force`` is set. Add-ons wrap both kinds: ``request.model``
    may be ``None``, and the artifact may be a folder.

    Called after the model is loaded and ``request.output`` is free (or ``force`` is set), and before
    verification, which the core does.

    The exporter exports ``request.model.exportable()``: float32 ``(N, 3, H, W)`` in, float32 logits
    ``(N, C, H, W)`` out, in eval mode. It writes ``request.output`` whole or not at all
    (:func:`segplug.files.writing`). It writes ``request.model.meta``, completed with the input size and
    versions, into the file or beside it.

    Returns:
        The artifact at ``request.output``.

    Raises:
        ShapeError: the network cannot take ``request.shape``.
        ArtifactError: the file could not be written.
        MissingDependencyError: a library is not installed.

    Since API 1.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def build_engine(request: BuildEngineRequest) -> Artifact:
    """Compile an artifact (``request.artifact``) or a model (``request.model``) for one device.

    Exactly one of the two is set, as the provider's ``takes`` says. The metadata of the output is that
    of the input, completed with the device, library versions and precision. The input is not modified.

    Returns:
        The engine artifact at ``request.output``.

    Raises:
        DeviceError: ``request.device`` is not there.
        ArtifactError: the input is damaged, or the build failed (the builder's reason is quoted).

    Since API 1.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def infer(request: InferRequest) -> Engine:
    """Open ``request.artifact`` (or wrap ``request.model``, or reach ``request.url``) and return an engine.

    Called once for a run; the runtime then calls ``engine.run`` with float32 ``(N, 3, H, W)``
    batches (images, where the spec says so) within ``engine.spec`` and ``engine.close`` at the end. The
    metadata comes from the artifact or server; where it has none, from the provider's own options.

    Returns:
        The engine, on exactly the device that was asked for.

    Raises:
        ArtifactError: the artifact is damaged or of another format.
        DeviceError: the device is not there. A backend never falls back to another device by itself.

    Since API 1.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def convert_weights(request: ConvertWeightsRequest) -> ConversionReport:
    """Read weights from ``request.source`` and write them under other names or forms.

    ``request.source`` is never modified, ``request.destination`` is written whole or not at all.

    Returns:
        What was renamed, reshaped, merged, dropped and left over.

    Raises:
        CheckpointError: the file is unreadable, or not what this target converts.

    Since API 1.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def analyze(request: AnalyzeRequest) -> AnalyzeReport:
    """Report on ``request.subjects`` without changing them.

    A report that needs other hooks (a model, an engine, an export) calls them through
    ``request.session``. It writes only the files that its options name; the core (:mod:`segplug.reports`)
    writes tables and pages from what it returns. A report that has no files as subjects, but takes
    everything from its options, says ``needs_subjects = False``.

    Returns:
        Data (JSON types), tables and figures of the data, and notes on how to read them.

    Since API 1.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def load_model(request: LoadModelRequest) -> SegmentationModel:
    """Build the network of ``request.config`` and load ``request.checkpoint`` strictly.

    The source wraps its framework's network in the tensor contract of
    :class:`segplug.model.SegmentationModel` and fills :class:`segplug.model.ModelMeta`. A source has these
    methods beside the hook:

    * ``accepts(location: str) -> bool``: whether the source reads this config. It must be cheap and import
      no framework.
    * ``config_text(request) -> str`` (optional): the config in full, with everything that it imports and
      with ``request.cfg_options`` applied.
    * ``fit_backbone(request, state, optional) -> BackboneFit`` (optional): load weights strictly into the
      network's backbone, and resize position tables as the framework does
      (:meth:`segplug.Segplug.fit_backbone`).

    Returns:
        The model on ``request.device``, in eval mode.

    Raises:
        ModelError: the config cannot be read or built.
        CheckpointError: the checkpoint is unreadable, unsafe, or of another model.

    Since API 1.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def load_dataset(request: LoadDatasetRequest) -> Dataset:
    """Open the test data set that ``request.location`` describes.

    A source has these methods beside the hook:

    * ``accepts(location: str) -> bool``: whether the source reads this location.
    * ``palette(name: str) -> tuple`` (optional): the RGB colours of a data set that the framework knows by
      this name; empty for other names.

    Returns:
        The data set; no image has been read yet.

    Raises:
        DatasetError: folders or lists are missing, or there is not one image.

    Since API 1.
    """
    raise NotImplementedError
