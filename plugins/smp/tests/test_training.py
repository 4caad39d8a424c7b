"""A network that was trained with smp: its folder is exported, run, compared, served and packed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from smp_support.networks import TINY, own_scores

from demo.scenes import CLASSES, draw_scene
from segplug.cli.root import run_command_line

pytestmark = pytest.mark.slow

STEPS = 60
NEAR = 1e-4


@dataclass(frozen=True)
class Trained:
    """What a user has after a training."""

    folder: Path
    data: Path
    """Images and masks of a data set, in ``images`` and ``masks``."""
    images: tuple[npt.NDArray[np.uint8], ...]
    """Those of ``data``, RGB; one has sizes that are no multiples of 32."""
    losses: tuple[float, ...]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("trained")
    preprocess = smp.encoders.get_preprocessing_fn(TINY)
    torch.manual_seed(0)
    network = smp.FPN(
        TINY, encoder_weights=None, classes=len(CLASSES), decoder_pyramid_channels=32,
        decoder_segmentation_channels=32, decoder_dropout=0.0, activation="softmax2d",
    )  # fmt: skip
    network.segmentation_head[2] = torch.nn.Identity()  # the loss takes logits
    loss = smp.losses.DiceLoss("multiclass", from_logits=True)
    steps = torch.optim.Adam(network.parameters(), lr=5e-3)
    scenes = [scene((2, number)) for number in range(8)]
    inputs = torch.from_numpy(np.stack([preprocess(image) for image, _ in scenes]).transpose(0, 3, 1, 2))
    masks = torch.from_numpy(np.stack([mask for _, mask in scenes])).long()
    losses = []
    for step in range(STEPS):
        chosen = torch.arange(4) + 4 * (step % 2)
        value = loss(network(inputs[chosen].float()), masks[chosen])
        steps.zero_grad()
        value.backward()
        steps.step()
        losses.append(float(value))
    network.save_pretrained(root / "net")
    images = []
    for place, name in enumerate(("a", "b")):
        image, mask = scene((1, place))
        if place:
            image, mask = image[:70], mask[:70]
        for kind, content in (("images", image[:, :, ::-1]), ("masks", mask)):
            (root / "data" / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "data" / kind / f"{name}.png"), content)
        images.append(image)
    return Trained(root / "net", root / "data", tuple(images), tuple(losses))


def scene(seed: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    image, labels = draw_scene(seed)
    small = cv2.resize(image, (192, 96), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8), cv2.resize(labels, (192, 96), interpolation=cv2.INTER_NEAREST)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    capsys.readouterr()
    code = run_command_line([*map(str, words), "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


def test_a_file_gives_the_labels_and_the_score_of_smp(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained.losses[-1] < 0.8 * trained.losses[0]
    model = tmp_path / "net.onnx"
    exported = run(
        capsys, "export", "onnx", trained.folder, "--output", model, "--dynamic", "--verify",
        "--classes", *CLASSES,
    )  # fmt: skip
    assert exported["verification"]["passed"]
    settings = smp.encoders.get_preprocessing_params(TINY)
    network = smp.from_pretrained(str(trained.folder)).eval()
    on_data = ("infer", "onnxruntime", model, "--dataset", trained.data)
    run(capsys, *on_data, "--format-only", tmp_path / "maps")
    counts = np.zeros(len(CLASSES))
    statistics = []
    for name, image in zip(("a", "b"), trained.images, strict=True):
        probabilities = own_scores(network, image, settings["mean"], settings["std"])
        labels = probabilities.argmax(0)
        top = np.sort(probabilities, axis=0)[-2:]
        sure = top[1] - top[0] > NEAR
        found = np.array(Image.open(tmp_path / "maps" / f"{name}.png"))
        assert sure.mean() > 0.99
        assert np.array_equal(found[sure], labels[sure])
        counts += np.bincount(labels.ravel(), minlength=len(CLASSES))
        truth = cv2.imread(str(trained.data / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        statistics.append(
            smp.metrics.get_stats(
                torch.from_numpy(labels)[None], torch.from_numpy(truth)[None].long(),
                mode="multiclass", num_classes=len(CLASSES),
            )
        )  # fmt: skip
    assert (counts > 0.05 * counts.sum()).sum() >= 3
    scores = run(capsys, *on_data, "--eval", "mIoU")["scores"]
    hit, wrong, missed, _ = (torch.cat(kind).sum(0) for kind in zip(*statistics, strict=True))
    union = (hit + wrong + missed).double()
    expected = (hit[union > 0] / union[union > 0]).mean()
    assert scores["mIoU"] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.nightly
def test_other_formats_and_tools(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target, name in (("torchscript", "net.pt"), ("torch-export", "net.pt2")):
        document = run(
            capsys, "export", target, trained.folder, "--output", tmp_path / name, "--shape", 96, 192,
            "--verify",
        )  # fmt: skip
        assert document["verification"]["passed"]
    run(capsys, "export", "torchserve", trained.folder, "--output-folder", tmp_path / "store")
    assert list((tmp_path / "store").glob("*.mar"))
    document = run(capsys, "analyze", "flops", trained.folder, "--shape", 96, 192)
    assert document
