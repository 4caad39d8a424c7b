"""``analyze parity``: scores, exported files and their reuse, differing images, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from analysis_support.parity_toys import (  # noqa: F401 (fixtures)
    CONFIG,
    SMALL,
    WEIGHTS,
    Toys,
    images_fixture,
    install_fixture,
    parity_fixture,
    table,
    toys_fixture,
    write_images,
)
from segplug_analysis.parity.compare import CompareSink
from segplug_analysis.parity.form import form_for

from segplug.api import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import ArtifactError, CheckpointError, DatasetError, SegplugError, UsageError
from segplug.model import Inference, ModelMeta
from segplug.preprocessing import Pad, Resize
from segplug.progress import QuietReporter
from segplug.reports.page import as_page
from segplug.results import AnalyzeReport
from segplug.runtime.raw import RawSink

INSIDE = Resize(scale=(30, 20), fit="inside")


def infer(*arguments: str, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capfd.readouterr()
    assert run_command_line(["run", "infer", *arguments, "--eval", "mIoU", "--json"]) == 0
    scores: dict[str, Any] = json.loads(capfd.readouterr().out)["scores"]
    return scores


def test_scores_are_those_of_infer_for_pytorch_and_an_exported_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_images(tmp_path / "data", (32, 64), (32, 64))
    options = ["--dataset", str(data), "--cfg-options", "data.test.pipeline.1.img_scale=(64,32)"]
    arguments = ["run", "analyze", "parity", str(CONFIG), str(WEIGHTS), *options, "--json"]
    arguments += ["--work-dir", str(tmp_path / "work"), "--precision", "fp32", "fp16"]
    arguments += ["--backend", "onnxruntime"]
    arguments += ["--html", str(tmp_path / "page.html"), "--csv", str(tmp_path / "csv")]

    assert run_command_line(arguments) == 0

    shown = capfd.readouterr()
    found = json.loads(shown.out)
    fp32, fp16 = found["runs"]
    assert (fp32["backend"], fp32["precision"], fp32["compared"]) == ("onnxruntime", "fp32", True)
    assert found["form"]["size"] == [32, 64]
    assert found["form"]["output_kind"] == "labels"
    (made,) = fp32["files"]
    config = [str(CONFIG), "--checkpoint", str(WEIGHTS)]
    assert infer("pytorch", *config, *options, capfd=capfd) == found["reference"]["scores"]
    assert infer("onnxruntime", made["path"], "--dataset", str(data), capfd=capfd) == fp32["scores"]
    assert fp32["agreement"]["pixels"] == 2 * 32 * 64
    assert fp32["agreement"]["scored_pixels"] == 2 * 24 * 64
    assert fp32["agreement"]["share"] > 0.999
    # A precision that the exporter does not write is listed with the reason; the command succeeds.
    assert not fp16["compared"]
    assert fp16["reason"] == "export onnx makes fp32 artifacts, not fp16"
    assert "Not compared" in (tmp_path / "page.html").read_text()
    assert (tmp_path / "csv" / "difference-from-pytorch.csv").is_file()


@pytest.mark.slow
def test_scores_of_a_real_model(data_dir: Path, tmp_path: Path) -> None:
    """The scores are those of mmseg's own code."""
    models = data_dir / "models"
    report = Segplug().analyze(
        "parity",
        models / "fastscnn_480x360_camvid.py",
        models / "fastscnn_480x360_camvid.pth",
        backend=("onnxruntime",),
        cfg_options={"data.test.data_root": str(data_dir / "camvid")},
        work_dir=tmp_path,
    )
    expected = {"mIoU": 0.4867, "mAcc": 0.6443, "aAcc": 0.8359}
    for row in table(report, "Results"):
        assert round(row["pytorch fp32"], 4) == expected[row["metric"]]
        assert round(row["onnxruntime fp32"], 4) == expected[row["metric"]]
    (run,) = report.data["runs"]
    assert run["agreement"]["share"] > 0.9999


def test_files_are_made_in_two_steps_and_what_differs_is_painted(
    toys: Toys, parity: Callable[..., AnalyzeReport], tmp_path: Path
) -> None:
    report = parity(precision=("fp32", "fp16", "int8"), images=2)

    exports = [entry for entry in toys.log() if entry["hook"] == "export"]
    builds = [entry for entry in toys.log() if entry["hook"] == "build"]
    assert exports == [
        {"hook": "export", "precision": "fp32", "shape": [32, 64], "dynamic": False, "kind": "labels"}
    ]  # once, for all engines that are built from it
    assert [entry["precision"] for entry in builds] == ["fp32", "fp16", "int8"]
    assert len({entry["source"] for entry in builds}) == 1
    equal, half, refused = report.data["runs"]
    assert equal["agreement"]["pixels_differing"] == 0
    assert equal["difference_points"] == {"mIoU": 0, "mAcc": 0, "aAcc": 0}
    assert not refused["compared"]
    assert refused["reason"] == "int8 needs images to calibrate with"
    # The squares of wrong answers grow: the last image is the worst.
    assert [worst["image"] for worst in half["worst"]] == ["3.png", "2.png"]
    assert half["agreement"]["images_differing"] == 4
    assert 0 < half["agreement"]["pixels_differing"] <= 4 + 16 + 36 + 64
    assert half["agreement"]["scored_pixels_differing"] == half["agreement"]["pixels_differing"]
    assert any(half["difference_points"].values())
    for worst in half["worst"]:
        picture = cv2.imread(worst["picture"])
        assert picture is not None
        assert 0 < worst["pixels_differing"] <= 64
    assert [figure.draw()[:2] for figure in report.figures] == [b"\xff\xd8"] * 2
    assert as_page(report).count("data:image/jpeg;base64,") == 2
    row = table(report, "Difference from PyTorch")[1]
    assert row["backend"] == "toyengine fp16"
    assert row["pixels"] == half["agreement"]["pixels_differing"]
    assert row["labels differ %"] == pytest.approx(100 * row["pixels"] / (4 * 32 * 64))
    (row,) = table(report, "Not compared")
    assert row == {"backend": "toyengine int8", "reason": refused["reason"]}
    # Pictures of an earlier run do not stay among those of a later one.
    again = parity(precision=("fp16",), images=1)
    folder = Path(again.data["runs"][0]["worst"][0]["picture"]).parent
    assert [path.name for path in folder.iterdir()] == ["01-3.jpg"]


def test_unchanged_files_in_the_work_folder_are_used_again(
    toys: Toys, parity: Callable[..., AnalyzeReport], tmp_path: Path
) -> None:
    def asked(**options: Any) -> list[str]:
        toys.forget()
        report = parity(**options)
        assert report.data["runs"][0]["agreement"]["share"] == 1
        how = {row["format"]: row["status"] for row in table(report, "Files")}
        steps = [entry["hook"] for entry in toys.log()]
        assert how["toymodel"] == ("exported" if "export" in steps else "reused")
        assert how["toyengine"] == ("built" if "build" in steps else "reused")
        return steps

    assert asked() == ["export", "build"]
    assert asked() == []
    assert asked(threads=1, images=0) == []

    (model,) = tmp_path.glob("work/config-toymodel-fp32-32x64-labels-*/config.toymodel")
    (engine,) = tmp_path.glob("work/config-toyengine-fp32-32x64-labels-*/config.toyengine")
    engine.write_bytes(engine.read_bytes()[:-1])  # cut
    assert asked() == ["build"]
    model.with_name(model.name + ".json").unlink()  # the sidecar is a part of the artifact
    assert asked() == ["export"]
    (engine.parent / "made.json").write_text("{")
    assert asked() == ["build"]

    changed = {**SMALL, "model.decode_head.dropout_ratio": 0.5}
    assert asked(cfg_options=changed) == ["export", "build"]
    assert asked() == []  # the files of both models are kept
    assert not list(tmp_path.glob("work/.*"))


def test_a_file_made_by_another_version_of_a_library_is_made_again(
    toys: Toys, parity: Callable[..., AnalyzeReport]
) -> None:
    toys.shall("old")
    parity()
    toys.forget()
    parity()
    assert [entry["hook"] for entry in toys.log()] == ["export", "build"]  # numpy is not 1.0 here


def test_images_of_several_sizes_get_a_file_for_any_size(
    toys: Toys, parity: Callable[..., AnalyzeReport], tmp_path: Path
) -> None:
    data = write_images(tmp_path / "mixed", (32, 64), (48, 64), (64, 64))
    report = parity(dataset=str(data))
    (export,) = [entry for entry in toys.log() if entry["hook"] == "export"]
    # Each is resized into 64x32, to a size of its own: labels could not be resized back.
    assert (export["shape"], export["dynamic"], export["kind"]) == (None, True, "logits")
    assert report.data["runs"][0]["agreement"]["share"] == 1
    assert report.data["form"]["dynamic"]


@pytest.mark.parametrize(
    ("changes", "sizes", "size", "kind"),
    [
        ({}, [(20, 30)], (20, 30), "labels"),
        ({}, [(20, 30), (30, 20)], None, "labels"),
        ({"preprocessing": (Resize(scale=(30, 20)),)}, [(20, 30), (40, 60)], (20, 30), "logits"),
        ({"preprocessing": (INSIDE,)}, [(40, 60), (60, 40)], None, "logits"),
        ({"preprocessing": (Pad(size=(32, 32)),)}, [(20, 30), (30, 20)], (32, 32), "labels"),
        ({"preprocessing": (Pad(size=(32, 32), cut=False),)}, [(20, 30), (30, 20)], (32, 32), "logits"),
        ({"in_channels": 13, "output_stride": 4}, [(20, 30)], (20, 30), "labels"),
        ({"inference": Inference("slide", (8, 8), (4, 4))}, [(20, 30), (30, 20)], (8, 8), "logits"),
    ],
)
def test_the_form_is_the_one_with_exact_scores(
    changes: dict[str, Any], sizes: list[tuple[int, int]], size: tuple[int, int] | None, kind: str
) -> None:
    form = form_for(ModelMeta(name="x", **changes), sizes)
    assert (form.size, form.output_kind) == (size, kind)


def test_sizes_are_read_only_until_the_form_is_known() -> None:
    meta = ModelMeta(name="x", preprocessing=(INSIDE,))
    sizes = iter([(40, 60), (40, 60), (60, 40), (1, 1)])
    assert form_for(meta, sizes).size is None
    assert list(sizes) == [(1, 1)]


def test_label_maps_of_the_reference_are_on_disk(
    toys: Toys, parity: Callable[..., AnalyzeReport], images: Path, tmp_path: Path
) -> None:
    report = parity()
    session = Segplug()
    model = session.load_model(CONFIG, checkpoint=WEIGHTS, cfg_options=SMALL)
    raw = RawSink(tmp_path / "own.npz")
    session.evaluate(model, backend="pytorch", dataset=images, sinks=[raw])
    with np.load(report.data["reference"]["labels"]) as kept, np.load(tmp_path / "own.npz") as own:
        assert kept.files == own.files == ["0.png", "1.png", "2.png", "3.png"]
        assert all(np.array_equal(kept[name], own[name]) for name in own.files)


def test_an_interrupted_run_is_continued(toys: Toys, parity: Callable[..., AnalyzeReport]) -> None:
    whole = parity(precision=("fp16",)).data["runs"][0]
    toys.shall("interrupt")
    with pytest.raises(KeyboardInterrupt):
        parity()
    toys.shall("interrupt", yes=False)

    report = parity(resume=True)

    (run,) = report.data["runs"]
    assert run["resumed"] == 2
    assert run["images"] == 4
    assert run["agreement"]["pixels"] == whole["agreement"]["pixels"] == 4 * 32 * 64
    assert any("an interrupted run was continued" in note for note in report.notes)


@pytest.mark.slow
def test_all_that_is_installed_is_compared_where_nothing_is_named(
    toys: Toys, parity: Callable[..., AnalyzeReport]
) -> None:
    report = parity(backend=())
    compared = {run["backend"] for run in report.data["runs"]}
    assert compared >= {"onnxruntime", "torchscript", "torch-export", "toyengine"}
    assert not compared & {"http", "torchserve"}, "servers have a model of their own"
    left_out = next(each for each in report.data["left_out"] if each["backend"] == "orphan")
    assert "nothing that is installed makes them" in left_out["reason"]
    assert any(note.startswith("orphan is left out: ") for note in report.notes)


def test_an_export_refused_by_an_addon_is_not_compared(
    install: Callable[..., Toys], parity: Callable[..., AnalyzeReport]
) -> None:
    install(addon={"no-exports": "toy_parity:rule"})
    with pytest.raises(SegplugError, match="nothing could be compared: toyengine fp32: exports are"):
        parity()
    report = parity(session=Segplug(without_addons=["no-exports"]))
    assert report.data["runs"][0]["compared"]


def test_nothing_compared_is_an_error(
    toys: Toys, parity: Callable[..., AnalyzeReport], tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=r"nothing could be compared: toyengine int8: int8 needs images"):
        parity(precision=("int8",))
    assert not list(tmp_path.glob("work/*.npz"))  # the error comes before the reference has run


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"backend": ("tojengine",)}, UsageError, "did you mean 'toyengine'"),
        ({"backend": ("orphan",)}, UsageError, "nothing that is installed makes them"),
        ({"backend": ("pytorch",)}, UsageError, "no backend to compare pytorch with"),
        ({"precision": ("fp8",)}, UsageError, "must be one of fp32, fp16, bf16, int8"),
        ({"work_dir": CONFIG}, UsageError, r"config\.py is a file; name a folder with --work-dir"),
        ({"dataset": "nowhere"}, SegplugError, "nowhere"),
    ],
)
def test_wrong_options(
    toys: Toys,
    parity: Callable[..., AnalyzeReport],
    options: dict[str, Any],
    kind: type[SegplugError],
    words: str,
) -> None:
    with pytest.raises(kind, match=words):
        parity(**options)
    assert not toys.log()


def test_a_data_set_that_cannot_be_scored(
    toys: Toys, parity: Callable[..., AnalyzeReport], images: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"lies in .*images, the image folder of the data set"):
        parity(work_dir=images / "images" / "work")
    (images / "masks" / "2.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"masks/2\.png is text, not an image (?!.*--on-error)"):
        parity()
    with pytest.raises(UsageError, match="has no masks, so nothing can be scored"):
        parity(dataset=str(images / "images"))


@pytest.mark.parametrize(
    ("subjects", "words"),
    [
        ((CONFIG,), "takes a config and its checkpoint, not 1 file"),
        ((CONFIG, WEIGHTS, WEIGHTS), "takes a config and its checkpoint, not 3 files"),
        ((), "takes a config and its checkpoint, not 0 files"),
        (("no_folder",), "takes a config and its checkpoint, not 1 file"),
        ((".", "no.pth"), "there is no file no.pth"),
        ((CONFIG, "no.pth"), "there is no file no.pth"),
        ((WEIGHTS, CONFIG), "no installed source reads a"),
    ],
)
def test_wrong_subjects(subjects: tuple[Any, ...], words: str, tmp_path: Path, images: Path) -> None:
    with pytest.raises(UsageError, match=words):
        Segplug().analyze("parity", *subjects, dataset=str(images), work_dir=tmp_path / "work")


def test_a_checkpoint_of_another_model(
    toys: Toys, parity: Callable[..., AnalyzeReport], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError):
        parity(cfg_options={**SMALL, "model.decode_head.channels": 16})
    assert not toys.log()
    assert not (tmp_path / "work").exists()


def _compared(
    sink: CompareSink,
    spool: Path | None,
    *results: tuple[int, Any, Any],
    notes: dict[int, Any] | None = None,
) -> list[Any]:
    info = SimpleNamespace(ignore_index=9)
    dataset = SimpleNamespace(info=info, name=lambda index: f"{index}.png")
    sink.open(SimpleNamespace(dataset=dataset, reporter=QuietReporter(), spool=spool))  # type: ignore[arg-type]
    for index, note in (notes or {}).items():
        assert sink.has(index, note)
        sink.restore(index, note)
    taken = [
        sink.consume(SimpleNamespace(index=index, name=f"{index}.png", labels=labels, mask=mask))  # type: ignore[arg-type]
        for index, labels, mask in results
    ]
    sink.close(finished=True)
    return taken


def test_differing_pixels_are_counted_and_the_worst_images_kept(tmp_path: Path) -> None:
    expected = np.zeros((4, 4), np.uint8)
    np.savez(tmp_path / "reference.npz", **{f"{index}.png": expected for index in range(4)})
    mask = np.zeros((4, 4), np.uint8)
    mask[0] = 9
    labels = [expected.copy() for _ in range(4)]
    labels[1][0] = 1  # four, all of them ignored
    labels[2][3, :2] = 1
    labels[3][1:3] = 1
    sink = CompareSink(tmp_path / "reference.npz", keep=2)

    notes = _compared(sink, tmp_path, *((index, labels[index], mask) for index in range(4)))

    agreement = sink.agreement
    assert (agreement.pixels, agreement.differing, agreement.images_differing) == (64, 14, 3)
    assert (agreement.scored_pixels, agreement.scored_differing) == (48, 10)
    assert agreement.share == pytest.approx(50 / 64)
    assert agreement.scored_share == pytest.approx(38 / 48)
    assert [worst.name for worst in sink.worst] == ["3.png", "1.png"]
    assert sink.worst[0].share == 0.5
    # After an interruption, the label maps to be painted are read from the disk.
    again = CompareSink(tmp_path / "reference.npz", keep=2)
    done = {index: notes[index] for index in (0, 1, 2)}
    _compared(again, tmp_path, (3, labels[3], mask), notes=done)
    assert again.agreement == agreement
    assert [worst.name for worst in again.worst] == ["3.png", "1.png"]
    assert all(np.array_equal(again.labels(worst), labels[worst.index]) for worst in again.worst)
    # Without a spool folder, those images are computed again.
    bare = CompareSink(tmp_path / "reference.npz", keep=2)
    _compared(bare, None)
    assert [bare.has(index, note) for index, note in enumerate(notes)] == [True, False, False, False]
