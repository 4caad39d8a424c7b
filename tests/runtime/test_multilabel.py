"""A model that decides each class alone: bit masks, their probabilities, scores, pictures and reports."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scripts import proofs
from segplug import Segplug
from segplug.dataset import DatasetInfo, LabelFormat
from segplug.engine import EngineSpec
from segplug.errors import DatasetError, NonfiniteError, PluginError, UsageError
from segplug.model import ModelMeta
from segplug.progress import QuietReporter
from segplug.reports.run_report import ReportSink
from segplug.runtime.confidence import ConfidenceSink
from segplug.runtime.drawing import Drawer, PictureSettings, mark_differences
from segplug.runtime.paint import Painter
from segplug.runtime.pipeline import run
from segplug.runtime.planes import resize_labels
from segplug.runtime.postprocess import NetworkOutput, Postprocessor, average_views
from segplug.runtime.raw import BIT_MASKS, RawSink
from segplug.runtime.runner import Runner
from segplug.runtime.score import count_bits, score
from segplug.runtime.segment import Segmenter
from segplug.runtime.sinks import ColourMapSink, LabelMapSink, ScoreSink
from segplug.runtime.sizes import Geometry
from segplug.sink import ImageResult, RunContext
from segplug.testing.engines import ArrayDataset, FunctionEngine

CLASSES = ("road", "car", "wet")
PALETTE = ((200, 0, 0), (0, 100, 0), (0, 0, 50))
META = ModelMeta("m", CLASSES, PALETTE, out_channels=3, activation="sigmoid", threshold=0.5)


def _bits(there: Any) -> np.ndarray:
    """The bit masks of bool (C, H, W), one class after another."""
    masks = np.zeros(there.shape[1:], np.int64)
    for number, plane in enumerate(there):
        masks += np.int64(2) ** number * plane
    return masks


def _scores(channels: int = 3, size: tuple[int, int] = (40, 50), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (channels, *size)).astype(np.float32)


def _output(scores: np.ndarray, *, logits: bool = True) -> NetworkOutput:
    size = (scores.shape[1], scores.shape[2])
    return NetworkOutput(scores, Geometry.whole(size), logits)


def _meta(channels: int, **changes: Any) -> ModelMeta:
    return META.replace(classes=(), palette=(), out_channels=channels, **changes)


@pytest.mark.parametrize(("channels", "dtype"), [(2, "uint8"), (7, "uint8"), (8, "uint16"), (15, "uint16")])
@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.9, 0.0, 1.0])
def test_each_class_is_where_its_sigmoid_is_above_the_threshold(
    channels: int, dtype: str, threshold: float
) -> None:
    scores = _scores(channels)
    labels = Postprocessor(_meta(channels, threshold=threshold))(_output(scores)).labels
    there = torch.from_numpy(scores).double().sigmoid().numpy() > threshold
    assert labels.dtype == dtype
    assert np.array_equal(labels, _bits(there))


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_probabilities_are_compared_as_they_are(threshold: float | None) -> None:
    scores = np.random.default_rng(1).random((3, 9, 11), dtype=np.float32)
    found = Postprocessor(META.replace(threshold=threshold))(_output(scores, logits=False))
    assert np.array_equal(found.labels, _bits(scores > (threshold or 0.5)))


def test_scores_are_resized_before_they_are_decided() -> None:
    """As PyTorch does, each class alone."""
    scores = _scores(3, (12, 15))
    meta = META.replace(output_stride=4)
    output = NetworkOutput(scores, Geometry(network=(48, 60), valid=(48, 60), original=(48, 60)))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(scores)[None], (48, 60), mode="bilinear", align_corners=False
    )[0].numpy()
    labels = Postprocessor(meta)(output).labels
    clear = (np.abs(expected) > 1e-4).all(axis=0)
    assert clear.mean() > 0.99
    assert np.array_equal(labels[clear], _bits(expected > 0)[clear])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_of_any_class_that_is_not_finite_makes_its_pixel_undefined(value: float) -> None:
    scores = _scores()
    scores[1, 3, 4] = scores[2, 5, 6] = value
    with pytest.raises(NonfiniteError, match=r"for 2 of the 2000 pixels of the image a\.png"):
        Postprocessor(META)(_output(scores), "a.png")
    found = Postprocessor(META, confidence=True, allow_nonfinite=True)(_output(scores))
    assert found.undefined is not None
    assert found.confidence is not None
    assert np.argwhere(found.undefined).tolist() == [[3, 4], [5, 6]]
    assert np.array_equal(found.confidence == 0, found.undefined)


def test_the_confidence_is_that_of_the_least_sure_decision() -> None:
    scores = _scores()
    found = Postprocessor(META, confidence=True)(_output(scores))
    probabilities = torch.from_numpy(scores).double().sigmoid().numpy()
    expected = np.maximum(probabilities, 1 - probabilities).min(axis=0)
    assert found.confidence is not None
    assert found.confidence.dtype == np.float32
    np.testing.assert_allclose(found.confidence, expected, atol=1e-6)


def test_views_are_averaged_after_the_sigmoid_of_each_class() -> None:
    one, other = _scores(seed=1), _scores(seed=2)
    averaged = average_views([(_output(one), 1), (_output(other), 2)], META)
    first, second = (torch.from_numpy(scores).double().sigmoid().numpy() for scores in (one, other))
    expected = (first + 2 * second) / 3
    np.testing.assert_allclose(averaged.values, expected, atol=1e-6)
    clear = (np.abs(expected - 0.5) > 1e-5).all(axis=0)
    assert np.array_equal(Postprocessor(META)(averaged).labels[clear], _bits(expected > 0.5)[clear])


def test_more_classes_than_a_label_map_holds_are_refused_before_a_run() -> None:
    meta = _meta(16)
    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), lambda batch: batch)
    message = "decides each of 16 classes alone, and a label map holds the sets of at most 15 classes"
    with pytest.raises(UsageError, match=message):
        Segmenter(engine)
    with pytest.raises(UsageError, match=message):
        run(engine, ArrayDataset([np.zeros((4, 4, 3), np.uint8)]), [])


def test_masks_whose_labels_are_lowered_by_one_are_no_bit_masks(tmp_path: Path) -> None:
    for folder, channels in (("images", 3), ("masks", 1)):
        (tmp_path / folder).mkdir()
        pixels = np.ones((4, 4, channels), np.uint8)
        Image.fromarray(pixels.squeeze()).save(tmp_path / folder / "a.png")
    data = Segplug().load_dataset(tmp_path, reduce_zero_label=True)
    engine = FunctionEngine(EngineSpec(META, "logits", backend="test"), lambda batch: batch)
    for sink in (ScoreSink(), ReportSink(tmp_path / "r.html"), _Drawing(PictureSettings(parts=("truth",)))):
        with pytest.raises(UsageError, match=r"lowers the others by one \(reduce_zero_label\), and a model"):
            run(engine, data, [sink])
    assert run(engine, data, []).images == 1  # labels alone: masks do not count


def test_an_engine_may_give_the_sets_of_the_classes_and_nothing_else() -> None:
    def runner(value: int) -> Runner:
        spec = EngineSpec(_meta(8), "labels", backend="test")
        return Runner(FunctionEngine(spec, lambda batch: np.full((1, 2, 2), value, np.int64)))

    batch = np.zeros((1, 3, 2, 2), np.float32)
    labels = runner(255)(batch)
    assert (labels.dtype, labels.max()) == (np.uint16, 255)
    with pytest.raises(PluginError, match="gave the label 256, but the model has 256 labels, from 0"):
        runner(256)(batch)


def test_bit_masks_are_resized_by_nearest_neighbour() -> None:
    labels = np.array([[1, 6], [0, 7]], np.uint8)
    assert np.array_equal(resize_labels(labels, (4, 6)), labels.repeat(2, axis=0).repeat(3, axis=1))


# Scores


def _random_sets(number: int, channels: int = 3, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random((channels, 30, 40)) < rng.random((channels, 1, 1)) for _ in range(number)]


@pytest.mark.slow
def test_scores_are_those_of_segmentation_models_pytorch() -> None:
    proofs.install()
    from segmentation_models_pytorch import metrics

    truth, found = _random_sets(4), _random_sets(4, seed=9)
    pairs = zip(found, truth, strict=True)
    counts = [
        count_bits(
            _bits(one).astype(np.uint8),
            _bits(other).astype(np.uint8),
            num_classes=3,
            ignore_index=255,
            name="x",
        )
        for one, other in pairs
    ]
    total = sum(counts[1:], counts[0])
    scores = score(
        [("all", total)], classes=CLASSES, images=4, metrics=("mIoU", "mDice", "mFscore"), multilabel=True
    )
    stats = metrics.get_stats(
        torch.from_numpy(np.stack(found)).long(), torch.from_numpy(np.stack(truth)).long(), mode="multilabel"
    )
    tp, fp, fn, tn = (each.sum(dim=0, keepdim=True) for each in stats)
    for name, function in (
        ("IoU", metrics.iou_score),
        ("Dice", metrics.f1_score),
        ("Fscore", metrics.f1_score),
        ("Precision", metrics.precision),
        ("Recall", metrics.recall),
    ):
        expected = function(tp, fp, fn, tn, reduction="none")[0].tolist()
        assert scores.per_class[name] == pytest.approx(expected, abs=1e-6), name
        assert scores.metrics[f"m{name}"] == pytest.approx(
            float(function(tp, fp, fn, tn, reduction="macro")), abs=1e-6
        )
    assert "aAcc" not in scores.metrics
    assert "aAcc" in score([("all", total)], classes=CLASSES, images=4).metrics


def test_ignored_pixels_are_not_counted_and_unknown_ones_have_no_class() -> None:
    counts = count_bits(
        np.array([[1, 255, 3, 2]], np.uint8),
        np.array([[1, 1, 255, 6]], np.uint8),
        num_classes=3,
        ignore_index=255,
        name="x",
    )
    assert (counts.intersect.tolist(), counts.prediction.tolist(), counts.label.tolist()) == (
        [1, 1, 0],
        [1, 1, 0],
        [2, 1, 1],
    )


def test_a_bit_of_the_truth_that_is_no_class_is_refused() -> None:
    mask = np.array([[8]], np.uint8)
    with pytest.raises(DatasetError, match="the mask of x has the value 8, and a bit mask of 3 classes has"):
        count_bits(mask, mask, num_classes=3, ignore_index=255, name="x")


# A run


def _engine(meta: ModelMeta = META, **spec: Any) -> FunctionEngine:
    """Takes images of the values 0 and 255: each channel says whether a class is there."""
    return FunctionEngine(EngineSpec(meta, "logits", backend="test", **spec), lambda batch: (batch - 128) / 9)


def _data(found: list[np.ndarray], truth: list[np.ndarray] | None = None, **info: Any) -> ArrayDataset:
    images = [one.transpose(1, 2, 0).astype(np.uint8) * 255 for one in found]
    masks = None if truth is None else [_bits(one).astype(np.uint8) for one in truth]
    facts = DatasetInfo("sets", (), has_masks=masks is not None, fingerprint="x", **info)
    return ArrayDataset(images, masks, facts)


def test_a_run_scores_and_writes_bit_masks(tmp_path: Path) -> None:
    truth, found = _random_sets(3), _random_sets(3, seed=4)
    scores, maps, colours = ScoreSink(), tmp_path / "maps", tmp_path / "colours"
    sinks = [scores, LabelMapSink(maps), RawSink(tmp_path / "all.npz"), ColourMapSink(colours)]
    run(_engine(), _data(found, truth), [*sinks, ConfidenceSink(tmp_path / "c")])
    assert zipfile.ZipFile(tmp_path / "all.npz").comment == BIT_MASKS
    with np.load(tmp_path / "all.npz") as written:
        for number, one in enumerate(found):
            assert np.array_equal(written[f"000{number}.png"], _bits(one))
    for file in (maps / "0002.png", colours / "0002.png"):
        picture = Image.open(file)
        assert np.array_equal(np.array(picture), _bits(found[2]))
        palette = np.array(picture.getpalette()).reshape(-1, 3)[:8].tolist()
        assert palette[:4] == [[0, 0, 0], [200, 0, 0], [0, 100, 0], [100, 50, 0]]
    least = 1 / (1 + np.exp(-127 / 9))
    assert np.load(tmp_path / "c" / "0000.npy").min() == pytest.approx(least)
    assert scores.scores is not None
    counts, (one, other) = scores.scores.counts, (np.stack(truth), np.stack(found))
    assert counts.intersect.tolist() == (one & other).sum(axis=(0, 2, 3)).tolist()
    assert counts.prediction.tolist() == other.sum(axis=(0, 2, 3)).tolist()
    assert counts.label.tolist() == one.sum(axis=(0, 2, 3)).tolist()
    assert [name for name in scores.scores.metrics if "." not in name] == ["mIoU", "mAcc"]


def test_pixels_without_data_are_unknown_and_not_scored(tmp_path: Path) -> None:
    (found,) = _random_sets(1)
    data = _data([found], [found])
    image = np.ma.MaskedArray(data.read_image(0, META.decoding), np.zeros((30, 40, 3), bool))
    image[:2] = np.ma.masked
    scores = ScoreSink()
    masked = ArrayDataset([image], [data.read_mask(0)], data.info)
    run(_engine(), masked, [scores, LabelMapSink(tmp_path)])
    labels = np.array(Image.open(tmp_path / "0000.png"))
    assert (labels[:2] == 255).all()
    assert scores.scores is not None
    assert scores.scores.counts.label.tolist() == found[:, 2:].sum(axis=(1, 2)).tolist()
    assert scores.scores.metrics["mIoU"] == 1


def test_unlikely_sets_are_unknown(tmp_path: Path) -> None:
    """Where the least sure decision is less probable than the user wants."""
    image = np.full((2, 4, 3), 255, np.uint8)
    image[0, 0, 1] = 132  # a probability of 0.61
    run(_engine(), ArrayDataset([image]), [LabelMapSink(tmp_path)], unknown_below=0.7)
    expected = np.full((2, 4), 7)
    expected[0, 0] = 255
    assert np.array_equal(np.array(Image.open(tmp_path / "0000.png")), expected)


def test_the_ignored_label_of_masks_is_no_set_of_eight_classes() -> None:
    meta = _meta(8)
    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), lambda batch: batch)
    data = _data(_random_sets(1), _random_sets(1))
    sinks = [
        ScoreSink(),
        _Drawing(PictureSettings(parts=("difference",))),
    ]
    for sink in sinks:
        with pytest.raises(UsageError, match="the ignored label 255 is a set of classes of this model"):
            run(engine, data, [sink])


class _Drawing:
    """A sink that only makes its drawer."""

    needs_image = needs_mask = needs_confidence = False
    key = "drawing"

    def __init__(self, settings: PictureSettings) -> None:
        self._settings = settings

    def open(self, context: RunContext) -> None:
        Drawer(self._settings, context)

    def close(self, *, finished: bool) -> None:
        pass


def test_a_server_s_format_of_single_classes_is_refused(tmp_path: Path) -> None:
    data = _data(_random_sets(1), label_format=LabelFormat(ids={0: 7}))
    with pytest.raises(UsageError, match="the format of label maps of sets has one class for each pixel"):
        run(_engine(), data, [LabelMapSink(tmp_path)])


# Pictures


def test_a_painted_pixel_has_the_mean_of_its_colours_and_without_a_class_its_own() -> None:
    image = np.full((1, 4, 3), 60, np.uint8)
    colours = META.replace().legend()
    assert [entry.colour for entry in colours] == list(PALETTE)
    data = _data(_random_sets(1))
    drawer = Drawer(PictureSettings(opacity=1.0), RunContext(META, data, QuietReporter(), None))
    (painted,) = drawer.panels(image, np.array([[0, 1, 3, 255]], np.uint8), None)
    assert painted[0, :, ::-1].tolist() == [[60, 60, 60], [200, 0, 0], [100, 50, 0], [0, 0, 0]]


def test_many_sets_are_painted_without_a_table_of_their_blends() -> None:
    """The same picture as with the table, to the last bit."""
    rng = np.random.default_rng(0)
    palette = [tuple(rng.integers(0, 256, 3).tolist()) for _ in range(4000)]
    image = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    labels = rng.integers(0, 1000, (50, 70), dtype=np.uint16)
    few = Painter(palette[:1000], opacity=0.3, unpainted={0})
    assert np.array_equal(Painter(palette, opacity=0.3, unpainted={0})(image, labels), few(image, labels))
    assert (Painter(palette, opacity=1)(image, labels + 5000) == 0).all()


def test_a_difference_is_a_difference_of_the_whole_set() -> None:
    image = np.full((1, 3, 3), 90, np.uint8)
    truth, found = np.array([[3, 3, 255]], np.uint8), np.array([[3, 1, 7]], np.uint8)
    shown = mark_differences(image, found, truth, ignored=255)
    assert shown[0, 1].tolist() == [0, 94, 213]
    assert shown[0, 0, 0] == shown[0, 0, 1] != shown[0, 2, 0]


# The page of a run


def _page(tmp_path: Path, data: ArrayDataset, **options: Any) -> str:
    run(_engine(), data, [ReportSink(tmp_path / "page.html")], **options)
    return (tmp_path / "page.html").read_text()


def test_the_page_of_a_run_has_scores_of_each_class_and_no_confusion(tmp_path: Path) -> None:
    truth, found = _random_sets(3), _random_sets(3, seed=4)
    page = _page(tmp_path, _data(found, truth))
    one, other = np.stack(truth), np.stack(found)
    iou = (one & other).sum(axis=(0, 2, 3)) / (one | other).sum(axis=(0, 2, 3))
    assert f"3 images: mIoU {iou.mean():.2%}, mAcc" in page
    assert "there is no aAcc and no confusion matrix" in page
    assert "Which classes are confused" not in page
    assert "Worst images" in page
    for share in (*one.mean(axis=(0, 2, 3)), *other.mean(axis=(0, 2, 3))):
        assert f">{share:.4f}<" in page


def test_the_page_without_masks_has_shares_that_count_a_pixel_for_each_class(tmp_path: Path) -> None:
    there = np.zeros((3, 10, 10), bool)
    there[0, :4], there[1, :3] = True, True
    page = _page(tmp_path, _data([there]))
    assert "A pixel may have several classes, or none" in page
    for share in ("0.4000", "0.3000", "0.6000"):  # road, car, and what has none
        assert f">{share}<" in page
    assert "no class" in page


def test_an_interrupted_report_goes_on_with_its_notes(tmp_path: Path) -> None:
    """What a sink noted is all that it needs, and damaged notes are refused."""
    truth, found = _random_sets(2), _random_sets(2, seed=4)
    for masks in (truth, None):
        data, sink = _data(found, masks), ReportSink(tmp_path / "a.html")
        context = RunContext(META, data, QuietReporter(), tmp_path)
        sink.open(context)
        notes = [json.loads(json.dumps(sink.consume(_result(data, index)))) for index in range(2)]
        again = ReportSink(tmp_path / "b.html", force=True)
        again.open(context)
        for index, note in enumerate(notes):
            assert again.has(index, note)
            again.restore(index, note)
            for damaged in (
                {},
                {**note, "all": -1},
                {**note, "classes": [[1]], "pixels": [1]},
                {**note, "classes": [[1, 2, "3"]] * 3, "pixels": ["1"] * 5},
            ):
                assert not again.has(index, damaged)
        again.close(finished=True)
        sink.close(finished=True)
        sections = [(tmp_path / name).read_text().split("<table")[1] for name in ("a.html", "b.html")]
        assert sections[0] == sections[1]
        (tmp_path / "a.html").unlink()


def _result(data: ArrayDataset, index: int) -> ImageResult:
    image = data.read_image(index, META.decoding)
    labels = _bits(image.transpose(2, 0, 1) > 0).astype(np.uint8)
    mask = data.read_mask(index) if data.info.has_masks else None
    return ImageResult(index, data.name(index), labels, image, mask)
