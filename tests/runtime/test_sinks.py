"""What sinks write, what they refuse, and that they never leave half a file."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from segplug.dataset import DatasetInfo, LabelFormat
from segplug.engine import EngineSpec
from segplug.errors import ArtifactError, DatasetError, UsageError
from segplug.model import ModelMeta
from segplug.palette import distinct_palette
from segplug.progress import QuietReporter
from segplug.runtime.display import DisplaySink
from segplug.runtime.drawing import PictureSettings
from segplug.runtime.folder import FolderDataset, ImageList
from segplug.runtime.paint import Painter
from segplug.runtime.pipeline import run
from segplug.runtime.raw import RawSink
from segplug.runtime.sinks import LabelMapSink, PaintSink, ScoreSink
from segplug.testing.engines import ArrayDataset, FunctionEngine

CLASSES = ("a", "b", "c")
PALETTE = ((1, 2, 3), (250, 0, 9), (7, 77, 177))
META = ModelMeta("m", classes=CLASSES, palette=PALETTE, out_channels=3)


def _labels_of(image: np.ndarray) -> np.ndarray:
    """The label that the test network gives: the strongest channel, the first of equals."""
    return image.argmax(axis=2).astype(np.uint8)


def _engine(meta: ModelMeta = META) -> FunctionEngine:
    return FunctionEngine(EngineSpec(meta, "logits", backend="test"), lambda batch: batch.copy())


def _images(number: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8) for i in range(number)]


class _Named(ArrayDataset):
    def __init__(self, images, names, **info):
        super().__init__(images, info=DatasetInfo("named", CLASSES, has_masks=False, **info))
        self._names = names

    def name(self, index: int) -> str:
        return self._names[index]


def test_painted_images_lie_under_the_same_names(tmp_path):
    images = _images()
    dataset = _Named(images, ["a.png", "sub/b.png", "sub/c.gifx"])
    run(_engine(), dataset, [PaintSink(tmp_path / "out", PictureSettings(opacity=0.3))])
    names = ["a.png", "sub/b.png", "sub/c.gifx.png"]
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert files == names
    for image, name in zip(images, names, strict=True):
        expected = Painter(PALETTE, opacity=0.3)(image, _labels_of(image))
        assert np.array_equal(cv2.imread(str(tmp_path / "out" / name)), expected)


def test_an_image_name_that_leaves_the_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"\.\./a\.png"):
        run(_engine(), _Named(_images(1), ["../a.png"]), [PaintSink(tmp_path / "out")])
    assert not (tmp_path / "a.png").exists()


def test_label_maps_have_the_palette_when_the_data_set_says_nothing(tmp_path):
    images = _images()
    run(_engine(), _Named(images, ["x/a.jpg", "b.png", "c.png"]), [LabelMapSink(tmp_path)])
    for image, name in zip(images, "abc", strict=True):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.mode == "P"
            assert picture.getpalette()[:9] == [value for colour in PALETTE for value in colour]
            assert np.array_equal(np.array(picture), _labels_of(image))


def test_label_maps_are_written_in_the_data_sets_ids(tmp_path):
    images = _images(1)
    form = LabelFormat(ids={0: 7, 1: 8, 2: 33}, palette=tuple((i, 0, 255 - i) for i in range(34)))
    run(_engine(), _Named(images, ["a.png"], label_format=form), [LabelMapSink(tmp_path)])
    with Image.open(tmp_path / "a.png") as picture:
        assert np.array_equal(np.array(picture), np.array([7, 8, 33], np.uint8)[_labels_of(images[0])])
        assert picture.getpalette()[33 * 3 : 34 * 3] == [33, 0, 222]
    run(
        _engine(),
        _Named(images, ["g.png"], label_format=LabelFormat(ids={0: 1, 1: 2, 2: 3})),
        [LabelMapSink(tmp_path)],
    )
    with Image.open(tmp_path / "g.png") as picture:
        assert picture.mode == "L"
        assert np.array_equal(np.array(picture), _labels_of(images[0]) + 1)


def test_an_empty_format_means_greyscale_labels(tmp_path):
    images = _images(1)
    run(_engine(), _Named(images, ["a.png"], label_format=LabelFormat()), [LabelMapSink(tmp_path)])
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "L"
        assert np.array_equal(np.array(picture), _labels_of(images[0]))


def test_label_maps_that_would_share_a_file_are_refused_before_any_work(tmp_path):
    engine = _engine()
    with pytest.raises(UsageError, match=r"a\.png"):
        run(engine, _Named(_images(2), ["x/a.png", "y/a.jpg"]), [LabelMapSink(tmp_path)])
    assert not engine.shapes


def test_parts_get_a_folder_each(tmp_path):
    dataset = _Named(_images(3), ["x/a.png", "y/a.png", "y/b.png"], parts=(("x", 1), ("y", 2)))
    run(_engine(), dataset, [LabelMapSink(tmp_path)])
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png")) == [
        "0/a.png",
        "1/a.png",
        "1/b.png",
    ]


@pytest.mark.parametrize("key", ["", "a run with a journal"])
def test_raw_results_are_one_npz(tmp_path, key):
    images = _images()
    out = tmp_path / "raw.npz"
    run(_engine(), _Named(images, ["a.png", "d/b.png", "c.png"]), [RawSink(out)], run_key=key)
    with np.load(out) as stored:
        assert list(stored) == ["a.png", "d/b.png", "c.png"]
        for image, labels in zip(images, stored.values(), strict=True):
            assert labels.dtype == np.uint8
            assert np.array_equal(labels, _labels_of(image))
    assert [path.name for path in tmp_path.iterdir()] == ["raw.npz"]


@pytest.mark.parametrize(("values", "told"), [((0, 255), True), ((0, 1, 255), False), ((0,), False)])
def test_masks_of_0_and_255_are_told_of(values, told):
    images = _images(2)
    masks = [np.resize(np.array(values, np.uint8), image.shape[:2]) for image in images]
    reporter = QuietReporter()
    run(_engine(), ArrayDataset(images, masks), [ScoreSink()], reporter=reporter)
    found = [text for text in reporter.warnings if "no pixel of b or c, and some of 255" in text]
    assert bool(found) == told


def test_one_class_alone_has_no_other_to_miss():
    images = _images(1)
    meta = ModelMeta("m", classes=("a",), out_channels=1, activation="sigmoid")
    masks = [np.resize(np.array((0, 255), np.uint8), images[0].shape[:2])]
    reporter = QuietReporter()
    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), lambda batch: batch[:, :1].copy())
    run(engine, ArrayDataset(images, masks), [ScoreSink()], reporter=reporter)
    assert not [text for text in reporter.warnings if "which is ignored" in text]


def test_raw_results_are_not_replaced_without_force(tmp_path):
    out = tmp_path / "raw.npz"
    out.write_bytes(b"precious")
    with pytest.raises(UsageError, match="--force"):
        RawSink(out)
    with pytest.raises(UsageError, match=r"\.npz"):
        RawSink(tmp_path / "raw.pkl")
    run(_engine(), _Named(_images(1), ["a.png"]), [RawSink(out, force=True)])
    assert out.read_bytes() != b"precious"


def _data_set(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), _images(1)[0])
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), _images(1)[0][..., 0] % 3)
    return {path: path.read_bytes() for path in tmp_path.rglob("*.png")}


def test_masks_are_never_written_over(tmp_path):
    kept = _data_set(tmp_path)
    with pytest.raises(UsageError, match="a file of the data set itself"):
        run(_engine(), FolderDataset(tmp_path), [LabelMapSink(tmp_path / "masks")])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == kept


def test_images_named_one_by_one_are_never_written_over_but_results_may_lie_beside_them(tmp_path):
    kept = _data_set(tmp_path)
    images = ImageList([tmp_path / "images" / "a.png"])
    with pytest.raises(UsageError, match="a file of the data set itself"):
        run(_engine(), images, [PaintSink(tmp_path / "images")])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == kept
    run(_engine(), images, [PaintSink(tmp_path / "images" / "out")])
    assert (tmp_path / "images" / "out" / "a.png").is_file()


@pytest.mark.parametrize("make", [PaintSink, LabelMapSink])
@pytest.mark.parametrize("where", ["images", "images/out", "link/out"])
def test_results_are_not_written_where_the_next_run_would_take_them_for_images(tmp_path, make, where):
    _data_set(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "images")
    engine = _engine()
    with pytest.raises(UsageError, match=r"output folder .*images.*image folder"):
        run(engine, FolderDataset(tmp_path), [make(tmp_path / where)])
    assert not engine.shapes
    assert not (tmp_path / "images" / "out").exists()
    run(engine, FolderDataset(tmp_path), [make(tmp_path / "out")])


@pytest.mark.parametrize("suffix", [".pgm", ".pbm"])
def test_a_format_without_colours_is_painted_as_png(tmp_path, suffix):
    run(_engine(), _Named(_images(1), [f"a{suffix}"]), [PaintSink(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}.png"]
    assert cv2.imread(str(tmp_path / f"a{suffix}.png")).shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", [".webp", ".jpg"])
def test_an_image_too_large_for_its_format_is_painted_as_png(tmp_path, suffix):
    images = [np.zeros((1, 66000, 3), np.uint8), *_images(1)]
    names = [f"large{suffix}", f"small{suffix}"]
    run(_engine(), _Named(images, names), [PaintSink(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"large{suffix}.png", f"small{suffix}"]
    taken = [f"large{suffix}", f"large{suffix}.png"]
    with pytest.raises(ArtifactError, match="another image has this name"):
        run(_engine(), _Named(images, taken), [PaintSink(tmp_path / "again")])


def test_what_cannot_be_painted_at_all_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr("cv2.imencode", lambda *_: (False, None))
    with pytest.raises(ArtifactError, match=r"a\.png.*cannot encode"):
        run(_engine(), _Named(_images(1), ["a.png"]), [PaintSink(tmp_path)])


def test_painted_images_that_would_share_a_file_are_refused_before_any_work(tmp_path):
    engine = _engine()
    with pytest.raises(UsageError, match=r"noext\.png"):
        run(engine, _Named(_images(2), ["noext", "noext.png"]), [PaintSink(tmp_path / "out")])
    assert not engine.shapes
    assert not (tmp_path / "out").exists()


def test_a_window_without_a_display_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UsageError, match="--show-dir"):
        DisplaySink()


def test_a_display_that_does_not_answer_is_refused_before_any_work(monkeypatch):
    """The window library itself would end the process."""
    monkeypatch.setenv("DISPLAY", ":98765")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UsageError, match="--show-dir"):
        DisplaySink()


@pytest.fixture
def keys(monkeypatch):
    """A display without a screen: the keys that are pressed, one at each look."""
    pressed = []

    def wait(milliseconds):
        assert milliseconds > 0, "this waits for ever"
        time.sleep(0.001)
        return pressed.pop(0)

    monkeypatch.setattr("segplug.runtime.display._require_display", lambda _: None)
    for name in ("imshow", "setWindowTitle", "destroyAllWindows"):
        monkeypatch.setattr(f"cv2.{name}", lambda *_: None)
    monkeypatch.setattr("cv2.waitKey", wait)
    return pressed


def test_a_picture_is_shown_until_a_key_is_pressed(keys):
    keys += [-1, -1, 32, -1, 32, 27]
    run(_engine(), ArrayDataset(_images(2)), [DisplaySink()])
    assert keys == [27]


def test_an_interrupted_run_does_not_wait_for_a_key(keys):
    keys += [-1] * 5000 + [32] * 3

    def function(batch):
        if len(engine.shapes) == 2:
            raise KeyboardInterrupt
        return batch.copy()

    engine = FunctionEngine(EngineSpec(META, "logits"), function)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run(engine, ArrayDataset(_images(3)), [DisplaySink()])
    assert threading.active_count() == before
    assert len(keys) > 3, "it waited until a key was pressed"


def _scored(info_classes=CLASSES, masks=None, **info):
    images = _images()
    masks = masks or [_labels_of(image) for image in images]
    return ArrayDataset(images, masks, DatasetInfo("d", info_classes, fingerprint="d", **info))


def test_a_perfect_prediction_scores_one():
    report = run(_engine(), _scored(), [ScoreSink(("mIoU", "mFscore"))])
    assert report.scores.metrics["mIoU"] == 1
    assert report.scores.metrics["mRecall"] == 1
    assert report.scores.images == 3


def test_a_data_set_without_class_names_gets_the_models():
    report = run(_engine(), _scored(()), [ScoreSink()])
    assert report.scores.classes == CLASSES


def test_the_data_sets_own_way_to_score_counts_unless_another_is_given():
    masks = [np.minimum(_labels_of(image), 1) for image in _images()]  # the last class does not occur
    dataset = _scored(masks=masks, nan_to_num=0.5, beta=2.0)
    plain = _scored(masks=masks)
    metrics = ("mIoU", "mFscore")
    found = run(_engine(), dataset, [ScoreSink(metrics)]).scores.metrics
    assert found == run(_engine(), plain, [ScoreSink(metrics, nan_to_num=0.5, beta=2.0)]).scores.metrics
    given = run(_engine(), dataset, [ScoreSink(metrics, nan_to_num=0.25, beta=1.0)]).scores.metrics
    assert given == run(_engine(), plain, [ScoreSink(metrics, nan_to_num=0.25)]).scores.metrics
    assert given["mFscore"] != found["mFscore"]


def test_scoring_without_masks_and_with_other_classes_is_refused_before_any_work():
    engine = _engine()
    with pytest.raises(UsageError, match="no masks"):
        run(engine, ArrayDataset(_images()), [ScoreSink()])
    info = DatasetInfo("d", CLASSES, has_masks=False, masks_hint="set masks=...", fingerprint="d")
    with pytest.raises(UsageError, match="no masks") as caught:
        run(engine, ArrayDataset(_images(), info=info), [ScoreSink()])
    assert caught.value.hint == "set masks=..."
    with pytest.raises(UsageError, match=r"predicts 3 classes.*has 2"):
        run(engine, _scored(("a", "b")), [ScoreSink()])
    assert not engine.shapes


def test_classes_of_other_names_are_a_warning():
    report = run(_engine(), _scored(("a", "x", "c")), [ScoreSink()])
    assert any("b and x" in warning for warning in report.warnings)


def test_unknown_mask_values_are_one_warning_that_names_them():
    masks = [_labels_of(image) for image in _images()]
    masks[1][0, 0], masks[2][0, 1] = 77, 99
    reporter = QuietReporter()
    report = run(_engine(), _scored(masks=masks), [ScoreSink()], reporter=reporter)
    assert len(report.warnings) == len(reporter.warnings) == 1
    assert "77" in report.warnings[0]
    assert "0001.png" in report.warnings[0]


def test_parts_are_scored_apart():
    masks = [_labels_of(image) for image in _images()]
    masks[0] = (masks[0] + 1) % 3
    report = run(_engine(), _scored(masks=masks, parts=(("one", 1), ("two", 2))), [ScoreSink()])
    assert report.scores.metrics["0_mIoU"] == 0
    assert report.scores.metrics["1_mIoU"] == 1
    assert 0 < report.scores.metrics["mIoU"] < 1


def test_painting_without_any_palette_uses_distinct_colours(tmp_path):
    meta = META.replace(palette=())
    image = _images(1)[0]
    run(_engine(meta), _Named([image], ["a.png"]), [PaintSink(tmp_path, PictureSettings(opacity=1))])
    expected = np.array(distinct_palette(3), np.uint8)[_labels_of(image)][..., ::-1]
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png")), expected)
