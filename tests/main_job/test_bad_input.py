"""Mistakes in commands and files: one clear line, the right exit code, and no file written or changed."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segplug.cli.root import run_command_line

Fail = Callable[..., str]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str], project, tmp_path: Path) -> Fail:
    """Run a command that must fail, and return its error line."""

    def check(*arguments: object, code: int) -> str:
        before = digests(tmp_path)
        got = run_command_line([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("error: ")]
        assert got == code, err
        assert len(lines) == 1, err
        assert err.splitlines()[-1] == lines[0], err
        assert "Traceback" not in err
        assert out == ""
        assert digests(tmp_path) == before
        return lines[0]

    return check


def export(project, tmp_path: Path, *flags: object) -> tuple[object, ...]:
    return ("run", "export", "onnx", project.config, "--output", tmp_path / "out.onnx", *flags)


def test_a_missing_config(fail: Fail, project, tmp_path: Path) -> None:
    line = fail("run", "export", "onnx", "no/such.py", "--output", tmp_path / "x.onnx", code=2)
    assert "no/such.py" in line


@pytest.mark.parametrize(
    ("text", "expected", "code"),
    [
        ("model = dict(", "tiny.py", 1),
        ("import no_such_module_of_mine\nmodel = dict(type='EncoderDecoder')", "no_such_module_of_mine", 1),
        ("model = dict(type='NoSuchSegmentor')", "NoSuchSegmentor", 1),
        ("x = 1", "no installed source reads a model", 2),
    ],
)
def test_an_unreadable_config(
    fail: Fail, project, tmp_path: Path, text: str, expected: str, code: int
) -> None:
    Path(project.config).write_text(text)
    assert expected in fail(*export(project, tmp_path), code=code)


def test_a_checkpoint_of_another_model(fail: Fail, project, tmp_path: Path) -> None:
    state = torch.load(project.checkpoint, weights_only=True)
    weights = state["state_dict"]
    weights["unknown.weight"] = torch.zeros(1)
    weights["decode_head.conv_seg.bias"] = torch.zeros(7)
    del weights["backbone.layer1.0.conv1.weight"]
    other = tmp_path / "other.pth"
    torch.save(state, other)
    line = fail(*export(project, tmp_path, "--checkpoint", other), code=1)
    for expected in (
        "1 key missing",
        "1 key unexpected",
        "1 key of another shape",
        "unknown.weight",
        "conv_seg.bias",
    ):
        assert expected in line


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint(fail: Fail, project, tmp_path: Path, content: bytes | None) -> None:
    bad = tmp_path / "bad.pth"
    whole = Path(project.checkpoint).read_bytes()
    bad.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert "bad.pth" in fail(*export(project, tmp_path, "--checkpoint", bad), code=1)


def test_a_missing_checkpoint(fail: Fail, project, tmp_path: Path) -> None:
    assert "gone.pth" in fail(*export(project, tmp_path, "--checkpoint", "gone.pth"), code=2)


def test_classes_that_do_not_fit(fail: Fail, project, dynamic_onnx: Path) -> None:
    line = fail(
        "run", "infer", "onnxruntime", dynamic_onnx, "--dataset", project.config, "--eval", "mIoU",
        *project.data_options, "data.test.classes=['a','b']", "data.test.palette=[[1,2,3],[4,5,6]]", code=2,
    )  # fmt: skip
    assert "4 classes" in line
    assert "2" in line


def test_a_shape_that_the_network_cannot_take(fail: Fail, project, tmp_path: Path) -> None:
    # LRASPP pools its last features with a window of 49 cells: this input has 6 by 8 of them.
    config = Path(project.config).read_text()
    head = (
        "model['decode_head'] = dict(type='LRASPPHead', in_channels=(8, 8, 16), in_index=(0, 0, 1), "
        "channels=8, input_transform='multiple_select', num_classes=4, branch_channels=(8, 8), "
        "norm_cfg=norm_cfg)\n"
    )
    Path(project.config).write_text(config + head)
    line = fail(*export(project, tmp_path, "--shape", 48, 64), code=1)
    assert "48x64" in line


def test_too_many_sizes(fail: Fail, project, tmp_path: Path) -> None:
    assert "height and width" in fail(*export(project, tmp_path, "--shape", 1, 2, 3), code=2)


def test_a_file_that_is_not_an_image(fail: Fail, project, dynamic_onnx: Path) -> None:
    (project.images / "1.png").write_text("not an image")
    data = ("--dataset", project.folder / "data", "--eval", "mIoU")
    line = fail("run", "infer", "onnxruntime", dynamic_onnx, *data, code=1)
    assert "1.png" in line


def test_a_skipped_image_is_counted_and_named(project, dynamic_onnx: Path, capsys) -> None:
    (project.images / "1.png").write_text("not an image")
    data = ["--dataset", str(project.folder / "data"), "--eval", "mIoU", "--on-error", "skip"]
    assert run_command_line(["run", "infer", "onnxruntime", str(dynamic_onnx), *data]) == 0
    out, _ = capsys.readouterr()
    assert "1 skipped" in out
    assert "1.png" in out
    assert "3 images" in out


def test_a_mask_of_another_size(fail: Fail, project, dynamic_onnx: Path) -> None:
    cv2.imwrite(str(project.masks / "2.png"), np.zeros((10, 10), dtype=np.uint8))
    data = ("--dataset", project.folder / "data", "--eval", "mIoU")
    line = fail("run", "infer", "onnxruntime", dynamic_onnx, *data, code=1)
    assert "2.png" in line
    assert "10x10" in line


def test_an_onnx_file_cut_in_half(fail: Fail, project, dynamic_onnx: Path, tmp_path: Path) -> None:
    content = dynamic_onnx.read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(content[: len(content) // 2])
    data = ("--dataset", project.folder / "data", "--eval", "mIoU")
    assert "cut.onnx" in fail("run", "infer", "onnxruntime", cut, *data, code=1)


def test_an_output_that_exists(fail: Fail, project, tmp_path: Path) -> None:
    (tmp_path / "out.onnx").write_bytes(b"precious")
    assert "--force" in fail(*export(project, tmp_path), code=2)


def test_an_output_that_is_an_input(fail: Fail, project, tmp_path: Path) -> None:
    arguments = ("run", "export", "onnx", project.config, "--checkpoint", project.checkpoint, "--force")
    assert "is an input" in fail(*arguments, "--output", project.checkpoint, code=2)
    assert "is an input" in fail(*arguments, "--output", project.config, code=2)


def test_config_options_without_a_config(fail: Fail, project, dynamic_onnx: Path, tmp_path: Path) -> None:
    image = project.images / "1.png"
    flags = ("--show-dir", tmp_path / "out", "--cfg-options", "a=1")
    assert "--cfg-options" in fail(
        "run", "infer", "onnxruntime", dynamic_onnx, "--input-img", image, *flags, code=2
    )


def test_a_device_that_is_missing(fail: Fail, project, dynamic_onnx: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    data = ("--dataset", project.folder / "data", "--eval", "mIoU")
    line = fail("run", "infer", "onnxruntime", dynamic_onnx, *data, "--device", "cuda", code=1)
    assert "CUDAExecutionProvider" in line


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), "nothing to do"),
        (("--eval", "mIoU"), "nothing to run on"),
        (("--eval", "mIOU"), "mIoU"),
        (("--eval", "mIoU", "--format-only", "x", "--dataset", "data"), "exclude each other"),
        (("--eval", "mIoU", "--dataset", "no/such/folder"), "no/such/folder"),
        (("--show-dir", "x", "--input-img", "a.png", "--opacty", "1"), "--opacity"),
        (("--eval", "mIoU", "--dataset", "x.py", "--cfg-options", "novalue"), "KEY=VALUE"),
    ],
)
def test_a_wrong_command(
    fail: Fail, project, dynamic_onnx: Path, flags: tuple[str, ...], expected: str
) -> None:
    assert expected in fail("run", "infer", "onnxruntime", dynamic_onnx, *flags, code=2)


def test_a_full_disk(fail: Fail, project, tmp_path: Path) -> None:
    # A limit on the size of files makes the write fail half way, as a full disk does.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        line = fail(*export(project, tmp_path), code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert line.startswith("error: cannot write")
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
