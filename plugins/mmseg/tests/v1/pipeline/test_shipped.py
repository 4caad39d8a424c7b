"""The pipelines and data preprocessors of the configs that come with mmseg: equal in every bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmseg_support.pipelines1 import compare, mmsegs, ours, read
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.v1.pipeline import test_data as data_of

from segplug.errors import ModelError
from segplug.runtime.reading import read_image

SIZES = ((60, 90), (97, 41))
SOME = (
    "pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "poolformer/fpn_poolformer_s12_8xb4-40k_ade20k-512x512.py",
    "san/san-vit-b16_coco-stuff164k-640x640.py",
    "mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py",
    "unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py",
    "vpd/vpd_sd_4xb8-25k_nyu-512x512.py",
)
"""Of each kind of pipeline one."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a data set gives for each image: paths of a JPEG with EXIF data or a PNG, and of a mask."""
    folder = tmp_path_factory.mktemp("images")
    found = []
    for number, size in enumerate(SIZES):
        noise = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        image, mask = folder / f"{number}.{('jpg', 'png')[number]}", folder / f"{number}_mask.png"
        assert cv2.imwrite(str(image), noise)
        assert cv2.imwrite(str(mask), noise[:, :, 0] % 19)
        paths = {"img_path": str(image), "seg_map_path": str(mask), "depth_map_path": str(mask)}
        found.append({**paths, "category_id": 0})
    return found


def _config(path: Path) -> Any:
    import_mmseg()
    from mmengine.config import Config

    return Config.fromfile(path, import_custom_modules=False)


def _assert_equal(config: Any, files: list[dict[str, Any]]) -> None:
    pipeline, after = data_of(config)["pipeline"], config["model"]["data_preprocessor"]
    plain = read(config, network=3)
    for paths in files:
        image = read_image(Path(paths["img_path"]), plain.decoding, channels=plain.in_channels)
        zero = {step.get("reduce_zero_label") for step in pipeline} == {None, True}
        results = {**paths, "reduce_zero_label": zero}
        (mine,) = ours(replace(plain, tta=()), image)
        (other,) = mmsegs(pipeline, after, results)
        compare([mine], [other], [pipeline, after])
        if plain.tta:
            assert not plain.tta_by_default
            views = mmsegs(config["tta_pipeline"], after, {**paths, "reduce_zero_label": False})
            assert len(views) == 12
            compare(ours(plain, image), views, config["tta_pipeline"])


@pytest.mark.parametrize("name", SOME)
def test_one_config_of_each_kind(mim_configs: Path, files: list[dict[str, Any]], name: str) -> None:
    _assert_equal(_config(mim_configs / name), files)


def _configs(folder: Path) -> Iterator[tuple[Path, Any]]:
    for path in sorted(folder.rglob("*.py")):
        if "_base_" not in path.parts:
            yield path, _config(path)


@pytest.mark.slow
def test_every_pipeline_with_every_data_preprocessor(mim_configs: Path, files: list[dict[str, Any]]) -> None:
    done, refused, number = set(), {}, 0
    for path, config in _configs(mim_configs):
        number += 1
        pipeline, after = data_of(config)["pipeline"], config["model"]["data_preprocessor"]
        if (key := repr((pipeline, after, config.get("tta_pipeline")))) in done:
            continue
        done.add(key)
        try:
            read(config, network=3)
        except ModelError as error:
            refused[path.name] = error.message
            continue
        _assert_equal(config, files)
    assert number > 600
    assert len(done) >= 40
    assert refused == {
        "swin-tiny-patch4-window7_upernet_1xb8-20k_levir-256x256.py": (
            "the test pipeline has LoadMultipleRSImageFromFile, which loads two images for each sample, not "
            "one image"
        )
    }
