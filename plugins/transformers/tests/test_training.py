"""A model that the Trainer of transformers has trained: its folder is exported, run, compared and served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from proof_support.commands import run_apart, served_mask
from proof_support.references import NEAR, mean_iou

from demo.scenes import CLASSES, draw_scene

datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
PIL_Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.slow

SIZE = (64, 128)
"""Of the network's input. The images have the double, but one, which has another shape."""
STEPS = 100


@dataclass(frozen=True)
class Trained:
    """What a user has after a training."""

    folder: Path
    """The model, as save_pretrained wrote it."""
    data: Path
    """The data set with the splits train and validation, as save_to_disk wrote it."""
    losses: tuple[float, ...]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("trained")
    datasets.disable_progress_bars()
    data = datasets.DatasetDict(
        train=_scenes([(2, number) for number in range(8)]), validation=_scenes([(1, 0), (1, 1), (1, 2)])
    )
    data.save_to_disk(str(root / "data"))
    torch.manual_seed(0)
    labels = dict(enumerate(CLASSES))
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=32,
        classifier_dropout_prob=0.0,
        id2label=labels,
        label2id={name: label for label, name in labels.items()},
    )
    processor = transformers.SegformerImageProcessorPil(size={"height": SIZE[0], "width": SIZE[1]})
    model = transformers.SegformerForSemanticSegmentation(config)

    def batch(rows: list[dict[str, Any]]) -> Any:
        return processor([row["image"] for row in rows], [row["label"] for row in rows], return_tensors="pt")

    arguments = transformers.TrainingArguments(
        output_dir=str(root / "run"),
        max_steps=STEPS,
        per_device_train_batch_size=4,
        learning_rate=5e-3,
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=data["train"], data_collator=batch)
    trainer.train()
    trainer.save_model(str(root / "model"))
    processor.save_pretrained(str(root / "model"))
    losses = tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    return Trained(root / "model", root / "data", losses)


def _scenes(seeds: list[tuple[int, int]]) -> Any:
    """Street scenes in half their size, and the last of them cut."""
    rows: dict[str, list[Any]] = {"image": [], "label": []}
    for seed in seeds:
        image, labels = draw_scene(seed)
        small = cv2.resize(image, (256, 128), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(labels, (256, 128), interpolation=cv2.INTER_NEAREST)
        edge = 201 if seed == seeds[-1] else 256
        rows["image"].append(PIL_Image.fromarray(small[:, :edge]))
        rows["label"].append(PIL_Image.fromarray(mask[:, :edge]))
    features = datasets.Features(image=datasets.Image(), label=datasets.Image())
    return datasets.Dataset.from_dict(rows, features=features)


@dataclass(frozen=True)
class Expected:
    """What transformers says of an image of the validation split."""

    labels: npt.NDArray[np.int64]
    sure: npt.NDArray[np.bool_]
    """Where the largest score is not nearly the second largest."""
    truth: npt.NDArray[np.uint8]
    image: Any


@pytest.fixture(scope="module")
def expected(trained: Trained) -> list[Expected]:
    processor = transformers.SegformerImageProcessorPil.from_pretrained(str(trained.folder))
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(str(trained.folder)).eval()
    found = []
    for row in datasets.load_from_disk(str(trained.data))["validation"]:
        size = row["image"].size[::-1]
        with torch.no_grad():
            outputs = model(**processor(row["image"], return_tensors="pt"))
        labels = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0]
        scores = torch.nn.functional.interpolate(outputs.logits, size, mode="bilinear")[0]
        top = scores.topk(2, dim=0).values
        found.append(
            Expected(labels.numpy(), (top[0] - top[1] > NEAR).numpy(), np.array(row["label"]), row["image"])
        )
    return found


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("exported") / "model.onnx"
    document = run_apart("export", "onnx", trained.folder, "--output", output, "--verify")
    assert document["verification"]["passed"]
    return output


def test_the_training_learns_several_classes(trained: Trained, expected: list[Expected]) -> None:
    assert trained.losses[-1] < 0.6 * trained.losses[0]
    counts = np.bincount(np.concatenate([one.labels.ravel() for one in expected]))
    assert (counts > 0.05 * counts.sum()).sum() >= 3


def test_the_file_gives_the_labels_and_the_score_of_transformers(
    trained: Trained, expected: list[Expected], exported: Path, tmp_path: Path
) -> None:
    on_data = ("infer", "onnxruntime", exported, "--dataset", trained.data)
    options = ("--dataset-options", "split=validation")
    run_apart(*on_data, *options, "--format-only", tmp_path / "maps")
    maps = [np.array(PIL_Image.open(file)) for file in sorted((tmp_path / "maps").glob("*.png"))]
    assert len(maps) == len(expected)
    for found, one in zip(maps, expected, strict=True):
        assert one.sure.mean() > 0.99
        assert np.array_equal(found[one.sure], one.labels[one.sure])
    document = run_apart(*on_data, *options, "--eval", "mIoU")
    labels, truth = (
        np.concatenate([getattr(one, what).ravel() for one in expected]) for what in ("labels", "truth")
    )
    assert document["scores"]["mIoU"] == pytest.approx(mean_iou(labels, truth, len(CLASSES)), abs=1e-4)


def test_parity_compares_the_folder_with_its_files(trained: Trained, tmp_path: Path) -> None:
    document = run_apart(
        *("analyze", "parity", trained.folder, "--backend", "onnxruntime", "--work-dir", tmp_path / "work"),
        *("--dataset", trained.data, "--dataset-options", "split=validation"),
    )
    (compared,) = document["runs"]
    assert compared["compared"]
    assert compared["scores"] == pytest.approx(document["reference"]["scores"], abs=1e-4)


def test_the_folder_is_served(trained: Trained, expected: list[Expected]) -> None:
    mask = served_mask(np.array(expected[-1].image), trained.folder)
    sure = expected[-1].sure
    assert np.array_equal(mask[sure], expected[-1].labels[sure])
