"""Export a config and a checkpoint to ONNX, verify it and score it, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from segplug import Segplug
from segplug.artifact import file_sha256
from segplug.cli.root import run_command_line


def run(*arguments: object) -> int:
    return run_command_line([str(argument) for argument in arguments])


def document(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    assert run(*arguments, "--json") == code, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("dynamic", [False, True])
def test_export_verify_and_score(shared_project, tmp_path: Path, capsys, dynamic: bool) -> None:
    path = tmp_path / "tiny.onnx"
    flags = ["--dynamic"] if dynamic else []
    model = ("--checkpoint", shared_project.checkpoint)
    exported = document(
        capsys, "run", "export", "onnx", shared_project.config, *model, "--output", path, "--verify", *flags
    )
    assert exported["verification"]["passed"]
    assert exported["verification"]["logits_compared"]
    # A dynamic file is compared at several sizes: the exported, a larger, a narrower one, and a batch of two.
    assert len(exported["verification"]["inputs"]) == (5 if dynamic else 1)
    assert exported["artifact"]["size"] == path.stat().st_size

    data = ("--dataset", shared_project.config, *shared_project.data_options, "--eval", "mIoU")
    onnx = document(capsys, "run", "infer", "onnxruntime", path, *data)
    reference = document(capsys, "run", "infer", "pytorch", shared_project.config, *model, *data)
    assert onnx["images"] == reference["images"] == 4
    assert onnx["scores"]["mIoU"] == pytest.approx(reference["scores"]["mIoU"], abs=5e-4)
    assert set(onnx["scores"]) >= {"mIoU", "mAcc", "aAcc", "IoU.road", "Acc.car"}


def test_the_artifact_remembers_its_verification(shared_project, tmp_path: Path, capsys) -> None:
    path = tmp_path / "tiny.onnx"
    document(
        capsys,
        "run",
        "export",
        "onnx",
        shared_project.config,
        "--output",
        path,
        "--verify",
        "--shape",
        48,
        64,
    )
    with Segplug().open(path, backend="onnxruntime") as engine:
        assert engine.spec.meta.verification is not None
        assert engine.spec.meta.verification["passed"] is True
        assert engine.spec.meta.input_size == (48, 64)


def test_an_artifact_of_other_weights_fails_verification(shared_project, tmp_path: Path) -> None:
    sp = Segplug()
    model = sp.load_model(shared_project.config, checkpoint=shared_project.checkpoint)
    artifact = sp.export("onnx", model, output=tmp_path / "tiny.onnx")
    comparison = sp.verify(artifact, sp.load_model(shared_project.config))
    assert not comparison.passed
    assert comparison.failures
    assert file_sha256(artifact.path) == artifact.sha256


def test_a_wrong_export_exits_1_and_its_metadata_says_so(
    shared_project, tmp_path: Path, capsys, monkeypatch
) -> None:
    from segplug_mmseg import exportable

    class WrongOrder(torch.nn.Module):
        """A wrong exportable form: it reverses the channels."""

        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images).flip(1)

    original = exportable.make_exportable
    monkeypatch.setattr(exportable, "make_exportable", lambda module, **_: WrongOrder(original(module)))
    path = tmp_path / "tiny.onnx"
    arguments = ("run", "export", "onnx", shared_project.config, "--checkpoint", shared_project.checkpoint)
    exported = document(capsys, *arguments, "--output", path, "--verify", code=1)
    assert exported["verification"]["passed"] is False
    assert exported["verification"]["failures"]
    with Segplug().open(path, backend="onnxruntime") as engine:
        assert engine.spec.meta.verification is not None
        assert engine.spec.meta.verification["passed"] is False


def test_slide_mode_agrees_with_pytorch(shared_project, tmp_path: Path, capsys) -> None:
    path = tmp_path / "slide.onnx"
    slide = (
        "--cfg-options",
        "model.test_cfg.mode=slide",
        "model.test_cfg.crop_size=(32,32)",
        "model.test_cfg.stride=(20,20)",
        *shared_project.data_options[1:],
    )
    model = (shared_project.config, "--checkpoint", shared_project.checkpoint)
    exported = document(capsys, "run", "export", "onnx", *model, *slide, "--output", path, "--verify")
    assert exported["artifact"]["meta"]["inference"]["mode"] == "slide"
    data = ("--dataset", shared_project.config, *shared_project.data_options, "--eval", "mIoU")
    onnx = document(capsys, "run", "infer", "onnxruntime", path, *data)
    reference = document(capsys, "run", "infer", "pytorch", *model, *slide, "--eval", "mIoU")
    assert onnx["scores"]["mIoU"] == pytest.approx(reference["scores"]["mIoU"], abs=5e-4)


def test_results_are_written_in_every_form(
    shared_project, dynamic_onnx: Path, tmp_path: Path, capsys
) -> None:
    data = ("--dataset", shared_project.config, *shared_project.data_options)
    painted, maps, raw = tmp_path / "painted", tmp_path / "maps", tmp_path / "raw.npz"
    run_it = ("run", "infer", "onnxruntime", dynamic_onnx, *data)
    document(capsys, *run_it, "--show-dir", painted, "--format-only", maps, "--out", raw)

    names = [f"{number}.png" for number in range(4)]
    assert sorted(path.name for path in painted.iterdir()) == names
    assert sorted(path.name for path in maps.iterdir()) == names
    with np.load(raw) as results:
        assert sorted(results.files) == names
        labels = results["0.png"]
    assert labels.shape == (48, 64)
    assert cv2.imread(str(painted / "0.png")).shape == (48, 64, 3)
    from PIL import Image

    with Image.open(maps / "0.png") as label_map:
        assert label_map.mode == "P"
        assert np.array_equal(np.asarray(label_map), labels)
        assert label_map.getpalette()[:6] == [128, 64, 128, 70, 70, 70]


def test_a_plain_folder_needs_no_config(shared_project, dynamic_onnx: Path, capsys) -> None:
    with_config = document(
        capsys, "run", "infer", "onnxruntime", dynamic_onnx, "--eval", "mIoU", "mDice", "mFscore",
        "--dataset", shared_project.config, *shared_project.data_options,
    )  # fmt: skip
    with_folder = document(
        capsys, "run", "infer", "onnxruntime", dynamic_onnx, "--eval", "mIoU", "mDice", "mFscore",
        "--dataset", shared_project.folder / "data",
    )  # fmt: skip
    assert with_folder["scores"] == with_config["scores"]
    assert {"mDice", "mFscore", "mPrecision", "mRecall"} <= set(with_folder["scores"])


def test_images_alone_are_painted(shared_project, dynamic_onnx: Path, tmp_path: Path, capsys) -> None:
    image = shared_project.images / "2.png"
    out = tmp_path / "painted"
    document(capsys, "run", "infer", "onnxruntime", dynamic_onnx, "--input-img", image, "--show-dir", out)
    assert [path.name for path in out.iterdir()] == ["2.png"]


def test_the_same_from_python(shared_project, tmp_path: Path) -> None:
    sp = Segplug()
    model = sp.load_model(
        shared_project.config,
        checkpoint=shared_project.checkpoint,
        cfg_options={"model.decode_head.align_corners": True},
    )
    assert model.meta.align_corners
    artifact = sp.export("onnx", model, output=tmp_path / "m.onnx", shape=(40, 72), output_kind="logits")
    comparison = sp.verify(artifact, model, images=[shared_project.images / "1.png"])
    assert comparison.passed
    assert comparison.inputs == ("1.png 1x40x72",)
    dataset = sp.load_dataset(shared_project.folder / "data")
    report = sp.evaluate(artifact, backend="onnxruntime", dataset=dataset, metrics=("mIoU",))
    assert report.scores is not None
    assert 0 < report.scores.metrics["aAcc"] < 1


def test_running_an_artifact_imports_neither_torch_nor_mmseg(shared_project, dynamic_onnx: Path) -> None:
    import subprocess
    import sys

    arguments = [
        *("run", "infer", "onnxruntime", str(dynamic_onnx), "--eval", "mIoU"),
        *("--dataset", str(shared_project.folder / "data")),
    ]
    code = (
        "import sys; from segplug.cli.root import run_command_line; "
        f"code = run_command_line({arguments!r}); "
        "print('LOADED', sorted({'torch', 'mmcv', 'mmseg', 'onnx'} & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED [] 0" in done.stdout
