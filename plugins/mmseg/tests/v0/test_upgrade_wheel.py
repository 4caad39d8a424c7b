"""The configs that come with mmsegmentation 0.30, translated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.v1.upgrade import is_old, upgrade

from segplug import Segplug
from segplug.cli.root import run_command_line

SAMPLE = (
    *(
        "beit/upernet_beit-base_640x640_160k_ade20k_ms.py",
        "unet/fcn_unet_s5-d16_ce-1.0-dice-3.0_64x64_40k_drive.py",
    ),
    *("ann/ann_r50-d8_512x512_20k_voc12aug.py", "convnext/upernet_convnext_tiny_fp16_512x512_160k_ade20k.py"),
)

_READ = ("model", "pipeline", "dataloader", "evaluator", "optim_wrapper", "cfg", "default_hooks")
"""How the names of settings end that 1.x reads."""


def translated(path: Path) -> tuple[str, ...]:
    """Translate a config of the wheel; returns what is said of predictions."""
    import_mmseg()
    from mmcv import Config

    settings = Config.fromfile(str(path), import_custom_modules=False)._cfg_dict
    assert is_old(settings)
    found = upgrade(settings, str(path))
    assert not is_old(found.settings)
    # Variables of the config's own, such as img_scale, stay; nothing reads them.
    read = [value for key, value in found.settings.items() if key.endswith(_READ)]
    assert len(read) > 4
    assert not {"img_dir", "ann_dir", "img_scale", "MultiScaleFlipAug", "Collect", "mmcls"} & set(
        _words(read)
    )
    return found.on_prediction


def _words(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [word for key, value in node.items() for word in (str(key), *_words(value))]
    if isinstance(node, (list, tuple)):
        return [word for value in node for word in _words(value)]
    return [node.split(".")[0]] if isinstance(node, str) else []


@pytest.mark.parametrize("name", SAMPLE)
def test_configs_of_the_wheel_are_translated(mim_configs: Path, name: str) -> None:
    known = ("tta_pipeline", "ConvNeXt of mmpretrain") if "convnext" in name else ("tta_pipeline",)
    assert all(any(words in line for words in known) for line in translated(mim_configs / name))


@pytest.mark.slow
def test_all_configs_of_the_wheel_are_translated(mim_configs: Path) -> None:
    paths = [path for path in sorted(mim_configs.glob("*/*.py")) if path.parent.name != "_base_"]
    assert len(paths) == 644
    assert Counter(line for path in paths for line in translated(path)) == {
        "the views of MultiScaleFlipAug are in tta_pipeline: 1.x uses them with --tta alone": 4,
        "ConvNeXt of mmpretrain normalises before each downsampling with an eps of 1e-6, that of mmcls with "
        "1e-5: logits differ a little": 6,
    }


def test_analyze_config_writes_the_translated_config(
    mim_configs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config, out = mim_configs / SAMPLE[1], tmp_path / "new.py"
    command = ["run", "analyze", "config", str(config), "--upgrade", "--out", str(out)]
    assert run_command_line([*command, "--cfg-options", "data.test.data_root=here"]) == 0
    found: dict[str, Any] = {}
    exec(out.read_text(), found)
    assert found["test_dataloader"]["dataset"]["data_root"] == "here"
    assert out.read_text().splitlines()[:2] == [
        "# Translated from a config of mmsegmentation 0.x.",
        "# Training: DiceLoss of 1.x is computed with another formula",
    ]
    # It is for another environment.
    capfd.readouterr()
    assert run_command_line([*command[:3], str(out), "--upgrade"]) == 1
    assert "is a config of mmsegmentation 1.x" in capfd.readouterr().err


def test_a_source_of_one_generation_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["run", "analyze", "config", "python:a:b", "--upgrade"]) == 2
    assert "the source python has no older configs that could be upgraded" in capfd.readouterr().err


def test_python_can_do_the_same(mim_configs: Path) -> None:
    assert "test_dataloader = dict(" in Segplug().upgraded_text(mim_configs / SAMPLE[0])
