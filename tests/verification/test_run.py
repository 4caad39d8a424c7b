"""An artifact that is right at one size only fails the comparison."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from segplug.comparison import Comparison
from segplug.engine import Axis, EngineSpec
from segplug.errors import ShapeError, UsageError
from segplug.model import ModelMeta
from segplug.preprocessing import Decoding, Normalize, Scale, usual_steps
from segplug.progress import QuietReporter
from segplug.testing import FunctionEngine
from segplug.verification.compare import compare
from segplug.verification.run import (
    compare_engines,
    comparison_inputs,
    run_both,
    tracing_input,
    verification_images,
)

STEPS = usual_steps((0, 0, 0), (50, 60, 70))
META = ModelMeta(name="m", classes=("a", "b", "c"), out_channels=3, preprocessing=STEPS)


class Pass:
    """Gives its input back as logits; says that it takes any size."""

    spec = EngineSpec(meta=META, output="logits", backend="test")

    def run(self, batch: np.ndarray) -> Any:
        return batch.copy()

    def close(self) -> None: ...


class Frozen(Pass):
    """Breaks at every size but one, as an export with frozen sizes does."""

    def run(self, batch: np.ndarray) -> Any:
        if batch.shape[2:] != (32, 48):
            raise ShapeError(f"a Reshape expects 32x48, not {batch.shape[2]}x{batch.shape[3]}")
        return batch.copy()


def comparison(candidate: Pass) -> Any:
    image = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    inputs = comparison_inputs([("image", image, META)], candidate)
    return compare(run_both(Pass(), candidate, inputs, QuietReporter()))


def test_all_axes_that_may_vary_are_varied() -> None:
    result = comparison(Pass())
    assert result.passed
    sizes = {name.split()[1] for name in result.inputs}
    assert sizes == {"1x32x48", "1x43x63", "1x32x37", "2x32x48"}


def test_frozen_sizes_are_a_failed_comparison_and_no_crash() -> None:
    result = comparison(Frozen())
    assert not result.passed
    assert len(result.failures) == 2
    assert "does not run image 1x43x63" in result.failures[0]


@pytest.mark.parametrize(
    ("sizes", "images", "count"),
    [
        ({}, 1, 4),  # the image, two other sizes, two at once
        ({}, 3, 6),
        ({"batch": Axis.fixed(1)}, 2, 4),
        ({"height": Axis.fixed(32), "width": Axis.fixed(48)}, 1, 2),
    ],
)
def test_the_inputs_are_counted_before_they_are_run(
    sizes: dict[str, Axis], images: int, count: int, tmp_path: Path
) -> None:
    class Counting(QuietReporter):
        counted: ClassVar[list[int | None]] = []
        steps = 0

        def progress(self, description: str, total: int | None) -> Any:
            self.counted.append(total)
            return nullcontext(self)

        def advance(self, steps: int = 1) -> None:
            self.steps += steps

    files = []
    for place in range(images):
        files.append(tmp_path / f"{place}.npy")
        np.save(files[-1], np.zeros((32, 48, 3), np.uint8))
    candidate, reporter = Pass(), Counting()
    candidate.spec = replace(Pass.spec, **sizes)
    compare_engines(Pass(), candidate, files, precision="fp32", thresholds=None, named="x", reporter=reporter)
    assert reporter.counted == [count]
    assert reporter.steps == count


def _at_stride(batch: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(batch[:, :, ::4, ::4] + batch[:, :, :1, :1])


def _upsampled(scores: np.ndarray, size: tuple[int, ...], align_corners: bool) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        torch.from_numpy(scores), size, mode="bilinear", align_corners=align_corners
    )


def _bands(meta: ModelMeta, function: Any, output: str = "logits") -> FunctionEngine:
    return FunctionEngine(EngineSpec(meta, output, backend="test"), function)


def _compared(meta: ModelMeta, candidate: FunctionEngine, network: Any = _at_stride) -> Comparison:
    shown = verification_images((), meta, (45, 61))
    inputs = comparison_inputs(shown, candidate)
    pairs = run_both(_bands(meta, network), candidate, inputs, QuietReporter())
    return compare(pairs, logits=meta.scores == "logits", threshold=meta.threshold)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("channels", [1, 5])
def test_scores_at_a_stride_are_compared_with_scores_and_with_labels(channels, align_corners) -> None:
    meta = ModelMeta(
        "m",
        in_channels=channels,
        out_channels=channels,
        output_stride=4,
        align_corners=align_corners,
        preprocessing=(Normalize((0.2,) * channels, (0.1,) * channels),),
    )
    result = _compared(meta, _bands(meta, _at_stride))
    assert result.passed
    assert result.logits_compared
    assert {name.split()[1] for name in result.inputs} == {"1x45x61", "1x59x79", "1x45x46", "2x45x61"}

    def labels(batch: np.ndarray) -> np.ndarray:
        scores = _upsampled(_at_stride(batch), batch.shape[2:], align_corners).numpy()
        return scores[:, 0] > 0 if channels == 1 else scores.argmax(1)

    result = _compared(meta, _bands(meta, labels, "labels"))
    assert result.passed
    assert not result.logits_compared
    assert result.pixels == 45 * 61 * 3 + 59 * 79 + 45 * 46

    def coarse(batch: np.ndarray) -> np.ndarray:
        height, width = batch.shape[2:]
        return np.kron(_at_stride(batch).argmax(1), np.ones((4, 4), int))[:, :height, :width]

    if channels > 1:
        assert not _compared(meta, _bands(meta, coarse, "labels")).passed


def test_scores_at_another_stride_than_the_metadata_says_are_refused() -> None:
    """The runtime would not run such a file."""
    meta = ModelMeta("m", in_channels=2, out_channels=2, output_stride=4)

    def upsampled(batch: np.ndarray) -> np.ndarray:
        return _upsampled(_at_stride(batch), batch.shape[2:], False).numpy()

    with pytest.raises(UsageError, match=r"the artifact gives \(2, 45, 61\), the model \(2, 12, 16\)"):
        _compared(meta, _bands(meta, upsampled))
    assert _compared(meta, _bands(meta.replace(output_stride=1), upsampled)).passed, "made for labels"


def test_probabilities_are_compared_as_they_are() -> None:
    steps = (Scale(255.0),)
    meta = ModelMeta("m", in_channels=1, out_channels=1, output_stride=4, preprocessing=steps)
    meta = meta.replace(scores="probabilities", threshold=0.3)

    def network(batch: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(batch[:, :, ::4, ::4])

    def labels_above(cut: float) -> FunctionEngine:
        def labels(batch: np.ndarray) -> np.ndarray:
            return _upsampled(network(batch), batch.shape[2:], False)[:, 0].numpy() > cut

        return _bands(meta, labels, "labels")

    assert _compared(meta, _bands(meta, network), network).passed
    assert _compared(meta, labels_above(0.3), network).passed
    assert not _compared(meta, labels_above(0.5), network).passed
    assert not _compared(meta, labels_above(0.0), network).passed


def test_both_sides_get_images_of_the_models_own_channels_and_range() -> None:
    meta = ModelMeta("m", in_channels=4, out_channels=4, preprocessing=(Normalize((900,) * 4, (200,) * 4),))
    seen = []

    def network(batch: np.ndarray) -> np.ndarray:
        seen.append(batch)
        return batch.copy()

    candidate = _bands(meta, network)
    inputs = comparison_inputs(verification_images((), meta, None), candidate)
    pairs = run_both(candidate, candidate, inputs, QuietReporter())
    assert compare(pairs).passed
    assert {batch.shape[1] for batch in seen} == {4}
    assert all(0.3 < batch.std() < 3 for batch in seen), "as the network expects it"


def test_a_users_image_of_bands_is_read_as_the_model_decodes(tmp_path) -> None:
    image = np.random.default_rng(0).integers(0, 9000, (21, 30, 5)).astype(np.uint16)
    np.save(tmp_path / "a.npy", image)
    meta = ModelMeta(
        "m",
        in_channels=5,
        decoding=Decoding.for_channels(5),
        preprocessing=(Normalize((4000,) * 5, (2000,) * 5),),
    )
    ((name, read, kept),) = verification_images([tmp_path / "a.npy"], meta, (8, 8))
    assert (name, kept) == ("a.npy", meta)
    assert read.dtype == np.uint16
    assert np.array_equal(read, image)
    traced = tracing_input(tmp_path / "a.npy", meta, None)
    assert traced.dtype == np.float32
    np.testing.assert_allclose(traced[0], (image.transpose(2, 0, 1) - 4000.0) / 2000, rtol=1e-5)
    assert tracing_input(tmp_path / "a.npy", meta, (16, 24)).shape == (1, 5, 16, 24)
