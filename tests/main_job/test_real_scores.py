"""The scores that mmseg's own code gives, from real weights and real images, on both backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segplug import Segplug
from segplug.runtime.raw import RawSink

# data/README.md: mIoU, mAcc, aAcc of mmseg's build_dataset and dataset.evaluate on the 21 test frames.
SCORES = {
    "fcn": ("fcn_m-v2-d8_480x360_camvid", "fcn_m-v2-d8_480x360_camvid", 0.4347, 0.5781, 0.7839),
    "fcn_slide": ("fcn_m-v2-d8_slide_480x360_camvid", "fcn_m-v2-d8_480x360_camvid", 0.4291, 0.5664, 0.7768),
    "pspnet": ("pspnet_m-v2-d8_480x360_camvid", "pspnet_m-v2-d8_480x360_camvid", 0.3859, 0.4900, 0.7716),
    "deeplabv3plus": (
        *("deeplabv3plus_m-v2-d8_480x360_camvid", "deeplabv3plus_m-v2-d8_480x360_camvid"),
        *(0.3974, 0.4751, 0.8120),
    ),
    "fastscnn": ("fastscnn_480x360_camvid", "fastscnn_480x360_camvid", 0.4867, 0.6443, 0.8359),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORES)
def test_scores_are_mmsegs_own(data_dir: Path, tmp_path: Path, name: str) -> None:
    config_name, weights_name, miou, macc, aacc = SCORES[name]
    config = data_dir / "models" / f"{config_name}.py"
    overrides = {"data.test.data_root": str(data_dir / "camvid")}
    sp = Segplug()
    model = sp.load_model(config, checkpoint=data_dir / "models" / f"{weights_name}.pth")
    dataset = sp.load_dataset(config, cfg_options=overrides)

    raw = RawSink(tmp_path / "raw.npz")
    torch = sp.evaluate(model, backend="pytorch", dataset=dataset, sinks=[raw])
    assert torch.scores is not None
    assert [round(torch.scores.metrics[key], 4) for key in ("mIoU", "mAcc", "aAcc")] == [miou, macc, aacc]
    assert _agreement(tmp_path / "raw.npz", data_dir / "golden_maps" / f"{name}_dev.npz") > 0.99999

    artifact = sp.export("onnx", model, output=tmp_path / "model.onnx", verify=True)
    assert artifact.meta.verification is not None
    assert artifact.meta.verification["passed"]
    onnx = sp.evaluate(artifact, backend="onnxruntime", dataset=dataset)
    assert onnx.scores is not None
    assert onnx.scores.metrics["mIoU"] == pytest.approx(torch.scores.metrics["mIoU"], abs=5e-4)


def _agreement(results: Path, golden: Path) -> float:
    with np.load(results) as ours, np.load(golden) as theirs:
        maps = np.stack([ours[key] for key in sorted(ours.files)])
        expected = theirs[theirs.files[0]]
    return float((maps == expected).mean())


@pytest.mark.slow
def test_real_cityscapes_weights_load_and_export(data_dir: Path, tmp_path: Path) -> None:
    from segplug_mmseg.compat import import_mmseg

    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    sp = Segplug()
    model = sp.load_model(
        configs / "cgnet" / "cgnet_512x1024_60k_cityscapes.py",
        checkpoint=data_dir / "weights" / "cgnet_cityscapes.pth",
    )
    image = next((data_dir / "camvid" / "test").iterdir())
    artifact = sp.export(
        "onnx",
        model,
        output=tmp_path / "cgnet.onnx",
        shape=(256, 512),
        dynamic=True,
        images=[image],
        verify=True,
    )
    assert artifact.meta.verification is not None
    assert artifact.meta.verification["passed"]
    assert artifact.meta.classes[0] == "road"
