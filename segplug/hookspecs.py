"""Every hook of segplug: when it is called, what its request holds, what it must return.

A *provider* implements one of these hooks for one *target*: an object whose class extends the hook's base
class in :mod:`segplug.providers`, and that an entry point of the group ``segplug.<hook>`` names. Its method
is named like the hook, marked with :data:`hookimpl`, and takes ``request`` and nothing else.

Exactly one provider is called for a request: the one whose target was named. *Add-ons* (group
``segplug.addon``, :class:`segplug.providers.AddOn`) wrap these hooks for all targets: they may read the
request, refuse it with :class:`segplug.errors.RefusedError`, and read or replace the result.

``export``, ``build_engine`` and ``convert_weights`` write files, and so does ``analyze`` where an option
names one. They write into a staging folder (``request.output``, or the option's value). When every add-on
has agreed, all files there become visible at ``request.destination`` together, and replace the older ones
if the user allows it. If anything is raised before, nothing has changed.

A hook may raise any :class:`segplug.errors.SegplugError`; the errors named below are the usual
ones. Any other exception is reported as a bug of the plugin.

What changed in which version of a hook: :data:`segplug.versions.HOOK_VERSIONS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from segplug.groups import PROJECT

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.engine import Engine
    from segplug.model import SegmentationModel
    from segplug.requests import (
        AnalyzeRequest,
        BuildEngineRequest,
        CommandRequest,
        ConvertWeightsRequest,
        ExportRequest,
        InferRequest,
        LoadDatasetRequest,
        LoadModelRequest,
        PackRequest,
        RunRequest,
    )
    from segplug.results import AnalyzeReport, Artifact, ConversionReport
    from segplug.scores import RunReport

__all__ = [
    "analyze",
    "build_engine",
    "command",
    "convert_weights",
    "export",
    "hookimpl",
    "hookspec",
    "infer",
    "load_dataset",
    "load_model",
    "run",
]

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def export(request: ExportRequest[Any] | PackRequest[Any]) -> Artifact:
    """Write an artifact that computes what a model computes, or pack one for a server.

    An :class:`~segplug.providers.Exporter` gets an ``ExportRequest`` and a
    :class:`~segplug.providers.Packer` a ``PackRequest``. An add-on gets both, and asks with ``isinstance``
    which it is.

    *Tracing.* Called after the model is loaded and ``request.destination`` is free (or may be replaced),
    and before verification, which the core does. The exporter exports ``request.model.exportable()``:
    float32 ``(N, 3, H, W)`` in, float32 logits ``(N, C, H, W)`` out, in eval mode. It writes
    ``request.model.meta``, completed with the input size and versions, into the file or beside it
    (``write_meta``).

    *Packing.* The packer writes ``request.artifact``, or the config and weights of ``request.model``, into
    the folder ``request.output`` under a name that it chooses. Before any work it refuses a name that
    exists in ``request.destination``, unless ``request.force`` is set.

    Returns:
        ``request.made(...)``.

    Raises:
        ShapeError: the network cannot take ``request.shape``.
        ArtifactError: the file could not be written, or the input is damaged.
        MissingDependencyError: a library is not installed.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def build_engine(request: BuildEngineRequest[Any]) -> Artifact:
    """Compile an artifact (``request.artifact``) or a model (``request.model``) for one device.

    Exactly one of the two is set, as the builder's ``takes`` says. The metadata of the output is that
    of the input, completed with the device, library versions and precision. The input is not modified.

    Returns:
        ``request.made(meta)``: the engine at ``request.output``.

    Raises:
        DeviceError: ``request.device`` is not there.
        ArtifactError: the input is damaged, or the build failed (the builder's reason is quoted).
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def infer(request: InferRequest[Any]) -> Engine:
    """Open ``request.artifact`` (or wrap ``request.model``, or reach ``request.url``) and return an engine.

    Called once for a run; the runtime then calls ``engine.run`` with float32 ``(N, 3, H, W)``
    batches (images, where the spec says so) within ``engine.spec`` and ``engine.close`` at the end. The
    metadata comes from the artifact or server; where it has none, from the provider's own options.

    Returns:
        The engine, on exactly the device that was asked for.

    Raises:
        ArtifactError: the artifact is damaged or of another format.
        DeviceError: the device is not there. A backend never falls back to another device by itself.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def convert_weights(request: ConvertWeightsRequest[Any]) -> ConversionReport:
    """Read weights from ``request.checkpoint``; write them under other names or forms to ``request.output``.

    A converter that chooses the name itself writes beside ``request.output``, and says the path in its
    report.

    Returns:
        What was renamed, reshaped, merged, dropped and left over.

    Raises:
        CheckpointError: the file is unreadable, or not what this target converts.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def analyze(request: AnalyzeRequest[Any]) -> AnalyzeReport:
    """Report on ``request.subjects`` without changing them.

    A report that needs other hooks (a model, an engine, an export) calls them through ``request.session``.
    It writes only the files that its options name (those declared with ``output=True`` are staged paths);
    the core (:mod:`segplug.reports`) writes tables and pages from what it returns.

    Returns:
        Data (JSON types), tables and figures of the data, and notes on how to read them.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def load_model(request: LoadModelRequest[Any]) -> SegmentationModel:
    """Build the network of ``request.config`` and load ``request.checkpoint`` strictly.

    The source wraps its framework's network in the tensor contract of
    :class:`segplug.model.SegmentationModel` and fills :class:`segplug.model.ModelMeta`.

    Returns:
        The model on ``request.device``, in eval mode.

    Raises:
        ModelError: the config cannot be read or built.
        CheckpointError: the checkpoint is unreadable, unsafe, or of another model.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def load_dataset(request: LoadDatasetRequest[Any]) -> Dataset:
    """Open the test data set that ``request.location`` describes.

    Returns:
        The data set; no image has been read yet.

    Raises:
        UsageError: what the user named is not there.
        DatasetError: other folders or lists are missing, or there is not one image.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def run(request: RunRequest[Any]) -> RunReport:
    """Run a model or an artifact on a data set, and give the results to ``request.sinks``.

    The executor opens the engine through ``request.session``, so that add-ons see that call, too. A wrapper
    around this hook sees a whole run: it can measure it, refuse it, and read its scores. The files that
    sinks write (label maps, pictures) are written as the run goes on, so that it can be resumed; they are
    not staged.

    Returns:
        How many images were run, their scores, and what was skipped.

    Raises:
        UsageError: the model and the data set do not fit.
        EngineError: the engine has stopped working.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def command(request: CommandRequest[Any]) -> int:
    """Run a plugin's own command, such as ``segplug serve``. Only add-ons implement this hook, as wrappers.

    ``request.call`` says which command; ``yield`` runs it, and returns when it has ended.

    Returns:
        The exit code: 0 done, 1 the work failed.
    """
    raise NotImplementedError
