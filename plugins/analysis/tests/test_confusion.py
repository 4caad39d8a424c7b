"""``analyze confusion``: results against masks, whatever wrote them."""

from __future__ import annotations

import json
import os
import pickle
import re
import resource
import zipfile

import numpy as np
import pytest
from PIL import Image
from segplug_analysis.confusion.drawing import ConfusionPicture
from segplug_analysis.confusion.matrix import Confusion

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.runtime.raw import BIT_MASKS

CLASSES = ("sky", "road", "car")
NAMES = ("a.png", "sub/b.png")
IGNORED = 255


@pytest.fixture
def truth():
    random = np.random.default_rng(0)
    masks = {name: random.integers(0, 3, (20, 30), dtype=np.uint8) for name in NAMES}
    masks["a.png"][0, :] = IGNORED
    return masks


@pytest.fixture
def predicted(truth):
    """What a model might say: mostly the truth, and some roads and cars taken for one another."""
    random = np.random.default_rng(1)
    return {
        name: np.where(random.random(mask.shape) < 0.8, mask % 3, random.integers(1, 3, mask.shape)).astype(
            np.uint8
        )
        for name, mask in truth.items()
    }


@pytest.fixture
def dataset(tmp_path, truth):
    root = tmp_path / "data"
    for name, mask in truth.items():
        for folder, picture in (("images", np.zeros((*mask.shape, 3), np.uint8)), ("masks", mask)):
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return root


def test_bit_masks_of_several_classes_are_refused(dataset, results, capsys):
    """Also where their values happen to be labels of the data set."""
    with zipfile.ZipFile(results, "a") as archive:
        archive.comment = BIT_MASKS
    options = [f"classes={','.join(CLASSES)}"]
    arguments = [
        "analyze",
        "confusion",
        str(results),
        "--dataset",
        str(dataset),
        "--dataset-options",
        *options,
    ]
    assert run_command_line(arguments) == 2
    assert (
        "has bit masks: a pixel may have several classes, and no confusion matrix" in capsys.readouterr().err
    )


@pytest.fixture
def results(tmp_path, predicted):
    path = tmp_path / "run.npz"
    np.savez_compressed(path, **predicted)
    return path


def analyze(results, dataset, **options):
    options = {"dataset_options": {"classes": CLASSES}, **options}
    return Segplug().analyze("confusion", results, dataset=str(dataset), **options)


def command(results, dataset, *more):
    words = ["run", "analyze", "confusion", str(results), "--dataset", str(dataset)]
    return run_command_line([*words, "--dataset-options", f"classes={' '.join(CLASSES)}", *more])


def expected(truth, predicted):
    matrix = np.zeros((3, 3), int)
    for name, mask in truth.items():
        for true, label in zip(mask.flat, predicted[name].flat, strict=True):
            if true != IGNORED:
                matrix[true, label] += 1
    return matrix


def test_every_pixel_is_counted_once_and_ignored_ones_never(results, dataset, truth, predicted):
    report = analyze(results, dataset)
    assert report.data["pixels"] == expected(truth, predicted).tolist()
    assert report.data["classes"] == list(CLASSES)
    assert report.data["images"] == 2


@pytest.mark.parametrize("normalize", ["true", "prediction", "all", "none"])
def test_normalisation(results, dataset, truth, predicted, normalize):
    matrix = expected(truth, predicted)
    report = analyze(results, dataset, normalize=normalize)
    wanted = {
        "true": matrix / matrix.sum(1, keepdims=True),
        "prediction": matrix / matrix.sum(0, keepdims=True),
        "all": matrix / matrix.sum(),
        "none": matrix,
    }[normalize]
    shown = report.data["normalized"] if normalize != "none" else report.data["pixels"]
    np.testing.assert_allclose(shown, wanted)
    table = next(table for table in report.tables if table.title.startswith("confusion matrix"))
    np.testing.assert_allclose([row[1:] for row in table.rows], wanted)
    assert report.figures[0].draw().startswith(b"<?xml")


def test_the_most_confused_pairs_come_first(results, dataset, truth, predicted):
    matrix = expected(truth, predicted)
    pairs = analyze(results, dataset, top=2).data["pairs"]
    wrong = matrix - np.diag(np.diag(matrix))
    assert [pair["pixels"] for pair in pairs] == sorted(wrong.flat, reverse=True)[:2]
    row, column = CLASSES.index(pairs[0]["truth"]), CLASSES.index(pairs[0]["predicted"])
    assert pairs[0]["pixels"] == matrix[row, column]
    assert pairs[0]["share_of_truth"] == pytest.approx(matrix[row, column] / matrix[row].sum())
    assert pairs[0]["share_of_errors"] == pytest.approx(matrix[row, column] / wrong.sum())


def test_a_folder_of_label_maps_gives_the_same(results, dataset, predicted, tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    for name, labels in predicted.items():
        Image.fromarray(labels).save(folder / name.rpartition("/")[2])
    assert analyze(folder, dataset).data == analyze(results, dataset).data


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_pickle_of_mmseg_gives_the_same(results, dataset, predicted, tmp_path, protocol):
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps([predicted[name].astype(np.int64) for name in NAMES], protocol))
    assert analyze(path, dataset).data == analyze(results, dataset).data


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused_unless_trusted(dataset, tmp_path, capsys):
    path, made = tmp_path / "results.pkl", tmp_path / "made"
    path.write_bytes(pickle.dumps([Touch(made)]))
    assert command(path, dataset) == 1
    printed = capsys.readouterr().err
    assert "results.pkl holds more than arrays: posix.mkdir" in printed
    assert "--trust-results" in printed
    assert printed.count("\n") == 1
    assert not made.exists()
    assert command(path, dataset, "--trust-results") == 1
    assert "is no list of label maps" in capsys.readouterr().err
    assert made.is_dir()


def test_a_pickle_that_asks_for_much_memory(dataset, tmp_path, capsys):
    path = tmp_path / "results.pkl"
    path.write_bytes(
        b"\x80\x02]r\xf0\xff\xff\x7f."
    )  # an empty list, with the number 2,147,483,632 in its memo
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert command(path, dataset) == 1
    assert "holds 0 results" in capsys.readouterr().err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_a_pickle_that_does_not_fit_into_memory(dataset, tmp_path, capsys):
    path = tmp_path / "results.pkl"
    with open(path, "wb") as file:
        file.truncate(1 << 42)
    assert command(path, dataset) == 1
    printed = capsys.readouterr().err
    assert "have 4,398,046,511,104 bytes, more than the" in printed
    assert printed.count("\n") == 1


def test_values_of_masks_that_are_no_class_are_told_and_count_as_wrong_predictions(
    results, dataset, truth, predicted, capsys
):
    mask = truth["a.png"].copy()
    mask[5] = 17
    Image.fromarray(mask).save(dataset / "masks" / "a.png")
    assert command(results, dataset, "--json") == 0
    printed = capsys.readouterr()
    assert "neither a class nor the ignored 255: 17" in printed.err
    data = json.loads(printed.out)
    outside = np.bincount(predicted["a.png"][5], minlength=3)
    assert data["predicted_outside_of_classes_pixels"] == outside.tolist()
    matrix = np.array(data["pixels"])
    iou = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) + outside - np.diag(matrix))
    assert data["scores"]["per_class"]["IoU"] == pytest.approx(iou.tolist())


def test_results_and_images_that_do_not_belong_together(dataset, predicted, tmp_path, capsys):
    path = tmp_path / "run.npz"
    np.savez(path, **{"a.png": predicted["a.png"], "c.png": predicted["a.png"]})
    assert command(path, dataset) == 1
    printed = capsys.readouterr().err
    assert "1 of its 2 images without a result (sub/b.png) and 1 result without an image (c.png)" in printed


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((30, 20), np.uint8), "the result of a.png is 30x20 (height x width), its mask 20x30"),
        (np.full((20, 30), 3, np.uint8), "holds the label 3, and the data set data has 3 classes (0 to 2)"),
        (np.full((20, 30), -1, np.int64), "holds the label -1"),
        (np.zeros((20, 30), np.float32), "the result of a.png is no label map: float32 of shape 20x30"),
        (np.zeros((1, 20, 30), np.uint8), "is no label map: uint8 of shape 1x20x30"),
    ],
)
def test_results_that_do_not_fit(dataset, predicted, tmp_path, capsys, labels, message):
    path = tmp_path / "run.npz"
    np.savez(path, **(predicted | {"a.png": labels}))
    assert command(path, dataset) == 1
    assert message in capsys.readouterr().err


def test_results_that_cannot_be_read(results, dataset, tmp_path, capsys):
    cut = tmp_path / "cut.npz"
    cut.write_bytes(results.read_bytes()[:300])
    damaged = tmp_path / "damaged.npz"
    content = bytearray(results.read_bytes())
    content[60:120] = b"\xff" * 60
    damaged.write_bytes(content)
    objects = tmp_path / "objects.npz"
    np.savez(objects, **{name: np.array([Touch(tmp_path / "made")], object) for name in NAMES})
    nothing = tmp_path / "empty.pkl"
    nothing.write_bytes(b"")
    text = tmp_path / "notes.txt"
    text.write_text("x")
    for path, code, message in (
        (cut, 1, "are damaged"),
        (damaged, 1, "the result of a.png in"),
        (objects, 1, "Object arrays cannot be loaded"),
        (nothing, 1, "cannot be read"),
        (text, 2, "has no predictions in a known format"),
        (tmp_path / "gone.npz", 2, "there is no file"),
    ):
        assert command(path, dataset) == code
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.count("\n") == 1
    assert not (tmp_path / "made").exists()


def test_missing_results_are_named_before_the_data_set_is_opened(tmp_path, capsys):
    assert command(tmp_path / "gone.npz", tmp_path / "no_data") == 2
    assert "gone.npz" in capsys.readouterr().err


def changed(results, path, offset, value):
    """The archive with another byte in the entry of its first member in the directory."""
    content = bytearray(results.read_bytes())
    content[content.find(b"PK\x01\x02") + offset] = value
    path.write_bytes(content)
    return path


def test_archives_that_only_look_like_results(results, dataset, tmp_path, capsys):
    texts = tmp_path / "texts.npz"
    with zipfile.ZipFile(texts, "w") as archive:
        for name in NAMES:
            archive.writestr(name + ".npy", "hello")
    for path, message in (
        (changed(results, tmp_path / "directory.npz", 0, 0x51), "directory.npz are damaged: Bad magic"),
        (changed(results, tmp_path / "method.npz", 10, 99), "method.npz is damaged: That compression"),
        (changed(results, tmp_path / "secret.npz", 8, 1), "secret.npz is damaged: File"),
        (texts, "the result of a.png in"),
    ):
        assert command(path, dataset) == 1
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.count("\n") == 1


def test_results_of_eval_are_refused(dataset, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps([(torch.zeros(3),) * 4] * 2))
    assert command(path, dataset) == 1
    printed = capsys.readouterr().err
    assert "is no list of label maps" in printed
    assert "--trust-results" not in printed


def test_wrong_options(results, dataset, tmp_path, capsys):
    masks = dataset / "masks"
    words = ["run", "analyze", "confusion", str(results)]
    for more, message in (
        ([], "add --dataset CONFIG|FOLDER"),
        (["--dataset", str(dataset)], "has no names of classes"),
        (["--dataset", str(masks)], "has no masks to compare with"),
        (["--dataset", str(dataset), "--cfg-options", "a=b"], "--dataset is a folder"),
        ([str(results), "--dataset", str(dataset)], "takes one file or folder, not 2"),
        (["--dataset", str(dataset), "--out", str(tmp_path / "x.bmp")], "name it .png, .svg or .pdf"),
    ):
        assert run_command_line([*words, *more]) == 2
        assert message in capsys.readouterr().err


def test_the_command_writes_picture_page_and_sheets(results, dataset, tmp_path, capsys):
    out, page, sheets = tmp_path / "c.pdf", tmp_path / "c.html", tmp_path / "sheets"
    assert command(results, dataset, "--out", str(out), "--html", str(page), "--csv", str(sheets)) == 0
    assert "predicted as" in capsys.readouterr().out
    assert out.read_bytes().startswith(b"%PDF")
    assert "Confusion of run.npz on data" in page.read_text()
    assert (
        (sheets / "confusion-matrix-shares-of-the-true-class.csv")
        .read_text()
        .startswith('"true / predicted","sky","road","car"\n"sky",')
    )


def synthetic(count):
    random = np.random.default_rng(count)
    pixels = random.integers(0, 1000, (count, count)) ** 2
    pixels[-1] = 0  # a class that the masks do not have
    none = np.zeros(count, np.int64)
    return Confusion(tuple(f"class {n}" for n in range(count)), pixels, none, none, 1)


@pytest.mark.parametrize(("count", "normalize"), [(1, "true"), (2, "none"), (25, "true"), (40, "none")])
def test_a_picture_of_any_number_of_classes_names_them_all(count, normalize):
    confusion = synthetic(count)
    content = ConfusionPicture(confusion, normalize, "title").encoded("svg").decode()
    for name in confusion.classes:
        assert content.count(f"<!-- {name} -->") >= (2 if count <= 25 else 4)
    assert "<!-- predicted -->" in content
    assert "<!-- true -->" in content


def test_a_picture_of_very_many_classes_stays_small_and_names_some():
    confusion = synthetic(200)
    picture = ConfusionPicture(confusion, "true", "title")
    content = picture.encoded("svg").decode()
    assert [name for name in confusion.classes if f"<!-- {name} -->" in content] == list(
        confusion.classes[::2]
    )
    assert picture.notes() == ["the picture has the names of one in 2 classes"]
    wide, high = (float(side) for side in re.findall(r'(?:width|height)="([\d.]+)pt"', content)[:2])
    assert max(wide, high) / 72 * 150 < 4700
    assert ConfusionPicture(synthetic(150), "true", "title").notes() == []


def test_names_of_classes_are_no_formulas():
    none = np.zeros(3, np.int64)
    confusion = Confusion((r"$\foo$", "a_$", "\ue123"), np.ones((3, 3), np.int64), none, none, 1)
    picture = ConfusionPicture(confusion, "true", r"a $\foo$ b")
    content = picture.encoded("svg").decode()
    for text in (r"$\foo$", "a_$", r"a $\foo$ b"):
        assert f"<!-- {text} -->" in content
    assert len(picture.notes()) == 1


def test_a_matrix_too_large_for_a_screen_is_only_a_sheet(dataset, tmp_path, truth, capsys):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class{n}" for n in range(40)))
    path, sheets = tmp_path / "run.npz", tmp_path / "sheets"
    np.savez(path, **{name: mask % 3 for name, mask in truth.items()})
    words = ["run", "analyze", "confusion", str(path), "--dataset", str(dataset), "--csv", str(sheets)]
    assert run_command_line([*words, "--dataset-options", f"classes={names}"]) == 0
    assert "confusion matrix" not in capsys.readouterr().out
    rows = (sheets / "confusion-matrix-shares-of-the-true-class.csv").read_text().splitlines()
    assert len(rows) == 41
    assert len(rows[0].split(",")) == 41


class Server:
    """A data set whose server wants other ids than labels."""

    def __init__(self, inner, ids):
        self._inner, self._ids = inner, ids

    @property
    def info(self):
        import dataclasses

        from segplug.dataset import LabelFormat

        return dataclasses.replace(self._inner.info, label_format=LabelFormat(ids=self._ids))

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __len__(self):
        return len(self._inner)


def test_ids_of_a_server_become_labels_again_and_others_are_refused(dataset, predicted, tmp_path):
    from segplug_analysis.confusion.results import open_results

    from segplug.errors import DatasetError
    from segplug.runtime.folder import FolderDataset, FolderOptions

    ids = {0: 7, 1: -1, 2: 1}
    served = Server(FolderDataset(dataset, FolderOptions(classes=CLASSES)), ids)
    folder = tmp_path / "maps"
    folder.mkdir()
    for name, labels in predicted.items():
        written = np.array([7, 255, 1], np.uint8)[labels]
        Image.fromarray(written).save(folder / name.rpartition("/")[2])
    opened = open_results(str(folder), served, 3, trust=False)
    for index, name in enumerate(NAMES):
        np.testing.assert_array_equal(opened.labels(index), predicted[name])
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(folder / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png has the value 0, which is no class id"):
        opened.labels(0)


def opened_with_ids(dataset, folder, ids, classes):
    from segplug_analysis.confusion.results import open_results

    from segplug.runtime.folder import FolderDataset, FolderOptions

    names = tuple(f"class {number}" for number in range(classes))
    return open_results(
        str(folder), Server(FolderDataset(dataset, FolderOptions(classes=names)), ids), classes, trust=False
    )


def test_many_classes_have_ids_too(dataset, predicted, tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    written = np.arange(600, dtype=np.uint16).reshape(20, 30) % 256
    for name in predicted:
        Image.fromarray(written.astype(np.uint8)).save(folder / name.rpartition("/")[2])
    every = opened_with_ids(dataset, folder, {0: 0}, 256)
    np.testing.assert_array_equal(every.labels(0), written)
    turned = opened_with_ids(dataset, folder, {label: 299 - label for label in range(300)}, 300)
    np.testing.assert_array_equal(turned.labels(0), 299 - written)


def test_ids_that_stand_for_several_labels_are_refused(dataset, predicted, tmp_path):
    from segplug.errors import DatasetError

    folder = tmp_path / "maps"
    folder.mkdir()
    for name, labels in predicted.items():
        Image.fromarray(labels).save(folder / name.rpartition("/")[2])
    with pytest.raises(DatasetError, match="writes the labels 0, 1 as one id, 1"):
        opened_with_ids(dataset, folder, {0: 1, 1: 1}, 3)


def test_scores_are_those_of_the_run_itself(data_dir, tmp_path):
    from segplug.runtime.raw import RawSink
    from segplug.runtime.sinks import LabelMapSink

    config = data_dir / "models" / "fastscnn_480x360_camvid.py"
    for part in ("test", "testannot"):  # five images of 21: the comparison is the same
        (tmp_path / part).mkdir()
        for file in sorted((data_dir / "camvid" / part).glob("*.png"))[::5]:
            (tmp_path / part / file.name).symlink_to(file)
    root = {"data.test.data_root": str(tmp_path)}
    session = Segplug()
    model = session.load_model(config, checkpoint=config.with_suffix(".pth"))
    out, folder = tmp_path / "run.npz", tmp_path / "maps"
    sinks = [RawSink(out), LabelMapSink(folder)]
    run = session.evaluate(model, backend="pytorch", dataset=config, cfg_options=root, sinks=sinks)
    for results in (out, folder):
        report = session.analyze("confusion", results, dataset=str(config), cfg_options=root)
        scores = report.data["scores"]
        assert scores["counts"] == run.scores.to_dict()["counts"]
        for metric in ("IoU", "Acc"):
            assert scores["per_class"][metric] == list(run.scores.per_class[metric])
        assert scores["metrics"]["mIoU"] == run.scores.metrics["mIoU"]
