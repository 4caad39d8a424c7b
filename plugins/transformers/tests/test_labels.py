"""From a folder to label maps: what an exported file gives is what transformers itself gives.

The other side is transformers' own processor, network and post-processing
(``matrix/transformers_zoo.py``). The images have sizes that are not the network's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers
from proof_support.references import Image, Reference, assert_equal
from transformers_support.references import references_of_pillow, references_of_torchvision

from matrix import transformers_zoo
from segplug import Segplug
from segplug.artifact import Artifact
from segplug.cli.root import run_command_line
from segplug.runtime.sizes import plan_sizes

SCORES = 5e-5
"""Largest difference of scores that is allowed, of the largest score of an image."""
FEW = 0.03
"""Largest share of pixels whose two largest scores are nearly equal. DETR's masks have the most: 2 %."""

BOTH = ("segformer", "mobilevit", "oneformer", "eomt", "detr")
"""Models of which the numbers of torchvision are compared, too. OneFormer's alone resizes scores by it."""

FREE = (
    "segformer",
    "upernet-convnext",
    "upernet-dinov3",
    "mobilenet_v2",
    "mobilevitv2",
    "detr",
)
"""Networks whose files are exported with free sizes in every run of all tests."""

FREE_NIGHTLY = ("upernet-swin", "upernet-dinov2", "mobilevit", "maskformer", "mask2former", "oneformer")
"""Networks that take free sizes, too, whose export takes longer. All others take one size, or multiples."""


def _images(name: str) -> list[Image]:
    """Images of two sizes; of one, where the size that the network is given depends on the image's."""
    sizes = transformers_zoo.SIZES
    if transformers_zoo.ENTRIES[name].sizing == "edges":
        sizes = sizes[:1]
    return [
        transformers_zoo.sample_image(*size, seed)
        for size, seed in itertools.product(sizes, transformers_zoo.SEEDS)
    ]


@pytest.fixture(scope="module")
def of_torchvision(zoo: Callable[[str], Path]) -> Mapping[Path, Sequence[Reference]]:
    """What transformers says where it has torchvision: one process for all models."""
    jobs: dict[Path, list[Image]] = {zoo(name): _images(name) for name in transformers_zoo.TORCHVISION_ONLY}
    return references_of_torchvision(jobs | {zoo(name): _with_small(name) for name in BOTH})


def _with_small(name: str) -> list[Image]:
    """Also an image that is smaller than the scores, which have to shrink."""
    return [*_images(name), transformers_zoo.sample_image(11, 19)]


def _saved(images: Sequence[Image], folder: Path) -> list[str]:
    files = [folder / f"{number}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        cv2.imwrite(str(file), image[:, :, ::-1])
    return [str(file) for file in files]


def _labels(artifact: Artifact, files: Sequence[str], folder: Path, batch: int) -> list[npt.NDArray[Any]]:
    """The label maps of ``segplug run infer onnxruntime``."""
    result = folder / f"labels{batch}.npz"
    command = ["run", "infer", "onnxruntime", str(artifact.path), "--input-img", *files]
    assert run_command_line([*command, "--out", str(result), "--batch-size", str(batch)]) == 0
    with np.load(result) as maps:
        return [maps[Path(file).name] for file in files]


def _assert_equal(labels: Sequence[npt.NDArray[Any]], references: Sequence[Reference]) -> int:
    """Compare where transformers is sure; give the number of the other pixels."""
    return sum(assert_equal(*pair, few=FEW) for pair in zip(labels, references, strict=True))


def _assert_scores(artifact: Artifact, images: Sequence[Image], references: Sequence[Reference]) -> None:
    app = Segplug()
    with app.open(artifact) as engine:
        for image, reference in zip(images, references, strict=True):
            found = app.predict(engine, image, logits=True).logits
            assert np.abs(found - reference.scores).max() < SCORES * reference.largest


@pytest.mark.parametrize("name", transformers_zoo.NAMES)
def test_a_file_of_one_size(
    name: str,
    zoo: Callable[[str], Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    folder, images = zoo(name), _images(name)
    only = name in transformers_zoo.TORCHVISION_ONLY
    if only:
        references = request.getfixturevalue("of_torchvision")[folder]
    else:
        references = references_of_pillow(folder, images)
    for reference in references:
        counts = np.bincount(reference.labels.ravel())
        assert (counts > 0.05 * reference.labels.size).sum() >= 3
    model = Segplug().load_model(str(folder), processor="torchvision" if only else "pil")
    shape = model.meta.input_size
    if shape is None:
        shape = plan_sizes(model.meta.preprocessing, images[0].shape[:2]).geometry.network
    artifact = Segplug().export("onnx", model, output=tmp_path / "model.onnx", shape=shape)
    labels = _labels(artifact, _saved(images, tmp_path), tmp_path, 1)
    record_property("near-ties", _assert_equal(labels, references))
    _assert_scores(artifact, images, references)


@pytest.mark.parametrize("name", BOTH)
def test_the_numbers_of_torchvision(
    name: str, zoo: Callable[[str], Path], of_torchvision: Mapping[Path, Sequence[Reference]]
) -> None:
    """They are not Pillow's; the network itself runs, without a file."""
    folder, images, app = zoo(name), _with_small(name), Segplug()
    references = of_torchvision[folder]
    with app.open(app.load_model(str(folder), processor="torchvision")) as engine:
        found = [app.predict(engine, image, logits=True) for image in images]
    _assert_equal([one.labels for one in found], references)
    for one, reference in zip(found, references, strict=True):
        assert np.abs(one.logits - reference.scores).max() < SCORES * reference.largest


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*FREE, *(pytest.param(name, marks=pytest.mark.nightly) for name in FREE_NIGHTLY)]
)
def test_a_file_of_free_sizes(
    name: str, zoo: Callable[[str], Path], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    folder = zoo(name)
    images = [
        transformers_zoo.sample_image(*size, seed)
        for size, seed in itertools.product(transformers_zoo.SIZES, transformers_zoo.SEEDS)
    ]
    references = references_of_pillow(folder, images)
    model = Segplug().load_model(str(folder), processor="pil")
    artifact = Segplug().export("onnx", model, output=tmp_path / "model.onnx", dynamic=True)
    files = _saved(images, tmp_path)
    for batch in (1, 2):
        near = _assert_equal(_labels(artifact, files, tmp_path, batch), references)
    record_property("near-ties", near)
    _assert_scores(artifact, images, references)
    _assert_odd_sizes(folder, artifact)


def _assert_odd_sizes(folder: Path, artifact: Artifact) -> None:
    """Run batches of sizes that are not the nominal one through the file and transformers' network."""
    limits = artifact.meta.input_limits
    assert limits is not None
    assert limits.maximum is None
    network, score = _theirs(folder)
    _, exact = _theirs(folder, torch.float64)
    with Segplug().open(artifact) as engine:
        for batch, height, width in ((2, 71, 109), (1, 150, 87)):
            size = [-(-edge // limits.multiple_of) * limits.multiple_of for edge in (height, width)]
            pixels = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(height))
            expected = score(pixels)
            found = engine.run(pixels.numpy())
            assert found.shape == expected.shape
            # A network may amplify rounding: masked attention of OneFormer switches at 0.
            rounding = np.abs(exact(pixels.double()) - expected).max()
            limit = max(SCORES * np.abs(expected).max(), 2 * rounding)
            assert np.abs(found - expected).max() < limit, (network, size)


def _theirs(
    folder: Path, dtype: torch.dtype = torch.float32
) -> tuple[str, Callable[[torch.Tensor], npt.NDArray[Any]]]:
    """A network, and its scores of pixels before they are resized, from transformers' own post-processing."""
    entry = transformers_zoo.ENTRIES[folder.name]
    network = getattr(transformers, entry.model).from_pretrained(folder).to(dtype).eval()
    processor = getattr(transformers, f"{entry.processor}Pil").from_pretrained(folder)
    more = {"task_inputs": _task(folder)} if folder.name == "oneformer" else {}

    def score(pixels: torch.Tensor) -> npt.NDArray[Any]:
        with torch.no_grad():
            found = network(pixels, **{key: value.expand(len(pixels), -1) for key, value in more.items()})
            results = processor.post_process_semantic_segmentation(found, return_segmentation_scores=True)
        return np.stack([result.segmentation_scores.numpy() for result in results])

    return entry.model, score


def _task(folder: Path) -> torch.Tensor:
    config = transformers.AutoConfig.from_pretrained(folder)
    image = transformers_zoo.sample_image(64, 64)
    inputs = transformers_zoo.preprocess(folder, config, image, "pil")[1]
    tokens: torch.Tensor = inputs["task_inputs"]
    return tokens
