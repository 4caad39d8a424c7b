"""Test-time augmentation: the probabilities of several views of an image are averaged, as mmseg does."""

from __future__ import annotations

import time
import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from segplug.engine import Axis, EngineSpec
from segplug.errors import ShapeError, UsageError
from segplug.model import Inference, ModelMeta
from segplug.preprocessing import Decoding, Flip, Pad, Resize, Step, usual_steps
from segplug.progress import QuietReporter
from segplug.runtime.pipeline import run
from segplug.runtime.postprocess import NetworkOutput, Postprocessor, average_views
from segplug.runtime.runner import Runner
from segplug.runtime.segment import ModelRunner, Segmenter
from segplug.runtime.sizes import Geometry
from segplug.testing import ArrayDataset, FunctionEngine

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def _network(batch: np.ndarray, classes: int = 3) -> np.ndarray:
    """Logits that depend on the place, so that a mirrored view is not the mirrored answer."""
    _, _, height, width = batch.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-2, 1, width, dtype=np.float32)[None]
    planes = [batch[:, 0] * y + x, batch[:, 1] * x, batch[:, 2] - y * x]
    return np.stack(planes[:classes], axis=1)


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return 2 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _by_torch(views: list[tuple[NetworkOutput, int]], align_corners: bool) -> np.ndarray:
    """Each view as in mmseg's ``inference``: cut, resized, activated, mirrored back; then the mean."""
    total, number = torch.zeros(()), 0
    for output, weight in views:
        height, width = output.geometry.valid
        scores = torch.from_numpy(output.values)[None, :, :height, :width]
        scores = torch.nn.functional.interpolate(
            scores, output.geometry.original, mode="bilinear", align_corners=align_corners
        )
        if output.logits:
            scores = scores.sigmoid() if scores.shape[1] == 1 else scores.softmax(1)
        if output.geometry.flip is not None:
            scores = scores.flip(dims=(3 if output.geometry.flip == "horizontal" else 2,))
        total, number = total + weight * scores[0], number + weight
    return (total / number).numpy()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("classes", [1, 4])
def test_the_mean_of_the_views_is_torchs(classes: int, logits: bool, align_corners: bool) -> None:
    size = (45, 61)
    geometries = [
        Geometry.whole(size),
        Geometry(size, size, size, "horizontal"),
        Geometry(size, (30, 40), (32, 64), "vertical"),
        Geometry(size, (90, 122), (96, 128)),
    ]
    views = [
        (NetworkOutput(_noise(classes, *geometry.network, seed=seed), geometry, logits), weight)
        for seed, (geometry, weight) in enumerate(zip(geometries, (1, 3, 1, 2), strict=True))
    ]
    kept = [view.values.copy() for view, _ in views]
    meta = ModelMeta("m", out_channels=classes, align_corners=align_corners)
    mean = average_views(views, meta)
    assert (mean.geometry, mean.logits, mean.at_input_size) == (Geometry.whole(size), False, True)
    assert mean.values.dtype == np.float32
    np.testing.assert_allclose(mean.values, _by_torch(views, align_corners), atol=1e-5)
    assert all(np.array_equal(view.values, values) for (view, _), values in zip(views, kept, strict=True))


def test_a_view_that_is_there_twice_counts_twice() -> None:
    size = (20, 30)
    one, other = (NetworkOutput(_noise(3, *size, seed=seed), Geometry.whole(size)) for seed in (0, 1))
    meta = ModelMeta("m", out_channels=3)
    twice = average_views([(one, 2), (other, 1)], meta).values
    np.testing.assert_allclose(twice, average_views([(one, 1), (other, 1), (one, 1)], meta).values, atol=1e-6)
    assert not np.allclose(twice, average_views([(one, 1), (other, 1)], meta).values, atol=1e-2)


def test_huge_scores_do_not_overflow() -> None:
    scores = np.array([[[1e4, -1e4]], [[-1e4, 1e4]]], np.float32)
    output = NetworkOutput(scores, Geometry.whole((1, 2)))
    assert average_views([(output, 1)], ModelMeta("m", out_channels=2)).values.tolist() == [
        [[1, 0]],
        [[0, 1]],
    ]


def test_the_mean_takes_one_view_of_memory_besides_itself() -> None:
    size = (128, 128)
    geometries = [Geometry(size, size, size, flip) for flip in (None, "horizontal", "vertical")]
    views = [(NetworkOutput(_noise(40, *size), geometry), 1) for geometry in geometries]
    tracemalloc.start()
    try:
        mean = average_views(views, ModelMeta("m", out_channels=40))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * mean.values.nbytes


VIEW: tuple[Step, ...] = usual_steps(MEAN, STD)


def _meta(*views: tuple[Step, ...], classes: int = 3, **fields: Any) -> ModelMeta:
    fields = {"preprocessing": VIEW, "out_channels": classes, **fields}
    return ModelMeta("m", classes=tuple("abc"[:classes]) if classes > 1 else (), tta=views, **fields)


def _engine(meta: ModelMeta, **axes: Any) -> FunctionEngine:
    spec = EngineSpec(meta, axes.pop("output", "logits"), backend="test", **axes)
    return FunctionEngine(spec, lambda batch: _network(batch, meta.out_channels))


def _of_mmseg(image: np.ndarray, meta: ModelMeta, transform: dict[str, Any]) -> np.ndarray:
    """Labels by mmseg's own MultiScaleFlipAug and ``aug_test``, with the network above."""
    from mmseg.datasets.pipelines import Compose
    from mmseg.models.segmentors import EncoderDecoder

    steps = [
        {"type": "Resize", "keep_ratio": True},
        {"type": "RandomFlip"},
        {"type": "Normalize", "mean": list(MEAN), "std": list(STD), "to_rgb": True},
        {"type": "Pad", "size_divisor": 32},
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    pipeline = Compose([{"type": "MultiScaleFlipAug", "transforms": steps, **transform}])
    data = pipeline(
        {
            "img": image.copy(),
            "img_shape": image.shape,
            "pad_shape": image.shape,
            "ori_shape": image.shape,
            "filename": "a",
            "ori_filename": "a",
            "scale_factor": 1.0,
        }
    )
    classes = meta.out_channels
    model = SimpleNamespace(
        test_cfg=SimpleNamespace(
            mode=meta.inference.mode, crop_size=meta.inference.crop_size, stride=meta.inference.stride
        ),
        out_channels=classes,
        align_corners=meta.align_corners,
        decode_head=SimpleNamespace(threshold=meta.threshold),
        encode_decode=lambda batch, _: torch.from_numpy(_network(batch.numpy(), classes)),
    )
    for name in ("whole_inference", "slide_inference", "inference"):
        setattr(model, name, getattr(EncoderDecoder, name).__get__(model))
    images = [each[None] for each in data["img"]]
    return EncoderDecoder.aug_test(model, images, [[meta.data] for meta in data["img_metas"]])[0]


def _views(scales: list[tuple[int, int]], directions: list[str]) -> list[tuple[Step, ...]]:
    """What mmseg runs: the image as it is once for each direction, too."""
    views = []
    for scale in scales:
        for direction in [None] * max(len(directions), 1) + directions:
            flip = () if direction is None else (Flip(direction),)
            steps = usual_steps(MEAN, STD, pad=Pad(divisor=32))
            views.append((Resize(scale, "inside"), *flip, *steps))
    return views


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("inference", [Inference(), Inference("slide", (40, 40), (25, 30))])
@pytest.mark.parametrize("directions", [[], ["horizontal"], ["horizontal", "vertical"]])
def test_labels_are_those_of_mmsegs_aug_test(mmseg, photo, classes, inference, directions) -> None:
    image = photo(45, 61)
    scales = [(61, 45), (92, 68), (40, 40)]
    meta = _meta(*_views(scales, directions), classes=classes, inference=inference)
    if classes == 1:
        meta = meta.replace(activation="sigmoid", threshold=0.3)
    transform = {"img_scale": scales, "flip": bool(directions), "flip_direction": directions or "horizontal"}
    expected = _of_mmseg(image, meta, transform)
    labels = _labels(image, meta)
    assert labels.shape == (45, 61)
    assert len(np.unique(expected)) >= 2
    assert (labels != expected).mean() < 0.002
    plain = _labels(image, meta, tta=False)
    assert (plain != expected).mean() > 0.01, "the views make a difference here"


def _labels(image: np.ndarray, meta: ModelMeta, *, tta: bool | None = True, engine=None) -> np.ndarray:
    model = ModelRunner(Runner(engine or _engine(meta)), 1, QuietReporter(), tta=tta)
    (output,) = model.run([model.preprocess(image, "a")])
    return Postprocessor(meta)(output).labels


def test_repeated_views_run_once_and_count_as_often_as_they_are_there(photo) -> None:
    mirrored = (Flip(), *VIEW)
    meta = _meta(VIEW, mirrored, mirrored, VIEW, mirrored)
    engine = _engine(meta)
    model = ModelRunner(Runner(engine), 4, QuietReporter(), tta=True)
    (output,) = model.run([model.preprocess(photo(20, 30), "a")])
    assert len(engine.shapes) == 2
    assert model.views == 5
    assert model.group_size == 1
    parts = [model._outputs([view])[0] for view in model.preprocess(photo(20, 30), "a")]
    expected = _by_torch(list(zip(parts, (2, 3), strict=True)), align_corners=False)
    np.testing.assert_allclose(output.values, expected, atol=1e-5)


def test_views_of_a_network_with_a_stride_that_gives_probabilities(photo) -> None:
    meta = _meta(VIEW, (Flip(), *VIEW), output_stride=4, scores="probabilities", align_corners=True)

    def network(batch: np.ndarray) -> np.ndarray:
        return torch.from_numpy(_network(batch[:, :, ::4, ::4])).softmax(1).numpy()

    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), network)
    model = ModelRunner(Runner(engine), 1, QuietReporter(), tta=True)
    views = model.preprocess(photo(45, 61), "a")
    (output,) = model.run([views])
    parts = [NetworkOutput(network(view.array[None])[0], view.geometry, logits=False) for view in views]
    resized = [
        torch.nn.functional.interpolate(
            torch.from_numpy(part.values)[None], (45, 61), mode="bilinear", align_corners=True
        )[0].numpy()
        for part in parts
    ]
    np.testing.assert_allclose(output.values, (resized[0] + resized[1][:, :, ::-1]) / 2, atol=1e-5)
    assert not output.logits


def _images(photo, number: int = 3) -> list[np.ndarray]:
    return [photo(20 + seed, 30, seed=seed) for seed in range(number)]


class _Collect:
    """A sink that keeps everything."""

    needs_image = needs_mask = False
    key = "collect"

    def __init__(self, *, confidence: bool = False) -> None:
        self.needs_confidence = confidence
        self.results: list[Any] = []

    def open(self, run: Any) -> None: ...

    def consume(self, result: Any) -> dict[str, Any]:
        self.results.append(result)
        return {}

    def close(self, *, finished: bool) -> None: ...


def test_a_run_averages_the_views_and_says_so(photo) -> None:
    meta = _meta(VIEW, (Flip(), *VIEW), VIEW, approximations=("step 'CLAHE' is left out",))
    sink = _Collect(confidence=True)
    report = run(_engine(meta), ArrayDataset(_images(photo)), [sink])
    assert (report.views, report.views_left_out) == (3, 0)
    assert report.approximations == ("step 'CLAHE' is left out",)
    assert report.to_dict()["views"] == 3
    assert report.to_dict()["approximations"] == ["step 'CLAHE' is left out"]
    for image, result in zip(_images(photo), sink.results, strict=True):
        assert np.array_equal(result.labels, _labels(image, meta))
        model = ModelRunner(Runner(_engine(meta)), 1, QuietReporter(), tta=True)
        (mean,) = model.run([model.preprocess(image, "a")])
        np.testing.assert_allclose(result.confidence, mean.values.max(0), atol=1e-6)


@pytest.mark.parametrize(("views", "most"), [(3, 4), (0, 12)])
def test_few_images_wait_with_all_their_views(photo, monkeypatch, views: int, most: int) -> None:
    """Eight readers would keep the inputs of all views of nine images."""
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    read: list[int] = []
    at_first_run: list[int] = []

    class Counting(ArrayDataset):
        def read_image(self, index: int, decoding: Decoding) -> np.ndarray:
            read.append(index)
            return super().read_image(index, decoding)

    def network(batch: np.ndarray) -> np.ndarray:
        if not at_first_run:
            time.sleep(0.3)
            at_first_run.append(len(read))
        return _network(batch)

    meta = _meta(*([VIEW, (Flip(), *VIEW), VIEW][:views]))
    run(FunctionEngine(EngineSpec(meta, "logits"), network), Counting([photo(20, 30)] * 12), [])
    assert most - 4 < at_first_run[0] <= most
    assert len(read) == 12


def test_a_run_without_views_says_which_it_was(photo) -> None:
    meta = _meta(VIEW, (Flip(), *VIEW))
    sink = _Collect()
    report = run(_engine(meta), ArrayDataset(_images(photo)), [sink], tta=False)
    assert (report.views, report.views_left_out) == (0, 2)
    assert report.approximations == ()
    for image, result in zip(_images(photo), sink.results, strict=True):
        assert np.array_equal(result.labels, _labels(image, meta, tta=False))
    report = run(_engine(_meta()), ArrayDataset(_images(photo)), [_Collect()])
    assert (report.views, report.views_left_out) == (0, 0)


def test_scores_of_queries_are_activated_view_by_view(photo) -> None:
    """As mmseg's SegTTAModel does: softmax also over what is not logits."""
    meta = _meta(VIEW, (Flip(), *VIEW), scores="probabilities", tta_activates=True)

    def network(batch: np.ndarray) -> np.ndarray:
        return torch.from_numpy(_network(batch)).softmax(1).numpy()

    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), network)
    model = ModelRunner(Runner(engine), 1, QuietReporter(), tta=True)
    views = model.preprocess(photo(45, 61), "a")
    (output,) = model.run([views])
    parts = [torch.from_numpy(network(view.array[None])).softmax(1)[0].numpy() for view in views]
    np.testing.assert_allclose(output.values, (parts[0] + parts[1][:, :, ::-1]) / 2, atol=1e-5)


def test_views_that_are_no_default_run_where_they_are_asked_for(photo) -> None:
    meta = _meta(VIEW, (Flip(), *VIEW), tta_by_default=False)
    engine, images = _engine(meta), ArrayDataset(_images(photo))
    report = run(engine, images, [])
    assert (report.views, report.views_left_out, len(engine.shapes)) == (0, 0, len(images))
    sink = _Collect()
    report = run(_engine(meta), images, [sink], tta=True)
    assert (report.views, report.views_left_out) == (2, 0)
    for image, result in zip(_images(photo), sink.results, strict=True):
        assert np.array_equal(result.labels, _labels(image, meta.replace(tta_by_default=True), tta=None))
    assert Segmenter(_engine(meta), tta=None).views == 0
    assert Segmenter(_engine(meta), tta=True).views == 2


def test_views_that_are_not_there_are_refused(photo) -> None:
    engine = _engine(_meta())
    with pytest.raises(UsageError, match=r"^the model m has no test-time augmentation to run .*--tta"):
        run(engine, ArrayDataset(_images(photo)), [], tta=True)
    assert not engine.shapes
    spec = EngineSpec(_meta(VIEW, (Flip(), *VIEW)), "labels", input="image", backend="server")
    with pytest.raises(UsageError, match=r"^server runs one view of each image.*leave out --tta"):
        Segmenter(FunctionEngine(spec, lambda batch: batch.argmax(3)), tta=True)


def test_an_engine_that_gives_labels_is_refused_by_name(photo) -> None:
    meta = _meta(VIEW, (Flip(), *VIEW))
    engine = FunctionEngine(
        EngineSpec(meta, "labels", backend="onnxruntime"), lambda batch: _network(batch).argmax(1)
    )
    with pytest.raises(UsageError, match=r"test-time augmentation \(--no-tta leaves it out\).*onnxruntime"):
        run(engine, ArrayDataset(_images(photo)), [])
    assert not engine.shapes
    assert run(engine, ArrayDataset(_images(photo)), [], tta=False).views_left_out == 2


def test_an_engine_that_preprocesses_itself_has_no_views(photo) -> None:
    """A server runs the model its own way; that the pipeline asks for views is still said."""
    meta = _meta(VIEW, (Flip(), *VIEW))
    spec = EngineSpec(meta, "labels", input="image", backend="server")
    engine = FunctionEngine(spec, lambda batch: batch.argmax(3).astype(np.uint8))
    report = run(engine, ArrayDataset(_images(photo)), [])
    assert (report.views, report.views_left_out) == (0, 2)


def test_a_view_that_a_fixed_engine_does_not_take_stops_the_run_with_what_helps(photo) -> None:
    size = {"height": Axis.fixed(20), "width": Axis.fixed(30)}
    images = ArrayDataset([photo(20, 30)] * 2)
    meta = _meta(VIEW, (Resize((60, 40)), *VIEW))
    with pytest.raises(ShapeError, match=r"0000\.png is 40x60 .*height 20 and width 30") as raised:
        run(_engine(meta, **size), images, [])
    assert "--no-tta" in raised.value.hint
    fits = _meta(VIEW, (Flip(), *VIEW))
    assert run(_engine(fits, **size), images, []).views == 2


def test_images_in_memory_are_never_augmented(photo) -> None:
    meta = _meta((Flip("vertical"), *VIEW), (Flip(), *VIEW))
    engine = _engine(meta)
    (answer,) = Segmenter(engine)([photo(20, 30)])
    assert np.array_equal(answer.labels, _labels(photo(20, 30), meta, tta=False))
    assert len(engine.shapes) == 1
