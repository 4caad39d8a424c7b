"""What a page shows of the command that made it."""

from __future__ import annotations

import shlex

import pytest

from segplug.reports.command_line import command_line


def test_a_command_can_be_pasted() -> None:
    words = [
        "infer",
        "a b.onnx",
        "--classes",
        "x;rm -rf",
        "--cfg-options",
        "model.depth=18",
        "--out",
        "$HOME",
    ]
    assert shlex.split(command_line(words)) == ["segplug", *words]


@pytest.mark.parametrize(
    "words",
    [
        ["--token", "s3cr3t"],
        ["--token=s3cr3t"],
        ["--api-key", "s3cr3t"],
        ["--source-options", "auth.token=s3cr3t"],
        ["--cfg-options", "hub_password=s3cr3t"],
        ["--url", "https://user:s3cr3t@host/predictions/fcn"],
        ["--url", "https://s3cr3t@host:8080"],
        ["--url=https://user:s3cr3t@host/"],
        ["--cfg-options", "data.root=https://user:s3cr3t@host/"],
        ["https://host/weights.pth?X-Amz-Signature=s3cr3t#s3cr3t"],
        ["http://[s3cr3t@"],
        ["--cfg-options", "data.roots=[https://a:s3cr3t@host/x,https://host/y?key=s3cr3t]"],
        ["--dataset-options", "hubToken=s3cr3t"],
        ["--password", "--s3cr3t"],
    ],
)
def test_secrets_are_not_shown(words: list[str]) -> None:
    shown = command_line(["analyze", "serving", *words, "--image", "a.png"])
    assert "s3cr3t" not in shown
    assert shown.startswith("segplug analyze serving ")
    assert shown.endswith(" --image a.png")


def test_other_addresses_and_keys_stay() -> None:
    words = ["--url", "http://127.0.0.1:8080", "--keys", "mIoU", "--weights", "python:nets.py:Net", "a@b"]
    assert shlex.split(command_line(words)) == ["segplug", *words]
