"""The client in the README, run against a stand-in for Triton that speaks Triton's protocol."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton
from triton_support.models import CLASSES, HalfSize, pack, tiny
from triton_support.stand_in import serving

from segplug import Segplug
from segplug.preprocessing import Resize, usual_steps
from segplug.runtime.segment import Segmenter

README = Path(__file__).parents[1] / "README.md"
BGR_RESIZED = usual_steps(
    (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), channel_order="bgr", resize=Resize(scale=(64, 40))
)


def example() -> str:
    """The client's code in the README."""
    blocks = README.read_text(encoding="utf-8").split("```python\n")[1:]
    (code,) = [block.split("```")[0] for block in blocks if "tritonclient" in block]
    return code


@pytest.fixture
def photo(tmp_path):
    noise = np.random.default_rng(5).integers(0, 256, (9, 12, 3), np.uint8)
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), cv2.resize(noise, (61, 45)))
    return path


def through_the_client(repository, photo):
    with serving(repository) as address:
        code = example().replace("localhost:8001", address).replace('"street"', '"tiny"')
        names: dict = {}
        exec(compile(code.replace('"photo.jpg"', repr(str(photo))), str(README), "exec"), names)
        names["client"].close()
    return names["labels"]


@pytest.mark.parametrize(
    ("export_as", "changes"),
    [
        ({"dynamic": True}, {}),
        ({"dynamic": True}, {"preprocessing": BGR_RESIZED}),
        ({"dynamic": True, "output_kind": "logits"}, {"align_corners": True}),
        ({"dynamic": True, "output_kind": "logits"}, {"network": HalfSize}),
        ({"output_kind": "logits"}, {"network": HalfSize}),
        ({"dynamic": True}, {"network": HalfSize}),
        ({"output_kind": "logits"}, {}),
        ({}, {}),
    ],
)
def test_the_client_gives_the_runtimes_labels(export, repository, photo, export_as, changes):
    artifact = export(model=tiny(**changes), **export_as)
    pack(artifact, repository)
    labels = through_the_client(repository, photo)
    with Segplug().open(artifact, backend="onnxruntime") as engine:
        (expected,) = Segmenter(engine)([cv2.imread(str(photo))])
    assert labels.shape == (45, 61)
    assert len(np.unique(labels)) >= 3
    np.testing.assert_array_equal(labels, expected.labels)
    assert labels.max() < len(CLASSES)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_the_client_reads_bands(export, repository, tmp_path, channels):
    artifact = export(model=tiny(channels=channels), dynamic=True)
    pack(artifact, repository)
    coarse = np.random.default_rng(5).integers(0, 1000, (9, 12, channels)).astype(np.uint16)
    image = np.stack([cv2.resize(band, (61, 45)) for band in coarse.transpose(2, 0, 1)], axis=2)
    if channels == 1:
        image = (image // 4).astype(np.uint8)  # grey is read as 8 bits
    path = tmp_path / "bands.npy"
    np.save(path, image)
    labels = through_the_client(repository, path)
    with Segplug().open(artifact, backend="onnxruntime") as engine:
        (expected,) = Segmenter(engine)([image])
    assert len(np.unique(labels)) >= 2
    np.testing.assert_array_equal(labels, expected.labels)


def test_the_stand_in_refuses_requests_that_do_not_fit_the_config(static_logits, repository):
    """The stand-in checks requests against the config; otherwise the tests above would prove nothing."""
    pack(static_logits, repository)
    batch = np.zeros((1, 3, 40, 48), np.float32)
    tensor = triton.InferInput("input", batch.shape, "FP32").set_data_from_numpy(batch)
    with (
        serving(repository) as address,
        triton.InferenceServerClient(address) as client,
        pytest.raises(triton.InferenceServerException, match="unexpected shape"),
    ):
        client.infer("tiny", [tensor])
