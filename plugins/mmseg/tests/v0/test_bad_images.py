"""Images and pipelines that a model cannot take: one clear line, and an exit code."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from mmseg_support.scoring import Project, blocks, make_project

from segplug.cli.root import run_command_line

LOADER = {"type": "LoadImageFromFile"}
NORMALISE = {"type": "Normalize", "mean": [120.0] * 3, "std": [60.0] * 3}
PACK = [{"type": "ImageToTensor", "keys": ["img"]}, {"type": "Collect", "keys": ["img"]}]

OWN_LOADER = """
import os.path as osp
import numpy as np
from mmseg.datasets.builder import PIPELINES

@PIPELINES.register_module(force=True)
class LoadChosen:
    def __init__(self, bands):
        self.bands = bands
    def __call__(self, results):
        name = results['img_info']['filename']
        image = np.load(osp.join(results['img_prefix'], name))[..., self.bands]
        shapes = dict.fromkeys(['img_shape', 'ori_shape', 'pad_shape'], image.shape)
        results.update(filename=name, ori_filename=name, img=image, scale_factor=1.0, img_norm_cfg={})
        results.update(shapes)
        return results
"""


@pytest.fixture
def colour(tmp_path) -> Project:
    """A project of usual images, whose settings are changed by options."""
    pipeline = [
        LOADER,
        {"type": "MultiScaleFlipAug", "img_scale": (96, 64), "transforms": [NORMALISE, *PACK]},
    ]
    return make_project(tmp_path, pipeline, [blocks(3, "uint8", number) for number in (0, 1)])


@pytest.fixture
def bands(tmp_path, monkeypatch) -> Project:
    """A project of ``.npy`` files with five bands, of which a loader of the user's own chooses three."""
    (tmp_path / "my_chosen.py").write_text(OWN_LOADER)
    monkeypatch.syspath_prepend(str(tmp_path))
    inner = {"type": "MultiScaleFlipAug", "img_scale": (96, 64), "transforms": [NORMALISE, *PACK]}
    return make_project(
        tmp_path,
        [{"type": "LoadChosen", "bands": [4, 2, 0]}, inner],
        [blocks(5, "float32", number) for number in (0, 1)],
        suffix=".npy",
        header="custom_imports = dict(imports=['my_chosen'])",
    )


def infer(project: Project, *options: str) -> int:
    config, checkpoint = str(project.config), str(project.checkpoint)
    return run_command_line(
        ["run", "infer", "pytorch", config, "--checkpoint", checkpoint, "--eval", "mIoU", *options]
    )


def options(**changes: Any) -> list[str]:
    prefix = "data.test.pipeline.1.transforms.0"
    return ["--cfg-options", *(f"{prefix}.{name}={value}" for name, value in changes.items())]


def assert_one_line(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    said = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in said if not line.startswith(("warning: ", "note: "))]
    assert len(errors) == 1, said
    for part in parts:
        assert part in errors[0]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (options(mean="[1,2]"), ["normalises 2 channels"]),
        (options(std="[1,2,3,4]"), ["normalises 4 channels"]),
        (options(mean="[1,nan,3]"), ["normalises with a mean that is not finite"]),
        (options(std="[1,inf,3]"), ["normalises with a std that is not finite"]),
        (options(std="[1,0,3]"), ["normalises with a std that is not above 0"]),
        (options(type="CLAHE"), ["has CLAHE, which segplug cannot do", "--approximate"]),
    ],
)
def test_pipelines(colour, capsys, changes, parts):
    assert infer(colour, *changes) == 1
    assert_one_line(capsys, *parts)


def test_a_network_of_four_channels_and_colour_images(tmp_path, capsys):
    images = [blocks(3, "uint8", number) for number in (0, 1)]
    four = {"type": "Normalize", "mean": [1.0] * 4, "std": [1.0] * 4, "to_rgb": False}
    transforms = {"type": "MultiScaleFlipAug", "img_scale": (96, 64), "transforms": [four, *PACK]}
    unchanged = LOADER | {"color_type": "unchanged"}
    alpha = [blocks(4, "uint8", number) for number in (0, 1)]
    project = make_project(tmp_path, [unchanged, transforms], alpha, channels=4)
    assert infer(project, "--cfg-options", "data.test.pipeline.0.color_type=color") == 1
    assert_one_line(capsys, "reads images as color_type='color' (3 channels), but normalises 4 channels")
    assert infer(project, *options(mean="[1,2,3]", std="[1,2,3]")) == 1
    assert_one_line(capsys, "the test pipeline normalises 3 channels, the network takes 4")
    cv2.imwrite(str(tmp_path / "img" / "1.png"), images[1])
    assert infer(project) == 1
    assert_one_line(capsys, "1.png has 3 channels, the network takes 4")


def test_what_is_left_out_stands_in_the_report(colour, capsys):
    assert infer(colour, *options(type="CLAHE"), "--approximate") == 0
    assert "CLAHE is left out" in capsys.readouterr().out


def test_bands_that_are_not_there(bands, capsys):
    assert infer(bands, "--cfg-options", "data.test.pipeline.0.bands=[0,2,7]") == 1
    assert_one_line(capsys, "img/0.npy cannot be read: IndexError: index 7 is out of bounds")


def test_images_that_change(bands, capsys):
    second = bands.config.parent / "img" / "1.npy"
    image = np.load(second)
    image[4, 5, 2] = np.nan
    np.save(second, image)
    assert infer(bands) == 1
    assert_one_line(capsys, "1.npy holds nan in channel 2, row 4, column 5")
    assert infer(bands, "--cfg-options", "data.test.pipeline.0.bands=[0,1]") == 1
    assert_one_line(capsys, "0.npy has 2 channels, the network takes 3")
