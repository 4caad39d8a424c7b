"""``segplug export triton`` as a user types it."""

from __future__ import annotations

import json

import pytest
from triton_support.models import config_of, tensors

from segplug.cli.root import run_command_line


def run(*words):
    return run_command_line(["run", "export", "triton", *map(str, words)])


def test_packing(dynamic_labels, repository, capsys):
    flags = ["--preferred-batch-size", "2", "4", "--max-queue-delay", "100", "--device", "cpu"]
    assert run(dynamic_labels.path, "--output-folder", repository, "--model-name", "street", *flags) == 0
    assert f"wrote {repository / 'street'}" in capsys.readouterr().out
    config = config_of(repository / "street")
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 4]
    assert tensors(config)[0][2] == (3, -1, -1)
    assert run(dynamic_labels.path, "--output-folder", repository, "--model-name", "street") == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.onnx", "there is no file"),
        ("model.xml", "OpenVINO"),
        ("weights.pth", "export it first"),
        ("model.tflite", "(it packs .engine, .onnx, .plan, .pt)"),
        ("model.torchscript", "(it packs .engine, .onnx, .plan, .pt)"),
    ],
)
def test_unsupported_files_are_an_error_of_one_line(tmp_path, repository, capsys, name, words):
    if "missing" not in name:
        (tmp_path / name).write_text("x")
    assert run(tmp_path / name, "--output-folder", repository) == 2
    shown = capsys.readouterr().err.strip()
    assert words in shown
    assert "\n" not in shown
    assert not repository.exists()


def test_the_report_as_json(dynamic_labels, repository, capsys):
    words = ["run", "export", "triton", str(dynamic_labels.path), "--output-folder", str(repository)]
    assert run_command_line([*words, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["artifact"]
    assert (written["format"], written["path"]) == ("triton", str(repository / "tiny"))
