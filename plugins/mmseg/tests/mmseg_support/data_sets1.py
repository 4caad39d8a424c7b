"""Small data sets of mmsegmentation 1.x on disk, and what mmseg itself reads from them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from segplug_mmseg.compat import import_mmseg, report_warnings
from segplug_mmseg.datasets import MmsegDataset

from mmseg_support.data_sets import load, write_images, write_masks
from segplug.progress import QuietReporter

__all__ = ["PIPELINE", "custom", "open_test_data", "references", "their_masks"]

PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}]


def custom(folder: Path, **settings: Any) -> dict[str, Any]:
    """Two images with masks of 3 labels, and the settings that find them."""
    write_images(folder / "img", ["a", "b"], ".png")
    write_masks(folder / "ann", ["a", "b"], ".png", labels=3)
    base = {
        "type": "BaseSegDataset",
        "data_root": str(folder),
        "data_prefix": {"img_path": "img", "seg_map_path": "ann"},
        "img_suffix": ".png",
        "metainfo": {"classes": ["x", "y", "z"]},
        "pipeline": PIPELINE,
    }
    return base | settings


def open_test_data(
    folder: Path,
    dataset: Any,
    evaluator: Any = None,
    *,
    reporter: QuietReporter | None = None,
    header: str = "",
    **options: str,
) -> MmsegDataset:
    """Write a config with this test data, and open it with segplug."""
    path = folder / "config.py"
    settings = {"batch_size": 1, "num_workers": 0, "dataset": dataset}
    evaluator = {"type": "IoUMetric"} if evaluator is None else evaluator
    path.write_text(
        f"{header}\ndefault_scope = 'mmseg'\ntest_dataloader = {settings!r}\ntest_evaluator = {evaluator!r}\n"
    )
    return load(path, cfg_options=options, reporter=reporter or QuietReporter())


def references(settings: dict[str, Any]) -> Any:
    """The object that mmseg makes for the same settings."""
    import_mmseg()
    from mmengine.registry import init_default_scope
    from mmseg.registry import DATASETS

    init_default_scope("mmseg")
    with report_warnings():
        return DATASETS.build(copy.deepcopy(settings))


def their_masks(dataset: Any) -> list[npt.NDArray[Any]]:
    """``gt_sem_seg`` of every sample, as mmseg's own pipeline gives it."""
    with report_warnings():
        samples = [dataset[index]["data_samples"] for index in range(len(dataset))]
    return [np.asarray(sample.gt_sem_seg.data[0]) for sample in samples]
