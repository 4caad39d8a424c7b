"""Run an artifact and its model on the same inputs; :mod:`segplug.verification.compare` compares them.

One size is not enough: a dynamic artifact can be right at the size it was exported with and wrong at every
other, and only a run at other sizes shows it. So every free axis is varied: a larger input, one that is not
square, and a batch of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.comparison import Comparison, Thresholds
from segplug.dates import now
from segplug.engine import REFERENCE_BACKEND, Axis, EngineSpec
from segplug.errors import ShapeError, UsageError
from segplug.model import SegmentationModel
from segplug.preprocessing import Crop, Resize
from segplug.registry.formats import backend_of_artifact, backend_of_input, verification_backend
from segplug.requests import BuildEngineRequest, ExportRequest
from segplug.results import Artifact
from segplug.session import PathLike, Session, Subject, Target
from segplug.text import counted
from segplug.verification.compare import Pair, compare
from segplug.verification.stability import perturbed_runs

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Engine
    from segplug.installed import Provider
    from segplug.model import ModelMeta
    from segplug.progress import Progress, Reporter

    Inputs = Iterator[tuple[str, npt.NDArray[np.float32]]]

__all__ = [
    "both_engines",
    "compare_engines",
    "comparison_inputs",
    "run_both",
    "tracing_input",
    "verification_images",
    "verified",
]


def verification_images(
    files: Sequence[str | Path], meta: ModelMeta, size: tuple[int, int] | None
) -> Iterator[tuple[str, npt.NDArray[Any], ModelMeta]]:
    """The images to compare on: the user's, or the sample image that comes with segplug.

    Args:
        files: The user's images.
        meta: The model's metadata.
        size: The network's (height, width); the sample image has this size.

    Yields:
        A name, an image ``(H, W, C)`` as the model's decoder gives it, and metadata that says how to
        preprocess it.
    """
    if files:
        for file in files:
            yield Path(file).name, _read(Path(file), meta), meta
        return
    from segplug.verification.sample import sample_for

    height, width = size or meta.input_size or (512, 512)
    kept = tuple(step for step in meta.preprocessing if not isinstance(step, (Resize, Crop)))
    yield "sample", sample_for(meta, height, width), meta.replace(preprocessing=kept)


def _read(file: Path, meta: ModelMeta) -> npt.NDArray[Any]:
    from segplug.runtime.image_reader import split_masked
    from segplug.runtime.reading import read_image

    return split_masked(read_image(file, meta.decoding, channels=meta.in_channels)).image


def tracing_input(file: Path, meta: ModelMeta, shape: tuple[int, int] | None) -> npt.NDArray[np.float32]:
    """A user's image, preprocessed to the network's size, as float32 ``(1, C, H, W)``."""
    from segplug.runtime.preprocess import Preprocessor

    size = shape or meta.input_size
    spec = None
    if size is not None:
        height, width = Axis.fixed(size[0]), Axis.fixed(size[1])
        spec = EngineSpec(meta=meta, output="logits", height=height, width=width)
    return Preprocessor(meta, spec)(_read(file, meta), file.name).array[None]


def comparison_inputs(images: Iterable[tuple[str, npt.NDArray[Any], ModelMeta]], candidate: Engine) -> Inputs:
    """Preprocessed batches to compare on, of sizes that the candidate takes.

    Args:
        images: As :func:`verification_images` gives them.
        candidate: The opened artifact.

    Yields:
        A name for people and a float32 batch ``(N, C, H, W)``.
    """
    for position, (name, image, meta) in enumerate(images):
        whole = _prepared(name, image, candidate, meta)
        base = _fitted(whole, candidate)
        yield _named(name, _filled(base, candidate))
        # Other sizes test the artifact, not the image: one image is enough.
        if position == 0:
            yield from _other_sizes(name, whole, base, candidate)


def _prepared(
    name: str, image: npt.NDArray[Any], candidate: Engine, meta: ModelMeta
) -> npt.NDArray[np.float32]:
    """The preprocessed image: the network's input, or the array that a window is cut from."""
    from segplug.runtime.preprocess import Preprocessor

    whole = meta.inference.mode == "whole"
    return Preprocessor(meta, candidate.spec if whole else None)(image, name).array


def _fitted(array: npt.NDArray[np.float32], candidate: Engine) -> npt.NDArray[np.float32]:
    """Cut or mirror the array to the window in slide mode, else to a size that the engine takes."""
    spec = candidate.spec
    crop = spec.meta.inference.crop_size if spec.meta.inference.mode == "slide" else None
    height, width = crop or array.shape[1:]
    return _resized(array, _near(spec.height, height), _near(spec.width, width))


def _other_sizes(
    name: str, whole: npt.NDArray[np.float32], base: npt.NDArray[np.float32], candidate: Engine
) -> Inputs:
    for size in _sizes_beside((base.shape[1], base.shape[2]), candidate.spec):
        yield _named(name, _filled(_resized(whole, *size), candidate))
    if _takes_two(candidate.spec):
        yield _named(name, np.ascontiguousarray(np.stack([base, base[:, :, ::-1]])))


def _sizes_beside(size: tuple[int, int], spec: EngineSpec) -> list[tuple[int, int]]:
    height, width = size
    sizes = [
        (_near(spec.height, height + height // 4 + 3), _near(spec.width, width + width // 4 + 3)),
        (_near(spec.height, height), _near(spec.width, (3 * width) // 4 + 1)),
    ]
    return [other for other in dict.fromkeys(sizes) if other != size]


def _takes_two(spec: EngineSpec) -> bool:
    return spec.batch.accepts(2) and not spec.batch.is_fixed


def _near(axis: Axis, wanted: int) -> int:
    """The size nearest to ``wanted`` that the axis takes."""
    size = max(wanted, axis.minimum)
    if axis.maximum is not None:
        size = min(size, axis.maximum)
    rounded = size - size % axis.multiple_of
    return rounded if axis.accepts(rounded) else size + (-size) % axis.multiple_of


def _resized(array: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Keep the top left part, or enlarge by mirroring: pixels keep their values at any size."""
    cut = array[:, :height, :width]
    while cut.shape[1] < height or cut.shape[2] < width:
        grow = [
            (0, 0),
            *(
                (0, min(want - have, have - 1 or 1))
                for want, have in zip((height, width), cut.shape[1:], strict=True)
            ),
        ]
        cut = np.pad(cut, grow, mode="symmetric")
    return np.ascontiguousarray(cut)


def _filled(array: npt.NDArray[np.float32], candidate: Engine) -> npt.NDArray[np.float32]:
    """One image as a batch; repeated for an engine with a fixed batch size."""
    return np.ascontiguousarray(np.repeat(array[None], candidate.spec.batch.minimum, axis=0))


def _named(name: str, batch: npt.NDArray[np.float32]) -> tuple[str, npt.NDArray[np.float32]]:
    count, _, height, width = batch.shape
    return f"{name} {count}x{height}x{width}", batch


def run_both(reference: Engine, candidate: Engine, inputs: Inputs, reporter: Reporter) -> Iterator[Pair]:
    """Run both engines on every input.

    An input of a size that the reference does not take is skipped with a note.
    """
    for name, batch in inputs:
        try:
            expected = reference.run(batch)
        except ShapeError as error:
            reporter.note(f"not compared at {name}, which the network does not take: {error}")
            continue
        try:
            actual = candidate.run(batch)
        except ShapeError as error:
            # The network takes this size and the artifact does not: the export failed, not the run.
            yield Pair(name, expected[0].astype(np.float32), np.empty(0), refusal=str(error))
            continue
        for position in range(len(batch)):
            label = name if len(batch) == 1 else f"{name} [{position}]"
            found = np.array(actual[position])
            yield Pair(
                label,
                _comparable(expected[position], found, reference, candidate),
                found,
                perturbed=partial(_perturbed, reference, candidate, batch[position : position + 1], found),
            )


def _perturbed(
    reference: Engine, candidate: Engine, image: npt.NDArray[np.float32], found: npt.NDArray[Any]
) -> Iterator[npt.NDArray[np.float32]]:
    return perturbed_runs(
        lambda perturbed: _comparable(reference.run(perturbed)[0], found, reference, candidate), image
    )


def _comparable(
    scores: npt.NDArray[Any], found: npt.NDArray[Any], reference: Engine, candidate: Engine
) -> npt.NDArray[np.float32]:
    """The reference's scores ``(C, h, w)``, at the size of what the artifact gives.

    An artifact of labels resizes scores itself, and gives its labels, or the scores of which it makes them,
    at the input's size. If the scores of both sides are to have the same size, nothing is resized: another
    one is then a fault.
    """
    from segplug.runtime.planes import ResizedPlanes

    scores = scores.astype(np.float32)
    size = (found.shape[-2], found.shape[-1])
    own, other = reference.spec.meta, candidate.spec.meta
    same_size = (own.output_stride, own.output_size) == (other.output_stride, other.output_size)
    if found.ndim == 3 and same_size:
        return scores
    return ResizedPlanes(scores, size, own).together()


@contextmanager
def both_engines(
    session: Session,
    reference: Subject,
    artifact: Artifact | PathLike,
    reference_backend: Target | None,
    backend: Target,
    *,
    device: str | None,
    trust_artifact: bool = False,
    trust_reference: bool = False,
    **options: Any,
) -> Iterator[tuple[Engine, Engine]]:
    """Open the reference and the artifact to compare with it; see :meth:`segplug.Segplug.verify`."""
    if isinstance(reference, SegmentationModel):
        reference_backend = reference_backend or REFERENCE_BACKEND
    else:
        reference_backend = reference_backend or backend_of_artifact(session.registry, reference)
    with (
        session.open(
            reference, backend=reference_backend, want_logits=True, trust_artifact=trust_reference
        ) as expected,
        session.open(
            artifact,
            backend=backend,
            device=device,
            want_logits=True,
            trust_artifact=trust_artifact,
            **options,
        ) as candidate,
    ):
        yield expected, candidate


def compare_engines(
    reference: Engine,
    candidate: Engine,
    images: Sequence[str | Path],
    *,
    precision: str,
    thresholds: Thresholds | None,
    named: str,
    reporter: Reporter,
) -> Comparison:
    """Run two engines on the same inputs and compare; see :meth:`segplug.Segplug.verify`.

    Args:
        reference: The engine to compare with; it gives logits, and its metadata says how to preprocess.
        candidate: The engine to check; its spec decides which input sizes are compared.
        images: The user's images; none: the sample image.
        precision: Chooses the thresholds.
        thresholds: Thresholds to use instead.
        named: The name of the reference in messages.
        reporter: Gets the notes.

    Raises:
        UsageError: the output of one of them cannot be compared.
    """
    if candidate.spec.input != "tensor":
        raise UsageError(
            f"{candidate.spec.backend} gives no logits to compare", hint="segplug analyze serving"
        )
    if reference.spec.output != "logits":
        raise UsageError(
            f"the reference in {named} gives labels, but logits are needed to compare",
            hint="compare with the model",
        )
    meta = reference.spec.meta
    shown = verification_images(images, meta, candidate.spec.meta.input_size)
    inputs = comparison_inputs(shown, candidate)
    first = next(inputs)
    with reporter.progress("checking inputs", _count(images, first[1], candidate.spec)) as progress:
        comparison = compare(
            run_both(reference, candidate, _counted(chain([first], inputs), progress), reporter),
            precision=precision,
            thresholds=thresholds,
            threshold=meta.threshold,
            logits=meta.scores == "logits",
            multilabel=meta.multilabel,
            reference=named,
        )
    return replace(comparison, not_compared=_not_compared(candidate.spec))


def _count(images: Sequence[str | Path], first: npt.NDArray[np.float32], spec: EngineSpec) -> int:
    """How many inputs :func:`comparison_inputs` gives, of which ``first`` is the first."""
    others = len(_sizes_beside((first.shape[2], first.shape[3]), spec)) + _takes_two(spec)
    return max(len(images), 1) + others


def _counted(inputs: Inputs, progress: Progress) -> Inputs:
    """The same; each is done when the next is asked for."""
    for item in inputs:
        yield item
        progress.advance()


def _not_compared(spec: EngineSpec) -> tuple[str, ...]:
    """What the inputs of a comparison do not show: both sides got the same, already preprocessed."""
    from segplug.runtime.fixed_size import fixed_size_warning

    lines = ["preprocessing, and scores on a data set: both sides got the same inputs"]
    if spec.height.is_fixed and spec.width.is_fixed:
        size = spec.height.minimum, spec.width.minimum
        if fixed_size_warning(spec.meta, size) is not None:
            lines.append(f"what stretching images to {size[0]}x{size[1]} (height x width) changes")
    if spec.meta.default_tta:
        lines.append(f"the model's test-time augmentation ({counted(len(spec.meta.default_tta), 'view')})")
    return tuple(lines)


def verified(
    session: Session,
    maker: Provider,
    artifact: Artifact,
    request: ExportRequest[Any] | BuildEngineRequest[Any],
    images: Sequence[str | Path],
    thresholds: Thresholds | None,
) -> Artifact:
    """Compare what a maker made with what it was made from, and write the outcome into its metadata.

    Args:
        session: The session of the request's call.
        maker: The exporter or engine builder.
        artifact: What it made.
        request: Its request.
        images: The user's images; none: the sample image.
        thresholds: Thresholds set by hand; ``None``: those of the precision.

    Returns:
        The artifact with its new metadata, which lie on disk.
    """
    where: dict[str, Any] = {}
    if isinstance(request, BuildEngineRequest):
        where["device"] = request.device
        where["trust_reference"] = request.trust_artifact
        if request.model is None:
            where["reference_backend"] = backend_of_input(session.registry, maker.entry, request.file)
    comparison = session.verify(
        artifact,
        request.subject,
        images=images,
        backend=verification_backend(session.registry, maker.entry),
        precision=request.precision,
        thresholds=thresholds,
        trust_artifact=True,  # this call has made it
        **where,
    )
    found = {"date": now().isoformat(), **comparison.to_dict()}
    meta = artifact.meta.replace(verification=found)
    maker.method("write_meta")(artifact.path, meta)
    return replace(artifact, meta=meta)
