"""Data sets, loaders and evaluators of 0.x, translated."""

from __future__ import annotations

from typing import Any

import pytest
from segplug_mmseg.v1.upgrade import Upgraded, is_old, upgrade

from segplug.errors import ModelError

PIPELINE = [{"type": "LoadImageFromFile"}, {"type": "Collect", "keys": ["img"]}]
SINGLE: dict[str, Any] = {
    "type": "CustomDataset",
    "img_dir": "images",
    "ann_dir": "masks",
    "pipeline": PIPELINE,
}


def data(evaluation: Any = None, **splits: Any) -> Upgraded:
    return upgrade({"data": splits, **({"evaluation": evaluation} if evaluation else {})}, "old.py")


def of_test(**settings: Any) -> dict[str, Any]:
    """The data set of ``data.test``, without its pipeline."""
    found = data(test={**SINGLE, **settings}).settings["test_dataloader"]["dataset"]
    del found["pipeline"]
    return dict(found)


def test_folders_lists_and_classes_have_other_names() -> None:
    assert of_test(
        data_root="root",
        split="val.txt",
        classes=("a", "b"),
        palette=[[1, 2, 3], [4, 5, 6]],
        img_suffix=".png",
    ) == {
        "type": "BaseSegDataset",
        "data_root": "root",
        "img_suffix": ".png",
        "data_prefix": {"img_path": "images", "seg_map_path": "masks"},
        "ann_file": "val.txt",
        "metainfo": {"classes": ("a", "b"), "palette": [[1, 2, 3], [4, 5, 6]]},
    }


def test_other_places_than_the_disk() -> None:
    assert of_test(file_client_args={"backend": "petrel"})["backend_args"] == {"backend": "petrel"}
    assert "backend_args" not in of_test(file_client_args={"backend": "disk"})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"reduce_zero_label": True}, True),
        ({"gt_seg_map_loader_cfg": {"reduce_zero_label": True}}, True),
        ({"type": "ADE20KDataset"}, None),  # the class says it in both
    ],
)
def test_where_scored_labels_are_reduced(settings: dict[str, Any], expected: bool | None) -> None:
    assert of_test(**settings).get("reduce_zero_label") is expected


def test_labels_reduced_twice_are_refused() -> None:
    with pytest.raises(ModelError, match="reduces its labels twice"):
        of_test(type="ADE20KDataset", gt_seg_map_loader_cfg={"reduce_zero_label": True})


@pytest.mark.parametrize(
    ("kind", "loads", "expected"),
    [("ADE20KDataset", False, False), ("ADE20KDataset", True, None), ("CustomDataset", True, True)],
)
def test_training_reduces_labels_as_its_pipeline_did(kind: str, loads: bool, expected: bool | None) -> None:
    pipeline = [{"type": "LoadAnnotations", "reduce_zero_label": loads}]
    found = upgrade(
        {
            "data": {"train": {**SINGLE, "type": kind, "pipeline": pipeline}},
            "optimizer": {"type": "SGD"},
            "runner": {"type": "IterBasedRunner", "max_iters": 1},
        },
        "old.py",
    ).settings
    assert found["train_dataloader"]["dataset"].get("reduce_zero_label") is expected


def test_known_classes_keep_their_palette_and_names_of_others_are_said() -> None:
    assert of_test(type="CityscapesDataset", classes=["road"], palette=[[0, 0, 0]])["metainfo"] == {
        "classes": ["road"]
    }
    found = data(test={**SINGLE, "type": "Mine"})
    assert found.on_prediction == ("the data set class Mine is not mmsegmentation's: it must be one for 1.x",)


def test_a_class_that_is_gone_has_its_names_written_out() -> None:
    found = of_test(type="FaceOccludedDataset", split="val.txt")
    assert found["type"] == "BaseSegDataset"
    assert found["metainfo"]["classes"] == ("background", "face")


def test_lists_of_folders_are_data_sets_one_after_the_other() -> None:
    found = data(test={**SINGLE, "img_dir": ["a", "b"], "ann_dir": ["c", "d"], "split": ["e", "f"]})
    dataset = found.settings["test_dataloader"]["dataset"]
    assert dataset["type"] == "ConcatDataset"
    assert [(one["data_prefix"], one["ann_file"]) for one in dataset["datasets"]] == [
        ({"img_path": "a", "seg_map_path": "c"}, "e"),
        ({"img_path": "b", "seg_map_path": "d"}, "f"),
    ]
    assert found.on_prediction == ("the data sets of data.test are scored together, 0.x scores each",)
    together = data(test={**SINGLE, "img_dir": ["a", "b"], "ann_dir": "c", "separate_eval": False})
    assert not together.on_prediction
    assert "separate_eval" not in str(together.settings)


def test_data_sets_in_others() -> None:
    repeated = data(test={"type": "RepeatDataset", "times": 3, "dataset": SINGLE}).settings
    dataset = repeated["test_dataloader"]["dataset"]
    assert (dataset["type"], dataset["times"], dataset["dataset"]["type"]) == (
        "RepeatDataset",
        3,
        "BaseSegDataset",
    )
    listed = data(test=[SINGLE, SINGLE]).settings["test_dataloader"]["dataset"]
    assert [one["type"] for one in listed["datasets"]] == ["BaseSegDataset"] * 2


def test_evaluators_have_the_metrics_and_the_ignored_label() -> None:
    found = data({"metric": ["mIoU", "mDice"], "interval": 5}, test={**SINGLE, "ignore_index": 11}).settings
    assert found["test_evaluator"] == {
        "type": "IoUMetric",
        "iou_metrics": ["mIoU", "mDice"],
        "ignore_index": 11,
    }
    assert found["test_dataloader"]["dataset"]["ignore_index"] == 11
    with pytest.raises(ModelError, match="different ignore_index"):
        data(test=[SINGLE, {**SINGLE, "ignore_index": 11}])


def test_without_masks_nothing_is_scored() -> None:
    found = data(test={key: value for key, value in SINGLE.items() if key != "ann_dir"})
    assert found.settings["test_evaluator"]["format_only"] is True
    assert found.settings["test_pipeline"] == [PIPELINE[0], {"type": "PackSegInputs"}]
    assert found.settings["test_dataloader"]["dataset"]["data_prefix"] == {"img_path": "images"}


def test_data_sets_that_prepare_images_differently_are_refused() -> None:
    normalize = {"type": "Normalize", "mean": [1, 2, 3], "std": [1, 1, 1]}
    with pytest.raises(ModelError, match="normalise or pad images differently"):
        data(test=[SINGLE, {**SINGLE, "pipeline": [*PIPELINE, normalize]}])


def test_data_without_a_pipeline() -> None:
    single = {key: value for key, value in SINGLE.items() if key != "pipeline"}
    found = upgrade(
        {
            "model": {"type": "EncoderDecoder"},
            "img_norm_cfg": {"mean": [1, 2, 3], "std": [1, 1, 1]},
            "data": {"test": single},
        },
        "old.py",
    )
    assert found.settings["model"]["data_preprocessor"]["mean"] == [1.0, 2.0, 3.0]
    assert [step["type"] for step in found.settings["test_pipeline"]] == [
        "LoadImageFromFile",
        "LoadAnnotations",
        "PackSegInputs",
    ]
    (line,) = found.on_prediction
    assert line.startswith("data.test has no pipeline: images are normalised as img_norm_cfg says")


def test_loaders() -> None:
    loader = data(
        samples_per_gpu=4, workers_per_gpu=2, test_dataloader={"samples_per_gpu": 3}, test=SINGLE
    ).settings["test_dataloader"]
    assert (loader["batch_size"], loader["num_workers"], loader["persistent_workers"]) == (3, 2, True)
    assert loader["sampler"] == {"type": "DefaultSampler", "shuffle": False}
    alone = data(workers_per_gpu=0, test=SINGLE).settings["test_dataloader"]
    assert (alone["batch_size"], alone["persistent_workers"]) == (1, False)


@pytest.mark.parametrize(
    ("settings", "old"),
    [
        ({"data": {}}, True),
        ({"model": {}, "lr_config": {}}, True),
        ({"test_pipeline": [{"type": "Collect"}]}, True),
        ({"model": {}}, False),
        ({"data": {}, "default_scope": "mmseg"}, False),
        ({"img_norm_cfg": {}, "model": {"data_preprocessor": {}}}, False),
        ({"test_pipeline": [{"type": "PackSegInputs"}]}, False),
    ],
)
def test_which_configs_are_old(settings: dict[str, Any], old: bool) -> None:
    assert is_old(settings) is old
