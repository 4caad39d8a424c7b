"""``analyze parity``: only unchanged files are used again, and finished runs are not repeated."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from analysis_support.parity_toys import (  # noqa: F401 (fixtures)
    CONFIG,
    POINTS,
    SMALL,
    WEIGHTS,
    Toys,
    images_fixture,
    install_fixture,
    parity_fixture,
    toys_fixture,
)

from segplug.registry import discovery
from segplug.results import AnalyzeReport

Parity = Callable[..., AnalyzeReport]

OWN_CONFIG = """
_base_ = ["{base}"]
custom_imports = dict(imports=["own_head"], allow_failed_imports=False)
model = dict(decode_head=dict(type="OwnHead"))
"""

OWN_HEAD = """
import own_scale
from mmseg.models.builder import HEADS
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead


@HEADS.register_module(force=True)
class OwnHead(DepthwiseSeparableASPPHead):
    def forward(self, inputs):
        return own_scale.scaled(super().forward(inputs))
"""

OWN_SCALE = """
def scaled(logits):
    return logits * {scale}
"""


@pytest.fixture(name="asked")
def asked_fixture(toys: Toys, parity: Parity) -> Callable[..., list[str]]:
    """What the toys were asked to make for a report."""

    def run(**options: Any) -> list[str]:
        toys.forget()
        parity(**options)
        return [entry["hook"] for entry in toys.log()]

    return run


def test_the_users_own_code_is_a_part_of_the_model(
    parity: Parity, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "own" / "config.py"
    config.parent.mkdir()
    config.write_text(OWN_CONFIG.format(base=CONFIG))
    (config.parent / "own_head.py").write_text(OWN_HEAD)
    monkeypatch.syspath_prepend(str(config.parent))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # old bytecode would look current, by its time

    def run(scale: str) -> AnalyzeReport:
        (config.parent / "own_scale.py").write_text(OWN_SCALE.format(scale=scale))
        for name in ("own_head", "own_scale"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        toys.forget()
        return parity(config=config, resume=True)

    try:
        first = run("1.0")
        assert len(toys.log()) == 2
        again = run("1.0")
        assert not toys.log()
        assert again.data["reference"]["reused"]
        other = run("-1")
    finally:
        for name in ("own_head", "own_scale"):
            sys.modules.pop(name, None)

    assert [entry["hook"] for entry in toys.log()] == ["export", "build"]
    assert not other.data["reference"]["reused"]
    assert other.data["reference"]["labels"] != first.data["reference"]["labels"]
    assert other.data["runs"][0]["agreement"]["share"] == 1
    assert other.data["reference"]["scores"] != first.data["reference"]["scores"]


def test_other_weights_and_another_config_are_another_model(
    asked: Callable[..., list[str]], tmp_path: Path
) -> None:
    config, weights = tmp_path / "config.py", tmp_path / "weights.pth"
    config.write_text(CONFIG.read_text())
    weights.write_bytes(WEIGHTS.read_bytes())
    assert asked(config=config, checkpoint=weights) == ["export", "build"]
    assert asked(config=config, checkpoint=weights) == []

    checkpoint = torch.load(weights, weights_only=True)
    next(iter(checkpoint["state_dict"].values())).mul_(2)
    torch.save(checkpoint, weights)
    assert asked(config=config, checkpoint=weights) == ["export", "build"]

    config.write_text(CONFIG.read_text() + '\nmodel["decode_head"]["dropout_ratio"] = 0.5\n')
    assert asked(config=config, checkpoint=weights) == ["export", "build"]


def test_files_of_an_earlier_report_are_not_trusted(
    asked: Callable[..., list[str]], toys: Toys, tmp_path: Path
) -> None:
    """Whoever can write into the work folder can write the record beside a file, too."""

    def trusted(name: str) -> bool:
        return bool(json.loads((toys.folder / name).read_text()))

    assert asked() == ["export", "build"]
    assert trusted("trusted")
    assert trusted("source_trusted")
    assert asked() == []
    assert not trusted("trusted")
    assert asked(trust_artifact=True) == []
    assert trusted("trusted")


def test_another_version_of_a_maker_or_of_segplug_makes_files_anew(
    asked: Callable[..., list[str]], toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked() == ["export", "build"]
    installed = toys.folder / "toy_parity-1.0.dist-info"
    about = installed / "METADATA"
    about.write_text(about.read_text().replace("Version: 1.0", "Version: 1.1"))
    installed.rename(toys.folder / "toy_parity-1.1.dist-info")
    importlib.invalidate_caches()
    discovery.forget()
    assert asked() == ["export", "build"]
    assert asked() == []

    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.0" if name == "segplug" else real(name))
    assert asked() == ["export", "build"]


def test_an_engine_is_for_one_device(asked: Callable[..., list[str]], toys: Toys) -> None:
    assert asked() == ["export", "build"]
    assert asked(device="cpu:0") == ["build"]
    assert toys.log()[0]["device"] == "cpu:0"
    assert asked() == []


def test_a_run_is_used_again_on_the_same_device_only(install: Callable[..., Toys], parity: Parity) -> None:
    install(infer={**POINTS["infer"], "acme": "toy_parity:npus"})

    def reused(**options: Any) -> list[bool]:
        data = parity(backend=("acme",), resume=True, **options).data
        return [run["reused"] for run in (data["reference"], *data["runs"])]

    assert reused() == [False, False]
    assert reused(device="npu:0") == [True, True]  # the default, and PyTorch runs on the CPU again
    assert reused(device="npu:1") == [True, False]


def test_force_makes_each_file_anew_once(asked: Callable[..., list[str]], parity: Parity) -> None:
    both = {"precision": ("fp32", "fp16")}
    assert asked(**both) == ["export", "build", "build"]
    assert asked(**both) == []
    assert asked(**both, force=True) == ["export", "build", "build"]
    assert not parity(force=True, resume=True).data["reference"]["reused"]


@pytest.mark.slow
def test_finished_runs_are_not_repeated(toys: Toys, parity: Parity, images: Path, tmp_path: Path) -> None:
    def reused(**options: Any) -> list[bool]:
        data = parity(precision=("fp32", "fp16"), **{"resume": True, **options}).data
        return [run["reused"] for run in (data["reference"], *data["runs"])]

    first = parity(precision=("fp32", "fp16"))
    second = parity(precision=("fp32", "fp16"), resume=True)
    assert [first.data["reference"]["reused"], second.data["reference"]["reused"]] == [False, True]
    assert second.tables[:4] == first.tables[:4]  # scores, differences and times
    assert [run["worst"] for run in second.data["runs"]] == [run["worst"] for run in first.data["runs"]]
    assert len(second.figures) == len(first.figures) == 3
    runs = "pytorch fp32, toyengine fp32, toyengine fp16"
    assert f"results and times of an earlier run are used for {runs}" in second.notes

    assert reused() == [True] * 3
    assert reused(resume=False) == [False] * 3
    assert reused(threads=1) == [False] * 3
    assert reused(images=1) == [True, False, False]
    assert reused() == [True, True, False]  # the picture of one image has replaced those of three
    assert reused() == [True] * 3
    for record in tmp_path.glob("work/config-toyengine-fp32-run-*.json"):
        record.write_text(record.read_text()[:-9])
    assert reused() == [True, False, True]
    Path(first.data["reference"]["labels"]).write_bytes(b"")
    assert reused() == [False, True, True]  # the label maps are the same as before
    os.utime(images / "images" / "1.png", (0, 0))
    assert reused() == [False] * 3


def test_an_interrupted_run_is_continued(toys: Toys, parity: Parity) -> None:
    parity(images=4)
    toys.shall("interrupt")
    with pytest.raises(KeyboardInterrupt):
        parity(precision=("fp32", "fp16"), resume=True, images=4)
    toys.shall("interrupt", yes=False)

    report = parity(precision=("fp32", "fp16"), resume=True, images=4)

    _, half = report.data["runs"]
    assert report.data["reference"]["reused"]
    assert (half["reused"], half["resumed"], half["images"]) == (False, 2, 4)
    # Those that were compared before the interruption are painted as well.
    assert sorted(worst["image"] for worst in half["worst"]) == ["0.png", "1.png", "2.png", "3.png"]
    assert half["agreement"]["images_differing"] == 4


KILLED = """
import os, signal, sys
from pathlib import Path
from segplug import files
with files.writing_folder(Path(sys.argv[1]) / "model", force=False):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_unfinished_files_of_a_killed_process_are_removed(parity: Parity, toys: Toys, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    unfinished = ".segplug-writing"
    subprocess.run([sys.executable, "-c", KILLED, str(work)])
    (left,) = (path.name for path in work.glob(f"{unfinished}*"))
    another = f"{unfinished}-elsewhere-boot-container-1-1"
    stays = [f"{another}-b"]
    for name in (*stays, f"{another}-d"):
        (work / name / "half").mkdir(parents=True)
    os.utime(work / f"{another}-d", (0, 0))

    parity()

    assert left not in stays
    assert [path.name for path in work.glob(f"{unfinished}*")] == stays
