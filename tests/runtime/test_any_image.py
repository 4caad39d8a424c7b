"""Runs on images of any channels and type: pixels without data, probabilities, unknown labels, bad images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segplug.dataset import DatasetInfo
from segplug.engine import Axis, EngineSpec
from segplug.errors import DatasetError, UsageError
from segplug.model import Inference, ModelMeta
from segplug.preprocessing import Decoding, Flip, Normalize
from segplug.runtime.confidence import ConfidenceSink
from segplug.runtime.drawing import PictureSettings
from segplug.runtime.pipeline import run
from segplug.runtime.raw import RawSink
from segplug.runtime.segment import Segmenter
from segplug.runtime.sinks import LabelMapSink, PaintSink, ScoreSink
from segplug.testing import ArrayDataset, FunctionEngine

CLASSES = ("a", "b", "c")
META = ModelMeta("m", classes=CLASSES, out_channels=3)


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def _softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _engine(meta: ModelMeta = META, output: str = "logits", **axes: Axis) -> FunctionEngine:
    """Gives the input's channels as logits, or the strongest as label."""
    spec = EngineSpec(meta, output, backend="test backend", **axes)
    return FunctionEngine(spec, lambda b: b.copy() if output == "logits" else b.argmax(1))


def _images(number: int = 3, dtype: str = "float32", channels: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 2, (12 + i, 16, channels)).astype(dtype) for i in range(number)]


def _set(images: list[np.ndarray], masks: list[np.ndarray] | None = None, **info: Any) -> ArrayDataset:
    described = {"classes": CLASSES, "has_masks": masks is not None, "fingerprint": "arrays", **info}
    return ArrayDataset(images, masks, DatasetInfo("arrays", **described))


class Collect:
    """A sink that keeps the results."""

    key = "collect"

    def __init__(self, **needs: bool) -> None:
        self.results: list[Any] = []
        for what in ("image", "mask", "confidence"):
            setattr(self, f"needs_{what}", needs.get(what, False))

    def open(self, run: Any) -> None: ...

    def consume(self, result: Any) -> dict[str, Any]:
        self.results.append(result)
        return {}

    def has(self, index: int, notes: Any) -> bool:
        return True

    def restore(self, index: int, notes: Any) -> None: ...

    def close(self, *, finished: bool) -> None: ...


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_network_and_the_sinks_get_the_image_as_it_is_read(dtype: str, channels: int) -> None:
    rng = np.random.default_rng(1)
    image = (rng.integers(0, 200, (6, 7, channels)) * 300.7).astype(dtype)
    meta = ModelMeta("m", in_channels=channels, out_channels=channels + 1)
    seen = []

    def network(batch: np.ndarray) -> np.ndarray:
        seen.append(batch)
        return np.concatenate([batch, batch[:, :1] + 1], axis=1)

    sink = Collect(image=True)
    run(FunctionEngine(EngineSpec(meta, "logits"), network), ArrayDataset([image]), [sink])
    assert seen[0].dtype == np.float32
    assert np.array_equal(seen[0][0], image.transpose(2, 0, 1).astype(np.float32))
    assert sink.results[0].image.dtype == image.dtype
    assert np.array_equal(sink.results[0].image, image)


def test_a_data_set_is_read_as_the_model_decodes() -> None:
    decodings = []

    class Reads(ArrayDataset):
        def read_image(self, index: int, decoding: Decoding) -> np.ndarray:
            decodings.append(decoding)
            return super().read_image(index, decoding)

    decoding = Decoding("tifffile", "unchanged")
    run(_engine(META.replace(decoding=decoding)), Reads(_images()), [])
    assert decodings == [decoding] * 3


def _with_holes(image: np.ndarray) -> np.ma.MaskedArray:
    """The image without the data of its first rows; some pixels lack single channels only."""
    holes = np.zeros(image.shape, bool)
    holes[:3] = True
    holes[5, :, 1] = True
    pixels = image.copy()
    if pixels.dtype.kind == "f":
        pixels[holes] = np.nan
    return np.ma.MaskedArray(pixels, holes)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pixels_without_data_have_the_ignored_label_and_are_not_scored(dtype: str) -> None:
    images = [np.abs(image * 40).astype(dtype) for image in _images()]
    labels = [np.where(_holes(image), 0, image).argmax(2) for image in images]
    masks = [label.astype(np.uint8) for label in labels]
    for mask in masks:
        mask[:3] = (mask[:3] + 1) % 3  # all of them wrong
    sink, scores = Collect(mask=True), ScoreSink()
    report = run(_engine(), _set([_with_holes(image) for image in images], masks), [sink, scores])
    assert report.scores.metrics["aAcc"] == 1.0
    assert report.scores.counts.label.sum() == sum(mask[3:].size for mask in masks)
    for result, mask in zip(sink.results, masks, strict=True):
        assert (result.labels[:3] == 255).all()
        assert (result.mask[:3] == 255).all()
        assert np.array_equal(result.labels[3:], mask[3:])
    assert all((mask[:3] != 255).all() for mask in masks), "the data set's own masks are not changed"


def _holes(image: np.ndarray) -> np.ndarray:
    """Where floats that lack are 0; integers keep the value of the file."""
    holes = np.zeros(image.shape, bool)
    if image.dtype.kind == "f":
        holes[5, :, 1] = True
    return holes


def test_a_masked_image_with_all_its_data_is_like_any_other() -> None:
    image = _images(1)[0]
    sink = Collect()
    run(_engine(), ArrayDataset([np.ma.MaskedArray(image), np.ma.masked_less(image, -1e9)]), [sink])
    for result in sink.results:
        assert np.array_equal(result.labels, image.argmax(2))


def test_an_undefined_value_that_is_not_masked_is_an_error_all_the_same() -> None:
    image = _with_holes(_images(1)[0])
    image.data[7, 2, 0] = np.nan
    with pytest.raises(DatasetError, match=r"0000\.png holds nan in channel 1, row 7, column 2"):
        run(_engine(), ArrayDataset([image]), [])


def test_pixels_without_data_of_many_classes_need_a_wider_label() -> None:
    image = np.zeros((6, 8, 3), np.float32)
    image[2:] = 1
    meta = ModelMeta("m", out_channels=300)
    scores = (np.arange(300) == 255).astype(np.float32)[None, :, None, None]
    engine = FunctionEngine(EngineSpec(meta, "logits"), lambda batch: scores + 0 * batch[:, :1])
    masked = np.ma.MaskedArray(image, np.zeros(image.shape, bool))
    masked[:2] = np.ma.masked
    with pytest.raises(UsageError, match="ignored label 255 is a class of this model") as raised:
        run(engine, ArrayDataset([masked]), [Collect()])
    assert "another ignored label" in raised.value.hint
    sink = Collect()
    info = DatasetInfo("arrays", (), ignore_index=65535, has_masks=False)
    run(engine, ArrayDataset([masked], info=info), [sink])
    assert sink.results[0].labels.dtype == np.uint16
    assert (sink.results[0].labels[:2] == 65535).all()
    assert (sink.results[0].labels[2:] == 255).all()
    run(engine, ArrayDataset([masked], info=DatasetInfo("images", (), has_masks=False, listed=True)), [sink])
    assert np.array_equal(sink.results[1].labels, sink.results[0].labels), "nothing can be said of a list"
    (answer,) = Segmenter(engine)([masked])
    assert (answer.labels[:2] == 65535).all()
    # without such pixels there is nothing to mark
    run(engine, ArrayDataset([image]), [Collect()])


@pytest.mark.parametrize("ignored", [-1, -100, 65536])
def test_an_ignored_label_that_no_file_can_hold_is_one_clear_error(ignored: int) -> None:
    dataset = _set([_with_holes(_images(1)[0])], ignore_index=ignored)
    with pytest.raises(UsageError, match=f"ignored label {ignored} ") as raised:
        run(_engine(), dataset, [Collect()])
    assert "another ignored label" in raised.value.hint
    with pytest.raises(UsageError, match=f"ignored label {ignored} "):
        run(_engine(), _set(_images(), ignore_index=ignored), [], unknown_below=0.5)


def test_images_in_memory_without_data_are_ignored_too() -> None:
    image = _images(1)[0]
    plain, holed = Segmenter(_engine())([image, _with_holes(image)], confidence=True)
    assert np.array_equal(plain.labels, image.argmax(2))
    assert (holed.labels[:3] == 255).all()
    assert np.array_equal(holed.labels[6:], plain.labels[6:])
    np.testing.assert_allclose(plain.confidence, _softmax(image, 2).max(2), rtol=1e-5)


@pytest.mark.parametrize("below", [0.0, 0.4, 0.7, 1.0])
def test_labels_that_are_not_sure_become_the_ignored_one(below: float) -> None:
    images = _images()
    masks = [image.argmax(2).astype(np.uint8) for image in images]
    sink = Collect()
    report = run(_engine(), _set(images, masks), [sink, ScoreSink()], unknown_below=below)
    sure = [_softmax(image, 2).max(2) >= below for image in images]
    for result, mask, kept in zip(sink.results, masks, sure, strict=True):
        assert np.array_equal(result.labels, np.where(kept, mask, 255))
    share = sum(kept.sum() for kept in sure) / sum(kept.size for kept in sure)
    assert report.scores.metrics["aAcc"] == pytest.approx(share), "an unknown pixel counts as a wrong one"
    assert report.unknown_share == pytest.approx(1 - share)


@pytest.mark.parametrize("below", [-0.1, 1.5, 70, float("nan")])
def test_a_limit_that_is_no_probability_is_refused(below: float) -> None:
    with pytest.raises(UsageError, match=f"^unknown_below is a probability from 0 to 1, not {below}$"):
        run(_engine(), _set(_images()), [], unknown_below=below)


def test_unknown_labels_need_a_label_that_is_no_class() -> None:
    engine = _engine()
    with pytest.raises(UsageError, match="ignored label 2 is a class"):
        run(engine, _set(_images(), ignore_index=2), [], unknown_below=0.5)
    assert not engine.shapes, "it is refused before any work"
    run(engine, _set(_images(), ignore_index=2), [])


def test_confidences_are_written_beside_the_labels(tmp_path: Path) -> None:
    images = _images()
    run(
        _engine(),
        ArrayDataset(images),
        [LabelMapSink(tmp_path / "labels"), ConfidenceSink(tmp_path / "sure")],
    )
    assert sorted(path.name for path in (tmp_path / "sure").iterdir()) == ["0000.npy", "0001.npy", "0002.npy"]
    for index, image in enumerate(images):
        written = np.load(tmp_path / "sure" / f"{index:04d}.npy", allow_pickle=False)
        assert written.dtype == np.float32
        np.testing.assert_allclose(written, _softmax(image, 2).max(2), rtol=1e-5)


def test_confidences_of_parts_have_a_folder_each(tmp_path: Path) -> None:
    dataset = _set(_images(), parts=(("one", 1), ("two", 2)))
    run(_engine(), dataset, [ConfidenceSink(tmp_path)])
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.npy"))
    assert written == ["0/0000.npy", "1/0001.npy", "1/0002.npy"]


def test_a_head_of_one_channel_writes_the_probability_of_its_label(tmp_path: Path) -> None:
    image = _images(1, channels=1)[0]
    meta = ModelMeta("m", classes=("back", "front"), in_channels=1, out_channels=1, threshold=0.3)
    sink = Collect()
    run(_engine(meta), ArrayDataset([image]), [sink, ConfidenceSink(tmp_path)])
    probability = 1 / (1 + np.exp(-image[:, :, 0].astype(np.float64)))
    expected = np.where(probability > 0.3, probability, 1 - probability)
    np.testing.assert_allclose(np.load(tmp_path / "0000.npy"), expected, rtol=1e-5)
    assert np.array_equal(sink.results[0].labels, probability > 0.3)


def test_the_confidence_of_labels_is_refused_by_name(tmp_path: Path) -> None:
    engine = _engine(output="labels")
    for settings in ({"sinks": [ConfidenceSink(tmp_path)]}, {"sinks": [], "unknown_below": 0.5}):
        with pytest.raises(
            UsageError, match="needs the scores of every class, but test backend gives labels"
        ):
            run(engine, ArrayDataset(_images()), **settings)
    with pytest.raises(UsageError, match="the confidence needs the scores"):
        Segmenter(engine)(_images(), confidence=True)
    assert not engine.shapes
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.zeros((12, 16, 4), np.float32), "has 4 channels, the network takes 3"),
        (np.zeros((12, 16, 1), np.float32), "has 1 channel, the network takes 3"),
        (np.full((12, 16, 3), np.nan, np.float32), "holds nan in channel 1, row 0, column 0"),
        (np.zeros((12, 16), np.uint8), "is uint8 (12, 16), not numbers (H, W, C)"),
    ],
)
def test_an_image_unlike_the_others_stops_the_run_or_is_listed(bad: np.ndarray, said: str) -> None:
    images = _images(5)
    images[2] = bad
    sink = Collect()
    with pytest.raises(DatasetError) as raised:
        run(_engine(), ArrayDataset(images), [sink])
    assert raised.value.message == f"the image 0002.png {said}"
    assert [result.name for result in sink.results] == ["0000.png", "0001.png"]
    report = run(_engine(), ArrayDataset(images), [], on_error="skip")
    assert [item.name for item in report.skipped] == ["0002.png"]
    assert said in report.skipped[0].reason
    assert report.images == 4
    answers = Segmenter(_engine())(images)
    assert [isinstance(answer, DatasetError) for answer in answers] == [False, False, True, False, False]
    assert said in str(answers[2])


def _interrupted(meta: ModelMeta) -> FunctionEngine:
    engine = _engine(meta)

    def function(batch: np.ndarray) -> np.ndarray:
        if len(engine.shapes) > 12:
            raise KeyboardInterrupt
        return batch.copy()

    engine._function = function
    return engine


@pytest.mark.parametrize(
    ("first", "second", "goes_on"),
    [
        ({}, {}, True),
        ({}, {"tta": False}, False),
        ({"tta": False}, {}, False),
        ({"tta": False}, {"tta": False}, True),
        ({}, {"unknown_below": 0.5}, False),
        ({"unknown_below": 0.5}, {"unknown_below": 0.5}, True),
        ({"unknown_below": 0.5}, {"unknown_below": 0.25}, False),
    ],
)
def test_a_run_goes_on_only_with_the_settings_that_change_its_results(first, second, goes_on) -> None:
    normal = Normalize((0,) * 3, (1,) * 3)
    meta = META.replace(tta=((normal,), (Flip(), normal)))
    images = _set(_images(20))
    with pytest.raises(KeyboardInterrupt):
        run(_interrupted(meta), images, [Collect()], run_key="k", **first)
    report = run(_engine(meta), images, [Collect()], run_key="k", resume=True, **second)
    assert (report.resumed > 0) is goes_on
    assert report.images == 20


def test_a_confidence_that_is_gone_is_computed_again(tmp_path: Path) -> None:
    images = _set(_images(20))
    with pytest.raises(KeyboardInterrupt):
        run(_interrupted(META), images, [ConfidenceSink(tmp_path)], run_key="k")
    written = sorted(tmp_path.iterdir())
    assert len(written) > 2
    written[0].unlink()
    report = run(_engine(), images, [ConfidenceSink(tmp_path)], run_key="k", resume=True)
    assert 0 < report.resumed < len(written)
    for index, image in enumerate(_images(20)):
        saved = np.load(tmp_path / f"{index:04d}.npy")
        np.testing.assert_allclose(saved, _softmax(image, 2).max(2), rtol=1e-5)


@pytest.mark.parametrize("unknown_below", [None, 0.5])
def test_every_sink_takes_images_of_bands(tmp_path: Path, unknown_below: float | None) -> None:
    images = [np.abs(image * 1000).astype(np.uint16) for image in _images(channels=5)]
    normal = Normalize((1000,) * 5, (1000,) * 5)
    meta = ModelMeta(
        "m", in_channels=5, out_channels=5, preprocessing=(normal,), decoding=Decoding.for_channels(5)
    )
    sinks = [
        LabelMapSink(tmp_path / "labels"),
        PaintSink(tmp_path / "painted", PictureSettings(bands=(4, 2, 5))),
        ConfidenceSink(tmp_path / "sure"),
        RawSink(tmp_path / "raw.npz"),
    ]
    run(_engine(meta), ArrayDataset(images), sinks, unknown_below=unknown_below)
    with np.load(tmp_path / "raw.npz") as raw:
        for image, labels in zip(images, raw.values(), strict=True):
            expected = image.argmax(2)
            if unknown_below is not None:
                values = (image.astype(np.float64) - 1000) / 1000
                expected = np.where(_softmax(values, 2).max(2) < unknown_below, 255, expected)
            assert np.array_equal(labels, expected)
    assert len(list((tmp_path / "painted").iterdir())) == 3


def test_a_slide_model_with_a_stride_runs_on_bands() -> None:
    """Blocks of equal pixels: averages of them are exact."""
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 4, (8, 10, 5)).astype(np.float32)
    image = np.kron(blocks, np.ones((4, 4, 1), np.float32))
    meta = ModelMeta(
        "m", in_channels=5, out_channels=5, output_stride=4, inference=Inference("slide", (16, 16), (8, 12))
    )
    engine = FunctionEngine(EngineSpec(meta, "logits"), lambda b: b[:, :, ::4, ::4].copy())
    sink = Collect()
    run(engine, ArrayDataset([image]), [sink])
    labels = sink.results[0].labels
    assert labels.shape == (32, 40)
    inner = labels.reshape(8, 4, 10, 4)[:, 1:3, :, 1:3]
    firm = np.sort(blocks, axis=2)[:, :, -1] > np.sort(blocks, axis=2)[:, :, -2] + 1.5
    assert firm.any()
    assert (inner == blocks.argmax(2)[:, None, :, None])[
        firm[:, None, :, None].repeat(2, 1).repeat(2, 3)
    ].all()
