"""The scores of mmengine's own ``Runner.test``, and the CamVid configs of 0.30 written for 1.x."""

from __future__ import annotations

import copy
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segplug_mmseg.compat import import_mmseg, report_warnings

__all__ = ["CAMVID", "runner_scores", "write_camvid"]

CAMVID = {
    # name: (config, weights) in the folder of models
    "fcn": ("fcn_m-v2-d8_480x360_camvid", "fcn_m-v2-d8_480x360_camvid"),
    "fcn_slide": ("fcn_m-v2-d8_slide_480x360_camvid", "fcn_m-v2-d8_480x360_camvid"),
    "pspnet": ("pspnet_m-v2-d8_480x360_camvid", "pspnet_m-v2-d8_480x360_camvid"),
    "deeplabv3plus": ("deeplabv3plus_m-v2-d8_480x360_camvid", "deeplabv3plus_m-v2-d8_480x360_camvid"),
    "fastscnn": ("fastscnn_480x360_camvid", "fastscnn_480x360_camvid"),
}


def runner_scores(
    config: Path, checkpoint: Path, work: Path, options: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """What mmengine's ``Runner.test`` gives, as fractions of 4 decimals: ``aAcc``, ``mIoU``, ...

    Args:
        config: A config of 1.x.
        checkpoint: Its weights.
        work: A folder for the runner's log.
        options: Overrides.
    """
    import_mmseg()
    from mmengine.config import Config
    from mmengine.runner import Runner

    settings = Config.fromfile(str(config))
    settings.merge_from_dict(dict(options or {}))
    settings.merge_from_dict(
        {
            "work_dir": str(work),
            "load_from": str(checkpoint),
            "experiment_name": work.name,
            "test_cfg": {"type": "TestLoop"},
            "test_dataloader": {"num_workers": 0, "persistent_workers": False},
            "log_level": "ERROR",
            "default_hooks": {"logger": {"type": "LoggerHook"}},
        }
    )
    settings.test_dataloader.setdefault("sampler", {"type": "DefaultSampler", "shuffle": False})
    with report_warnings():
        scores = Runner.from_cfg(settings).test()
    return {name: round(float(value) / 100, 4) for name, value in scores.items()}


def write_camvid(name: str, models: Path, frames: Path, folder: Path) -> Path:
    """A config of 1.x, written by hand, for one of the networks that 0.30 trained.

    Args:
        name: One of :data:`CAMVID`.
        models: The folder of the 0.30 configs: the network's settings are theirs.
        frames: The CamVid folder.
        folder: Where the config is written.
    """
    old = runpy.run_path(str(models / f"{CAMVID[name][0]}.py"))
    normalisation = old["img_norm_cfg"]
    model = copy.deepcopy(old["model"])
    model["data_preprocessor"] = {
        "type": "SegDataPreProcessor",
        "mean": normalisation["mean"],
        "std": normalisation["std"],
        "bgr_to_rgb": True,
        "pad_val": 0,
        "seg_pad_val": 255,
    }
    dataset = {
        "type": "BaseSegDataset",
        "data_root": str(frames),
        "data_prefix": {"img_path": "test", "seg_map_path": "testannot"},
        "img_suffix": ".png",
        "seg_map_suffix": ".png",
        "metainfo": {"classes": old["classes"], "palette": old["palette"]},
        "pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "Resize", "scale": (480, 360), "keep_ratio": False},
            {"type": "LoadAnnotations"},
            {"type": "PackSegInputs"},
        ],
    }
    evaluator = {"type": "IoUMetric", "iou_metrics": ["mIoU", "mDice", "mFscore"], "ignore_index": 11}
    path = folder / f"{name}.py"
    path.write_text(
        f"default_scope = 'mmseg'\nmodel = {model!r}\n"
        f"test_dataloader = dict(batch_size=1, num_workers=0, dataset={dataset!r})\n"
        f"test_evaluator = {evaluator!r}\n"
    )
    return path
