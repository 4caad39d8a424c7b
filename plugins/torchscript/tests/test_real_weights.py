"""Trained weights on real images: the files' labels are PyTorch's, pixel by pixel."""

from __future__ import annotations

import pytest

from segplug import Segplug
from segplug.runtime.preprocess import Preprocessor

MODEL = "fastscnn_480x360_camvid"


@pytest.fixture(scope="module")
def model(data_dir):
    config = data_dir / "models" / f"{MODEL}.py"
    return Segplug().load_model(config, checkpoint=config.with_suffix(".pth"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("torchscript", {}),
        ("torchscript", {"optimize": True}),
        ("torch-export", {}),
    ],
    ids=["torchscript", "optimised", "torch-export"],
)
def test_a_verified_file_scores_as_pytorch(data_dir, model, tmp_path, target, options):
    import cv2
    import numpy as np

    session = Segplug()
    frames = sorted((data_dir / "camvid" / "test").iterdir())[:2]
    path = tmp_path / ("m.pt" if target == "torchscript" else "m.pt2")
    artifact = session.export(
        target, model, output=path, dynamic=True, verify=True, images=frames[:1], **options
    )
    assert artifact.meta.verification["passed"]
    assert artifact.meta.verification["relative_difference"] < 1e-5
    with (
        session.open(model, backend="pytorch", threads=1) as reference,
        session.open(artifact, backend=target, threads=1) as engine,
    ):
        assert engine.spec.meta.verification == artifact.meta.verification
        prepare = Preprocessor(model.meta, engine.spec)
        for frame in frames:
            batch = prepare(cv2.imread(str(frame)), frame.name).array[None]
            assert np.array_equal(engine.run(batch).argmax(1), reference.run(batch).argmax(1))
