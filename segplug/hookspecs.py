"""Every hook of segplug: what can be asked, what the request holds, what must come back.

A *provider* implements one of these hooks for one *target* and is found through the entry-point
group ``segplug.<hook>``, whose entry names are the targets::

    [project.entry-points."segplug.infer"]
    onnxruntime = "segplug_onnx.engine:provider"

A provider is an object (or a module) with

* ``api_version``: the hook API version it was written for (now 1),
* ``options``: a dataclass of its own options (see :mod:`segplug.options`), or nothing,
* one method named like the hook, marked with :data:`hookimpl`, taking ``request`` and nothing else.

Exactly one provider is called for a request: the one whose target was named. *Add-ons* (group
``segplug.addon``) wrap these hooks for all targets with ``@hookimpl(wrapper=True)``: they may look
at the request, refuse it with :class:`segplug.errors.RefusedError`, and look at or replace the
result.

Any hook may raise any :class:`segplug.errors.SegplugError`; the errors named below are the usual
ones. Any other exception is a bug of the plugin and is reported as one.
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
"""What a user can ask: ``segplug run <hook> <target>``."""

SOURCE_HOOKS = ("load_model", "load_dataset")
"""Where models and data sets come from; called on the way to the hooks above."""

ADDON_GROUP = "segplug.addon"

COMMAND_GROUP = "segplug.command"
"""A plugin's own commands, for work that is no hook's and does not end by itself: ``segplug serve``. An entry
names a ``click.Command`` in a module that is cheap to import."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


def group_of(hook: str) -> str:
    """The entry-point group that holds the targets of ``hook``."""
    return f"{PROJECT}.{hook}"


@hookspec(firstresult=True)
def export(request: ExportRequest) -> Artifact:
    """Write an artifact that computes what ``request.model`` computes, or pack one for a server.

    An exporter whose ``takes`` is ``model`` (the default) writes a file of its own, see below. One whose
    ``takes`` is ``artifact`` or ``either`` *packs*: it lays ``request.artifact`` (or ``request.model``, a
    config and its weights) into the folder ``request.output`` in the form that a server wants, under a name
    of its own, whole or not at all; it refuses an existing one unless ``request.force``. Add-ons wrap both
    kinds: ``request.model`` may be ``None``, and the artifact a folder.

    Called after the model is loaded and ``request.output`` is known to be free (or ``force``), and
    before any verification, which is the core's work.

    The exporter takes ``request.model.exportable()``: float32 ``(N, 3, H, W)`` in, float32 logits
    ``(N, C, H, W)`` out, in eval mode. It writes ``request.output`` whole or not at all
    (:func:`segplug.artifact.writing`) with ``request.model.meta``, completed with the input size
    and versions, inside the file or beside it.

    Returns:
        The artifact that now lies at ``request.output``.

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

    Exactly one of the two is set, as the provider's ``takes`` says. The output's metadata is the
    input's, completed with the device, library versions and precision. The input is not modified.

    Returns:
        The engine artifact that now lies at ``request.output``.

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
        DeviceError: the device is not there; never fall back to another in silence.

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

    What a report needs of other hooks (a model, an engine, an export) it asks of
    ``request.session``. It writes no file but those that its options name; tables and pages are
    written by the core (:mod:`segplug.reports`) from what it returns. A report that is about no files, but
    about what its options name, says ``needs_subjects = False``.

    Returns:
        Data (JSON types), the tables and figures that show it, and what must be known to read them.

    Since API 1.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def load_model(request: LoadModelRequest) -> SegmentationModel:
    """Build the network of ``request.config`` and load ``request.checkpoint`` strictly.

    The source hides its framework behind the tensor contract of
    :class:`segplug.model.SegmentationModel` and fills :class:`segplug.model.ModelMeta`.
    A source says which configs are its own with ``accepts(location: str) -> bool``, which must be
    cheap and import no framework. One that can write a config out in full, with all that it imports
    and ``request.cfg_options`` applied, does so in ``config_text(request) -> str``. One whose networks
    have backbones loads weights strictly into them, resizing tables of positions as its framework does,
    in ``fit_backbone(request, state, optional) -> BackboneFit`` (:meth:`segplug.Segplug.fit_backbone`).

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

    A source says which locations are its own with ``accepts(location: str) -> bool``. One whose framework
    knows data sets by name gives their colours in ``palette(name: str) -> tuple``, RGB, empty for others.

    Returns:
        The data set; no image has been read yet.

    Raises:
        DatasetError: folders or lists are missing, or there is not one image.

    Since API 1.
    """
    raise NotImplementedError
