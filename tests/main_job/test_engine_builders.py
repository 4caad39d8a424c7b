"""build_engine --verify and --show, with a made-up compiler that copies the ONNX file, correctly or not."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from segplug import Segplug
from segplug.artifact import read_sidecar
from segplug.errors import DeviceError, UsageError
from tests.main_job.test_main_job import document

ACME = """
    import shutil
    from dataclasses import dataclass, replace

    from segplug import Backend, hookimpl, option
    from segplug.artifact import write_sidecar
    from segplug.errors import DeviceError
    from segplug.options import NoOptions
    from segplug.providers import EngineBuilder
    from segplug_onnx.engine import provider as onnx_provider

    @dataclass(frozen=True)
    class Options:
        wrong: bool = option(False, help="Make the engine reverse its channels.")

    class Compiler(EngineBuilder[Options]):
        hook_version = 2
        options = Options
        reads = ("onnx",)
        suffix = ".npu"
        verify_with = "npu"
        precisions = ("fp32", "fp16", "int8")
        precision_flags = {"--fp16": "fp16"}

        @hookimpl
        def build_engine(self, request):
            shutil.copy(request.file, request.output)
            meta = request.meta.replace(extra={**request.meta.extra, "acme": request.options.wrong})
            write_sidecar(request.output, meta)
            return request.made(meta)

    class Npu(Backend[NoOptions]):
        hook_version = 2
        reads = ("acme",)
        default_device = "npu:0"

        def check_device(self, device):
            if device != "npu:0":
                raise DeviceError(f"there is no {device}")

        @hookimpl
        def infer(self, request):
            self.check_device(request.device)
            engine = onnx_provider.infer(replace(request, device="cpu", options=onnx_provider.options()))
            if request.meta.extra["acme"]:
                run = engine.run
                engine.run = lambda batch: run(batch)[:, ::-1]
            return engine

    compiler, npu = Compiler(), Npu()
"""


@pytest.fixture
def onnx_file(dynamic_onnx: Path, tmp_path: Path, install_plugin) -> Path:
    groups = {"segplug.build_engine": {"acme": "acme:compiler"}, "segplug.infer": {"npu": "acme:npu"}}
    install_plugin("acme", groups, acme=ACME)
    return Path(shutil.copy(dynamic_onnx, tmp_path / "tiny.onnx"))


def test_an_engine_is_compared_with_its_onnx_file(shared_project, onnx_file, tmp_path, capsys) -> None:
    output = tmp_path / "tiny.npu"
    image = shared_project.images / "1.png"
    built = ("run", "build_engine", "acme", onnx_file, "--output", output, "--verify", "--input-img", image)
    found = document(capsys, *built)["verification"]
    assert found["passed"]
    assert found["max_logit_difference"] == 0
    assert found["reference"].startswith("onnxruntime")
    assert "1.png 1x48x64" in found["inputs"]
    meta = read_sidecar(output)
    assert meta is not None
    assert meta.verification == found


def test_a_wrong_engine_exits_1_and_its_metadata_says_so(onnx_file, tmp_path, capsys) -> None:
    output = tmp_path / "tiny.npu"
    built = ("run", "build_engine", "acme", onnx_file, "--output", output, "--verify", "--wrong")
    assert document(capsys, *built, code=1)["verification"]["failures"]
    meta = read_sidecar(output)
    assert meta is not None
    assert meta.verification is not None
    assert meta.verification["passed"] is False


def test_an_engine_can_be_compared_with_the_model(shared_project, onnx_file, tmp_path) -> None:
    session = Segplug()
    engine = session.build_engine("acme", onnx_file, output=tmp_path / "tiny.npu")
    model = session.load_model(shared_project.config, checkpoint=shared_project.checkpoint)
    comparison = session.verify(engine, model)
    assert comparison.passed
    assert comparison.reference == "PyTorch"
    assert not session.verify(engine, session.load_model(shared_project.config)).passed


def test_nothing_is_built_if_no_device_can_run_the_engine(onnx_file, tmp_path) -> None:
    with pytest.raises(DeviceError, match="there is no npu:7"):
        Segplug().build_engine("acme", onnx_file, output=tmp_path / "tiny.npu", verify=True, device="npu:7")
    assert not (tmp_path / "tiny.npu").exists()


def test_both_results_are_shown_side_by_side(
    shared_project, onnx_file, tmp_path, capsys, monkeypatch
) -> None:
    shown: list[np.ndarray] = []
    titles: list[str] = []
    monkeypatch.setattr("segplug.runtime.display._require_display", lambda _: None)
    monkeypatch.setattr("cv2.imshow", lambda _, picture: shown.append(picture))
    monkeypatch.setattr("cv2.setWindowTitle", lambda _, title: titles.append(title))
    monkeypatch.setattr("cv2.waitKey", lambda _: 32)
    monkeypatch.setattr("cv2.destroyAllWindows", lambda: None)
    built = ("run", "build_engine", "acme", onnx_file, "--output", tmp_path / "tiny.npu", "--show")
    document(capsys, *built, "--input-img", shared_project.images / "1.png")
    left, right = np.split(shown[0], 2, axis=1)
    assert (left == right).all()
    assert left.shape == cv2.imread(str(shared_project.images / "1.png")).shape
    assert titles[0].startswith("1.png: onnxruntime")

    document(capsys, *built, "--force", "--input-img", shared_project.images / "1.png", "--bands", "2")
    differs = (shown.pop() != shown[0]).any(axis=(0, 1))
    assert differs.tolist() == [True, False, True], "all three channels show the green one"
    titles.pop()
    document(capsys, *built, "--force", "--bands", "1", "2", code=2)
    assert len(shown) == 1

    document(capsys, *built, "--force", "--wrong", "--dataset", shared_project.images)
    assert [title.split(":")[0] for title in titles[1:]] == ["0.png", "1.png", "2.png", "3.png"]
    left, right = np.split(shown[1], 2, axis=1)
    assert (left != right).any()


def test_the_name_of_a_data_set_selects_its_colours(onnx_file, tmp_path, capsys) -> None:
    built = ("run", "build_engine", "acme", onnx_file, "--output", tmp_path / "tiny.npu")
    document(capsys, *built, "--dataset", "CityscapesDataset")
    assert Segplug().dataset_palette("CityscapesDataset")[0] == (128, 64, 128)
    with pytest.raises(UsageError, match="no installed source knows"):
        Segplug().dataset_palette("ConcatDataset")


def test_mmsegs_flag_for_fp16_is_accepted(onnx_file, tmp_path, capsys) -> None:
    built = ("run", "build_engine", "acme", onnx_file, "--output", tmp_path / "tiny.npu")
    verified = document(capsys, *built, "--fp16", "--verify")["verification"]
    assert verified["precision"] == "fp16"
    document(capsys, *built, "--fp16", "--precision", "int8", "--force", code=2)
