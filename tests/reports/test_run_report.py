"""The page of a run: its scores, which images it shows, what a resumed run writes."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from segplug.dataset import DatasetInfo
from segplug.engine import EngineSpec
from segplug.errors import DatasetError, UsageError
from segplug.model import ModelMeta
from segplug.reports.run_report import ReportSink
from segplug.runtime.drawing import PictureSettings
from segplug.runtime.pipeline import run
from segplug.runtime.sinks import ScoreSink
from segplug.testing.engines import ArrayDataset, FunctionEngine

CLASSES = ("road", "<b>sky", "car")
META = ModelMeta("street", classes=CLASSES, out_channels=3)
MARK = (0, 94, 213)


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


def _image(index):
    return np.random.default_rng(index).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def _labels(image):
    return image.argmax(axis=2).astype(np.uint8)


def _mask(index):
    """The prediction with ``index`` wrong rows, one row ignored."""
    mask = _labels(_image(index))
    mask[:index] = (mask[:index] + 1) % 3
    mask[15] = 255
    return mask


def _set(number, **info):
    images = [_image(index) for index in range(number)]
    described = DatasetInfo("street scenes", CLASSES, fingerprint=f"{number}", **info)
    return ArrayDataset(images, [_mask(index) for index in range(number)], described)


def _engine(after=1000, meta=META):
    def network(batch):
        if len(engine.shapes) > after:
            raise KeyboardInterrupt
        return batch.copy()

    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), network)
    return engine


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tables, self.pictures, self.paragraphs, self._open = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag == "img":
            given = dict(attributes)
            content = base64.b64decode(given["src"].partition(",")[2])
            self.pictures.append((given["alt"], cv2.imdecode(np.frombuffer(content, np.uint8), 1)))
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._open = "cell"
        elif tag == "p":
            self.paragraphs.append("")
            self._open = "text"

    def handle_endtag(self, tag):
        if tag in ("td", "th", "p"):
            self._open = None

    def handle_data(self, data):
        if self._open == "cell":
            self.tables[-1][-1][-1] += data
        elif self._open == "text":
            self.paragraphs[-1] += data


def _page(path):
    return _Page(path.read_text(encoding="utf-8"))


def test_the_page_has_the_runs_scores_and_the_images_in_order(tmp_path):
    sink = ReportSink(tmp_path / "r.html", metrics=["mIoU", "mFscore"], images=4, command="segplug infer x")
    report = run(_engine(), _set(9), [ScoreSink(["mIoU", "mFscore"]), sink])
    page = _page(tmp_path / "r.html")
    columns, *rows = page.tables[0]
    assert columns[:4] == ["class", *list(report.scores.per_class)[:3]]
    for number, (name, *values) in enumerate(rows):
        assert name == CLASSES[number]
        expected = [f"{scores[number]:.4f}" for scores in report.scores.per_class.values()]
        assert values[: len(expected)] == expected
    assert page.paragraphs[0].startswith(f"9 images: mIoU {report.scores.metrics['mIoU']:.2%}")
    titles = [text for text in page.paragraphs if text.startswith("0")]
    assert [title.partition(":")[0] for title in titles] == [f"{i:04d}.png" for i in (8, 7, 6, 0)]
    assert titles[-1].endswith("mIoU 100.00%")
    parts = [alt.partition(": ")[2] for alt, _ in page.pictures]
    assert parts == ["image", "truth", "prediction", "difference"] * 4
    assert [round(_marked(picture)) for _, picture in page.pictures[3::4]] == [8, 7, 6, 0]


def _marked(picture):
    """How many rows of a difference are marked; JPEG changes colours a little."""
    near = np.abs(picture.astype(int) - MARK).max(axis=2) < 60
    return near.sum() / picture.shape[1]


def test_the_confusion_is_that_of_the_label_maps(tmp_path):
    run(_engine(), _set(9), [ReportSink(tmp_path / "r.html", images=0)])
    page = _page(tmp_path / "r.html")
    assert not page.pictures
    (pairs,) = (table for table in page.tables if table[0][:2] == ["true class", "predicted as"])
    expected = {}
    for index in range(9):
        for true, label in zip(_mask(index).ravel(), _labels(_image(index)).ravel(), strict=True):
            if true not in (label, 255):
                key = (CLASSES[true], CLASSES[label])
                expected[key] = expected.get(key, 0) + 1
    assert {(true, label): int(pixels) for true, label, pixels, *_ in pairs[1:]} == expected
    drawn = re.findall(r"<title>(\S+) predicted as (\S+): ([\d.]+)%", (tmp_path / "r.html").read_text())
    shares = {(true, label): float(share) for true, label, share in drawn}
    assert shares["road", "car"] > 0
    assert sum(share for (true, _), share in shares.items() if true == "car") == pytest.approx(100, abs=0.03)
    assert "<b>sky" not in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("masks", [True, False])
def test_a_resumed_run_writes_the_same_page(tmp_path, masks):
    path, (whole, resumed) = tmp_path / "r.html", [_set(12, has_masks=masks) for _ in range(2)]
    run(_engine(), whole, [ReportSink(path, images=4)])
    expected = _page(path)
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        run(_engine(after=8), resumed, [ReportSink(path, images=4)], run_key="k")
    assert not path.exists()
    report = run(_engine(), resumed, [ReportSink(path, images=4)], run_key="k", resume=True)
    found = _page(path)
    assert report.resumed > 3
    assert _without_time(found) == _without_time(expected)
    assert [alt for alt, _ in found.pictures] == [alt for alt, _ in expected.pictures]
    assert all(
        np.array_equal(one, two) for (_, one), (_, two) in zip(found.pictures, expected.pictures, strict=True)
    )
    assert f", {report.resumed} of them from the interrupted run" in path.read_text()
    assert not list((tmp_path / "state").rglob("report-*"))


def _without_time(page):
    return [table for table in page.tables if table[1][0] != "data set"]


def test_without_masks_the_page_has_shares_and_images_of_the_whole_length(tmp_path):
    report = run(_engine(), _set(9, has_masks=False), [ReportSink(tmp_path / "r.html", images=3)])
    page = _page(tmp_path / "r.html")
    shares = {name: float(share) for name, _, share in page.tables[0][1:]}
    counts = sum(np.bincount(_labels(_image(index)).ravel(), minlength=3) for index in range(9))
    assert shares == pytest.approx(dict(zip(CLASSES, counts / counts.sum(), strict=True)), abs=1e-4)
    assert [alt for alt, _ in page.pictures[::2]] == [f"{i:04d}.png: image" for i in (0, 4, 8)]
    assert report.scores is None


def test_a_model_of_one_class_has_the_runs_scores_and_two_labels(tmp_path):
    meta = ModelMeta("one", classes=("thing",), out_channels=1, activation="sigmoid", threshold=0.5)
    masks = [np.full((4, 4), index % 2, np.uint8) for index in range(3)]
    images = [np.full((4, 4, 1), 9 * (index > 0), np.float32) for index in range(3)]
    dataset = ArrayDataset(images, masks, DatasetInfo("d", ("thing",)))
    engine = FunctionEngine(
        EngineSpec(meta.replace(in_channels=1), "logits", backend="test"), lambda batch: batch - 5
    )
    report = run(engine, dataset, [ScoreSink(), ReportSink(tmp_path / "r.html")])
    page = _page(tmp_path / "r.html")
    assert page.tables[0][1][:3] == ["thing", *(f"{v[0]:.4f}" for v in report.scores.per_class.values())]
    (pairs,) = (table for table in page.tables if table[0][:2] == ["true class", "predicted as"])
    assert [row[:3] for row in pairs[1:]] == [["background", "thing", "16"]]


def test_the_parts_of_a_data_set_are_scored_apart_and_skipped_images_are_listed(tmp_path):
    class Broken(ArrayDataset):
        def read_image(self, index, decoding):
            if index == 1:
                raise DatasetError("0001.png is damaged")
            return super().read_image(index, decoding)

    info = DatasetInfo("both", CLASSES, parts=(("day", 2), ("night", 2)))
    dataset = Broken([_image(i) for i in range(4)], [_mask(i) for i in range(4)], info)
    report = run(_engine(), dataset, [ScoreSink(), ReportSink(tmp_path / "r.html")], on_error="skip")
    page = _page(tmp_path / "r.html")
    by_part = {table[0][1]: table[1] for table in page.tables if table[0][0] == "aAcc"}
    assert by_part["mIoU"][1] == f"{report.scores.metrics['1_mIoU']:.4f}"
    assert page.tables[-1][1] == ["0001.png", "0001.png is damaged"]


def test_what_cannot_be_done_is_refused_before_the_run(tmp_path):
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        ReportSink(tmp_path / "there.html")
    (tmp_path / "model.onnx").write_text("mine")
    with pytest.raises(UsageError, match=r"model\.onnx does not end in \.html"):
        ReportSink(tmp_path / "model.onnx", force=True)
    with pytest.raises(UsageError, match="0 to 200 images, not 201"):
        ReportSink(tmp_path / "r.html", images=201)
    with pytest.raises(UsageError, match="there is no palette nowhere"):
        ReportSink(tmp_path / "r.html", pictures=PictureSettings(palette="nowhere"))
    engine = _engine()
    four = DatasetInfo("four", ("a", "b", "c", "d"))
    with pytest.raises(UsageError, match="predicts 3 classes, the data set four has 4"):
        run(engine, ArrayDataset([_image(0)], [_mask(0)], four), [ReportSink(tmp_path / "r.html")])
    assert engine.shapes == []
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("note", [None, [[0, 1]], [[0, 1, -1]], [[0, 4, 1]], [[0, 1, True]], "x"])
def test_damaged_notes_of_a_journal_are_not_taken(tmp_path, note):
    sink = ReportSink(tmp_path / "r.html")
    with pytest.raises(KeyboardInterrupt):
        run(_engine(after=0), _set(3), [sink])  # opened by the run
    assert sink.has(0, {"pairs": [[0, 1, 5], [3, 3, 1]]})
    assert not sink.has(0, {"pairs": note})


def test_a_background_that_is_not_painted_is_called_so(tmp_path):
    meta = ModelMeta("two", out_channels=2, in_channels=2)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 2), dtype=np.uint8)
    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), lambda batch: batch.copy())
    run(engine, ArrayDataset([image]), [ReportSink(tmp_path / "r.html")])
    text = (tmp_path / "r.html").read_text()
    assert '<i style="background: none"></i>background (not painted)' in text
    assert '<i style="background: rgb(230, 159, 0)"></i>class 1<' in text
