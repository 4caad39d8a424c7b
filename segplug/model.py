"""The metadata of a model, and a loaded model: the network with its metadata.

:class:`ModelMeta` is everything that is needed to run an artifact without the config and the framework
that made it. It is plain data: ``to_dict`` gives JSON types only, ``from_dict`` reads any version
of the schema that is not newer than this one, and checks each value. The annotations say what it checks.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from segplug.comparison import verification_in_words
from segplug.errors import ArtifactError
from segplug.legend import LegendEntry, legend_entries
from segplug.limits import MOST_CHANNELS, why_no_input
from segplug.model_parts import Inference, InputLimits, Provenance
from segplug.notebook import Facts, facts_html
from segplug.older_metadata import UPGRADES
from segplug.palette import label_colours
from segplug.preprocessing import (
    Decoding,
    Edges,
    Flip,
    Step,
    check_channels,
    find_steps,
    steps_from_data,
)
from segplug.strides import scores_size
from segplug.text import counted, encodable, encodable_data
from segplug.validation import AtLeastOne, Byte, Finite, NotNegative, checked, fault, refuse_deep

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from _typeshed import DataclassInstance

    from segplug.calls import Call

__all__ = [
    "META_ENTRY",
    "Inference",
    "InputLimits",
    "LoadArguments",
    "ModelMeta",
    "Provenance",
    "SegmentationModel",
]

ExtraT = TypeVar("ExtraT", bound="DataclassInstance")

SCHEMA_VERSION = 2

META_ENTRY = "segplug.meta"
"""The key of the metadata in files that have named entries (ONNX ``metadata_props``)."""

_WHAT = "the model metadata"


@dataclass(frozen=True)
class ModelMeta:
    """Everything needed to prepare a model's input and to read its output. Plain data, saved as JSON."""

    name: str
    """A short name for people: the config's stem, or the artifact's."""
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[Byte, Byte, Byte], ...] = ()
    """One RGB colour (0 to 255) for each class."""
    in_channels: AtLeastOne = 3
    """Channels of the images, before and after all steps."""
    decoding: Decoding = Decoding()
    """How files become arrays. A data set may have a loader of its own instead."""
    preprocessing: tuple[Step, ...] = ()
    """What is done to an image, in this order, before it becomes float32 ``(in_channels, H, W)``."""
    tta: tuple[tuple[Step, ...], ...] = ()
    """Test-time augmentation: the steps of each view of an image, in place of ``preprocessing``. The
    probabilities of all views are averaged. Empty: none. A view that counts twice is there twice."""
    tta_by_default: bool = True
    """Whether the views run unless a user says otherwise; else they run only where a user asks for them."""
    tta_activates: bool = False
    """Whether ``activation`` is applied to the scores of each view even if they are ``probabilities``, as
    mmsegmentation 1.x does to those of heads of queries."""
    approximations: tuple[str, ...] = ()
    """What the source's framework does differently, one line each; only because the user asked for it."""
    input_size: Edges | None = None
    """Nominal network input (height, width): a static artifact's size, else the test scale."""
    inference: Inference = Inference()
    input_limits: InputLimits | None = None
    """The sizes that the network takes, found when a file with free sizes was made; ``None``: not known."""
    out_channels: NotNegative = 0
    """Channels of the scores: the number of classes, or 1 for a head that tells foreground from
    background."""
    output_stride: AtLeastOne = 1
    """The scores have the input's height and width divided by this, rounded up. Labels have the input's."""
    output_size: Edges | None = None
    """(height, width) of the scores, whatever the input's size is; ``output_stride`` is 1 then. ``None``:
    they follow the input."""
    scores: Literal["logits", "probabilities"] = "logits"
    """What the network gives: ``logits``, to which ``activation`` is still to be applied, or
    ``probabilities``: not negative, larger is surer, in the scale of probabilities, though their sum need
    not be 1."""
    activation: Literal["softmax", "sigmoid"] = "softmax"
    """``softmax``: each pixel has one class. ``sigmoid``: each channel is decided alone, so that with several
    channels a pixel may have several classes or none (:attr:`multilabel`)."""
    threshold: Finite | None = None
    """The class is where its probability is above it; only with ``out_channels == 1`` or several classes at
    one pixel (:attr:`multilabel`). ``None``: 0.5."""
    align_corners: bool = False
    """How scores are resized (bilinear) to the image's own size."""
    output_antialias: bool = False
    """Whether that resize is antialiased where the scores shrink, as torchvision's is; not with
    ``align_corners``."""
    label_resize: Literal["nearest_exact", "nearest", "opencv"] = "nearest_exact"
    """How labels that the network itself gives are resized to the image's own size: ``nearest_exact`` between
    the centres of pixels, as scores are; from their upper left corners as PyTorch's ``nearest``, or as
    ``opencv``, which rounds otherwise where two pixels are equally near."""
    reduce_zero_label: bool = False
    """Whether the masks of the training ignored label 0 and lowered all other labels by 1."""
    provenance: Provenance = Provenance()
    versions: Mapping[str, str] = field(default_factory=dict)
    """The versions of the distributions that made the model or artifact, by their names."""
    verification: Mapping[str, Any] | None = None
    """The comparison with what it was made from (``Comparison.to_dict``) and its ``date``; ``None``: never
    compared."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """JSON data that only the plugin of a format uses, under the plugin's name."""
    schema_version: AtLeastOne = SCHEMA_VERSION

    def __post_init__(self) -> None:
        # It may be the name of a file; formats hold it as UTF-8.
        object.__setattr__(self, "name", encodable(self.name))

    def scores_size(self, size: Edges) -> Edges:
        """The (height, width) of the scores for an input of ``size``."""
        return self.output_size or scores_size(size, self.output_stride)

    @property
    def multilabel(self) -> bool:
        """Whether a pixel may have several classes, or none: each channel is decided alone.

        A label map is a bit mask then: bit ``c`` (the value ``1 << c``) is set where class ``c`` is. It is
        uint8 for at most 7 classes, uint16 for at most 15; more have no label map.
        """
        return self.activation == "sigmoid" and self.out_channels > 1

    @property
    def num_classes(self) -> int:
        """Number of classes: of their names, else of the labels (2 for a head of one channel)."""
        return len(self.classes) or (self.out_channels if self.multilabel else self.num_labels)

    @property
    def num_labels(self) -> int:
        """Number of labels that a prediction can hold, from 0: one for each channel, or 2 for one channel;
        for :attr:`multilabel` one for each set of classes.

        A model of one class still gives two labels: 1 where the class is, 0 elsewhere. 0: not known.
        """
        if self.multilabel:
            return 1 << self.out_channels
        return 2 if self.out_channels == 1 else self.out_channels or len(self.classes)

    @property
    def default_tta(self) -> tuple[tuple[Step, ...], ...]:
        """The views that run where a user says nothing; empty: the steps of ``preprocessing`` alone."""
        return self.tta if self.tta_by_default else ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """A name for each label: the classes, ``background`` first for a model of one class. For
        :attr:`multilabel` a name for each bit, from 0: the classes.
        """
        if len(self.classes) == 1 and self.num_labels == 2:
            return ("background", *self.classes)
        return self.classes

    def __repr__(self) -> str:
        state = "verified" if (self.verification or {}).get("passed") else "not verified"
        return (
            f"<ModelMeta {self.name}: {counted(self.num_classes, 'class', 'classes')}, "
            f"images of {counted(self.in_channels, 'channel')}, {self.inference.mode}, {state}>"
        )

    def _repr_html_(self) -> str:
        return facts_html(f"Model {self.name}", self.facts(), self.legend())

    def legend(self) -> tuple[LegendEntry, ...]:
        """The name and the colour of each label; empty: the classes have no names."""
        colours = label_colours([self.palette], self.num_classes, self.classes, multilabel=self.multilabel)
        return legend_entries(self.label_names, colours) if self.label_names else ()

    def facts(self) -> Facts:
        """What the metadata says, in words; without the classes, which :meth:`legend` has."""
        steps = [step.in_words() for step in self.preprocessing]
        views = counted(len(self.tta), "view")
        asked = "" if self.tta_by_default else " where it is asked for (--tta)"
        versions = [f"{name} {version}" for name, version in sorted(self.versions.items())]
        found = {
            "images": [f"{counted(self.in_channels, 'channel')}. {self.decoding.in_words()}"],
            "preprocessing": [f"{place}. {step}" for place, step in enumerate(steps, start=1)] or ["none"],
            "input size": []
            if self.input_size is None
            else ["{}x{} (height x width)".format(*self.input_size)],
            "sizes taken": [] if self.input_limits is None else [str(self.input_limits)],
            "inference": [self.inference.in_words()],
            "test-time augmentation": [f"the probabilities of {views} are averaged{asked}"]
            if self.tta
            else [],
            "scores": [self._scores_in_words()],
            "ignored label": ["0 of the masks; all others are one less"] if self.reduce_zero_label else [],
            "verified": verification_in_words(self.verification),
            "approximate": list(self.approximations),
            "made from": [self.provenance.in_words()] if self.provenance.in_words() else [],
            "made with": [", ".join(versions)] if versions else [],
        }
        return tuple((what, tuple(lines)) for what, lines in found.items() if lines)

    def _scores_in_words(self) -> str:
        channels = counted(self.out_channels, "channel")
        limit = 0.5 if self.threshold is None else self.threshold
        if self.out_channels == 1:
            return f"{self.scores}, {channels}: foreground where the probability is above {limit:g}"
        size = "" if self.output_stride == 1 else f", at 1/{self.output_stride} of the input's size"
        if self.output_size is not None:
            size = ", {}x{} (height x width) whatever the input's size".format(*self.output_size)
        if self.output_antialias:
            size += ", resized to the image with antialiasing"
        last = f", {self.activation} still to be applied" if self.scores == "logits" else ""
        if self.multilabel:
            last += f"; a pixel has each class whose probability is above {limit:g}: several, or none"
        return f"{self.scores}, {channels}{size}{last}"

    def extra_as(self, key: str, kind: type[ExtraT], *, file: Path) -> ExtraT:
        """``extra[key]`` as a dataclass whose fields all have defaults; the defaults if it is not there.

        Args:
            key: The plugin's own name, or its format's.
            kind: The dataclass; a key that it does not have is ignored.
            file: Where the metadata is from, for messages.

        Raises:
            ArtifactError: it is no object, or a value in it has another type than its field.
        """
        data = self.extra.get(key, {})
        if not isinstance(data, Mapping):
            raise fault(f"{file}: {_WHAT}", f"extra.{key}", "an object is expected")
        return checked(kind, data, f"{file}: {_WHAT} in extra.{key}")

    def replace(self, **changes: Any) -> ModelMeta:
        """A copy with the given fields changed."""
        return dataclasses.replace(self, **changes)

    def public(self) -> ModelMeta:
        """A copy that can be published: file names without their folders, and no ``extra``."""
        files = {
            field: re.split(r"[\\/]", path.partition("?")[0])[-1]
            for field in ("config", "checkpoint")
            if (path := getattr(self.provenance, field)) is not None
        }
        return self.replace(provenance=dataclasses.replace(self.provenance, **files), extra={})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, every field present."""
        data = dataclasses.asdict(self)
        data["preprocessing"] = [step.to_dict() for step in self.preprocessing]
        data["tta"] = [[step.to_dict() for step in view] for view in self.tta]
        plain: dict[str, Any] = encodable_data(json.loads(json.dumps(data)))
        return plain

    def to_json(self) -> str:
        """One JSON object, keys sorted."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelMeta:
        """The inverse of :meth:`to_dict`. The result has the schema of this segplug.

        Raises:
            ArtifactError: the schema is newer than this segplug's, or a value is wrong; the message says
                which.
        """
        version = checked(_Versioned, data, _WHAT).schema_version
        if version > SCHEMA_VERSION:
            raise ArtifactError(
                f"{_WHAT} has schema {version}, this segplug reads up to {SCHEMA_VERSION}",
                hint="upgrade segplug",
            )
        current = dict(data)
        for older in range(version, SCHEMA_VERSION):
            current = UPGRADES[older](current)
        _refuse_unknown(current)
        meta = checked(cls, _with_steps(current) | {"schema_version": SCHEMA_VERSION}, _WHAT)
        for place, reason in _contradictions(meta):
            raise fault(_WHAT, place, reason)
        return meta

    @classmethod
    def from_json(cls, text: str, *, file: str | Path | None = None) -> ModelMeta:
        """The inverse of :meth:`to_json`.

        Args:
            text: One JSON object.
            file: Where the text is from, for messages.

        Raises:
            ArtifactError: the text is no JSON, or :meth:`from_dict` refuses it.
        """
        try:
            try:
                data = json.loads(text)
                refuse_deep(data, _WHAT)
            except (ValueError, RecursionError) as error:
                raise ArtifactError(f"{_WHAT} is no JSON: {error}") from error
            return cls.from_dict(data)
        except ArtifactError as error:
            if file is None:
                raise
            raise ArtifactError(f"{file}: {error.message}", hint=error.hint) from error


def _refuse_unknown(data: Mapping[str, Any]) -> None:
    """Refuse a key that this schema does not have: a misspelt ``std`` would change results in silence.

    A field that is added to :class:`ModelMeta` raises the schema's version.
    """
    known = [field.name for field in dataclasses.fields(ModelMeta)]
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f"; did you mean '{near[0]}'?" if near else ""
            raise ArtifactError(f"{_WHAT} has an entry that it cannot have: '{key}'{guess}")


def _with_steps(data: dict[str, Any]) -> dict[str, Any]:
    """The data with its steps read."""
    read = dict(data)
    if "preprocessing" in data:
        read["preprocessing"] = steps_from_data(data["preprocessing"], "preprocessing", _WHAT)
    if "tta" in data:
        if not isinstance(data["tta"], (list, tuple)):
            raise fault(_WHAT, "tta", "a list of views is expected")
        read["tta"] = tuple(
            steps_from_data(view, f"tta[{number}]", _WHAT) for number, view in enumerate(data["tta"])
        )
    return read


@dataclass(frozen=True)
class _Versioned:
    schema_version: AtLeastOne


def _contradictions(meta: ModelMeta) -> Iterator[tuple[str, str]]:
    """The places of values that do not go with other values, and why. Each value is right alone."""
    if meta.palette and meta.num_classes and len(meta.palette) != meta.num_classes:
        colours = counted(len(meta.palette), "colour")
        yield "palette", f"it has {colours} for {counted(meta.num_classes, 'class', 'classes')}"
    for place, steps in (("preprocessing", meta.preprocessing), *(("tta", view) for view in meta.tta)):
        reason = check_channels(steps, meta.in_channels)
        if reason is not None:
            yield place, reason
        if len(find_steps(steps, Flip)) > 1:
            yield place, "at most one flip is expected: the output is mirrored back once"
    if meta.multilabel and meta.reduce_zero_label:
        yield "reduce_zero_label", "the masks of several classes at one pixel have no label 0 to ignore"
    if meta.multilabel and len(meta.classes) not in (0, meta.out_channels):
        names = counted(len(meta.classes), "class", "classes")
        yield "classes", f"{names} for {meta.out_channels} channels, of which each is a class"
    for place, number in (
        ("in_channels", meta.in_channels),
        ("out_channels", meta.out_channels),
        ("classes", len(meta.classes)),
    ):
        if number > MOST_CHANNELS:
            yield place, f"at most {MOST_CHANNELS} are expected, not {number}"
    for place, size in (("input_size", meta.input_size), ("inference.crop_size", meta.inference.crop_size)):
        if size is not None and (reason := why_no_input(size, channels=meta.in_channels)):
            yield place, reason
    yield from meta.inference.contradictions()
    if meta.output_size is not None:
        if meta.output_stride != 1:
            yield (
                "output_stride",
                f"scores of one size have no stride: 1 is expected, not {meta.output_stride}",
            )
        if reason := why_no_input(meta.output_size, channels=max(meta.out_channels, 1)):
            yield "output_size", reason
    if meta.output_antialias and meta.align_corners:
        yield "output_antialias", "an antialiased resize does not align corners"
    limits = meta.input_limits or InputLimits()
    low, high = limits.minimum, limits.maximum or limits.minimum
    if high[0] < low[0] or high[1] < low[1]:
        yield "input_limits.maximum", f"{list(high)} is smaller than the minimum, {list(low)}"
    if meta.threshold is not None and meta.out_channels != 1 and not meta.multilabel:
        yield "threshold", f"with softmax it is for out_channels 1, not {meta.out_channels}"
    if meta.verification is not None and not isinstance(meta.verification.get("passed"), bool):
        yield "verification.passed", "true or false is expected"


@dataclass(frozen=True)
class LoadArguments:
    """The arguments of :meth:`segplug.Segplug.load_model` that load the same model again."""

    config: str
    checkpoint: str | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    trust_checkpoint: bool = False
    trust_artifact: bool = False
    allow_nonfinite: bool = False
    approximate: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """The source's own options, as they were given, and those of :attr:`SegmentationModel.found_options`."""


@dataclass(frozen=True)
class SegmentationModel:
    """A loaded network and its metadata.

    ``module`` maps float32 ``(N, meta.in_channels, H, W)``, preprocessed, to float32 scores ``(N, C, h, w)``
    of the size ``meta.scores_size((H, W))``. The scores are ``meta.scores``: logits before softmax or
    sigmoid, or probabilities. It is in eval mode and computes exactly what the source framework computes: it
    is the reference of every comparison.
    """

    module: torch.nn.Module
    meta: ModelMeta
    exportable: Callable[[], torch.nn.Module]
    """Builds the exportable form of ``module``: same contract and parameters (shared, not copied), but code
    that exporters cannot trace is replaced by equal arithmetic that they can."""
    device: str = "cpu"
    input_limits: Callable[[], InputLimits | None] = lambda: None
    """Finds the sizes that ``module`` takes by running it, which takes seconds. ``None``: not known."""
    found_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of its source that were not given, and whose value follows from what is installed: with them it
    is the same model in another environment, such as a server's."""
    load_arguments: LoadArguments | None = None
    """The arguments that load this model again; a packing exporter needs them. ``None``: made in memory."""
    files: tuple[Path, ...] = ()
    """What it was read from besides its config and checkpoint, such as its code: no output replaces them."""
    call: Call | None = None
    """The call that loaded it."""

    def __repr__(self) -> str:
        return f"<SegmentationModel {self.meta.name}: {self._summary()}>"

    def _repr_html_(self) -> str:
        facts = (("network", (self._summary(),)), *self.meta.facts())
        return facts_html(f"Model {self.meta.name}", facts, self.meta.legend())

    def _summary(self) -> str:
        # A repr never fails, whatever a source has put here.
        values = sum(parameter.numel() for parameter in getattr(self.module, "parameters", tuple)())
        classes = counted(self.meta.num_classes, "class", "classes")
        return f"{type(self.module).__name__}, {classes}, {values:,} parameters, on {self.device}"
