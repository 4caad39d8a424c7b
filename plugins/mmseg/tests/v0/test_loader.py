from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.loader import provider
from segplug_mmseg.v0.config import read_config, runnable_model
from segplug_torch.norms import BatchNorm
from torch import nn

from segplug.errors import CheckpointError, DeviceError, ModelError, UsageError
from segplug.model import SegmentationModel
from segplug.progress import QuietReporter
from segplug.requests import LoadModelRequest
from segplug.runtime.preprocess import Preprocessor
from segplug.testing import make_request

GENERATOR = torch.Generator().manual_seed(0)

CASCADE = """
norm_cfg = dict(type='SyncBN')
head = dict(in_channels=80, in_index=1, channels=8, num_classes=3, norm_cfg=norm_cfg,
            loss_decode=dict(type='CrossEntropyLoss'))
model = dict(
    type='CascadeEncoderDecoder', num_stages=2,
    backbone=dict(type='MobileNetV2', widen_factor=0.25, out_indices=(5, 6), norm_cfg=norm_cfg),
    decode_head=[
        dict(type='FCNHead', num_convs=1, align_corners=False, **head),
        dict(type='OCRHead', ocr_channels=8, align_corners=True, **head)],
    test_cfg=dict(mode='whole'))
"""

CUSTOM = """
import torch
from mmseg.models.builder import SEGMENTORS
from mmseg.models.segmentors import EncoderDecoder


@SEGMENTORS.register_module(force=True)
class MySegmentor(EncoderDecoder):
    def encode_decode(self, img, img_metas):
        return -super().encode_decode(img, img_metas)
"""


@pytest.fixture(scope="module", autouse=True)
def _mmseg():
    """Some tests import mmseg before they load a model: without torchvision it imports only this way."""
    import_mmseg()


def load(path: Path, checkpoint: Path | None = None, **arguments) -> SegmentationModel:
    fields = {"config": str(path), "checkpoint": checkpoint and str(checkpoint), **arguments}
    return provider.load_model(make_request(LoadModelRequest, **fields))


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR)


def save(model: SegmentationModel, path: Path, **meta) -> Path:
    torch.save({"meta": meta, "state_dict": model.module.segmentor.state_dict()}, path)
    return path


def test_the_tensor_contract(config_file):
    model = load(config_file)
    for shape in ((2, 3, 64, 96), (1, 3, 50, 33)):
        logits = model.module(images(*shape))
        assert logits.dtype == torch.float32
        assert logits.shape == (shape[0], 3, *shape[2:])
    assert not any(module.training for module in model.module.modules())
    parameters = list(model.module.parameters())
    assert parameters
    assert not any(parameter.requires_grad for parameter in parameters)
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.module.modules())
    assert not any("auxiliary" in key for key in model.module.state_dict())
    assert "segmentor.backbone.conv1.conv.weight" in model.module.state_dict()


def test_the_logits_equal_those_of_mmseg(config_file):
    from mmseg.models import build_segmentor

    model = load(config_file)
    reference = build_segmentor(runnable_model(read_config(str(config_file)), "")).eval()
    reference.load_state_dict(model.module.segmentor.state_dict())
    batch = images(1, 3, 64, 96)
    scores = reference.inference(batch, [{"ori_shape": (64, 96, 3), "flip": False}], rescale=False)
    assert torch.equal(model.module(batch).softmax(1), scores)


def test_weights_round_trip_and_the_file_is_described(config_file, tmp_path):
    model = load(config_file)
    weights = save(model, tmp_path / "w.pth", CLASSES=("a", "b", "c"))
    again = load(config_file, weights)
    batch = images(1, 3, 32, 32)
    assert torch.equal(model.module(batch), again.module(batch))
    assert again.meta.classes == ("a", "b", "c")
    assert again.meta.provenance.checkpoint_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_the_heads_that_only_training_uses_are_ignored(config_file, tmp_path):
    from mmseg.models import build_segmentor

    trained = build_segmentor(read_config(str(config_file)).model | {"pretrained": None}).state_dict()
    torch.save({"state_dict": trained}, tmp_path / "w.pth")
    own = load(config_file, tmp_path / "w.pth").module.segmentor.state_dict()
    left_out = {name for name in trained if name not in own}
    assert left_out
    assert all(name.startswith("auxiliary_head.") for name in left_out)
    assert own
    assert all(torch.equal(value, trained[name]) for name, value in own.items())


def test_a_checkpoint_of_another_model(config_file, tmp_path):
    weights = save(load(config_file), tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError, match=r"of another shape \(decode_head.conv_seg.weight 3x8x1x1 for 5x8x1x1"
    ):
        options = {"model.decode_head.num_classes": 5, "data.test.classes": "a,b,c,d,e"}
        load(config_file, weights, cfg_options=options)
    with pytest.raises(CheckpointError, match=r"keys unexpected \(decode_head.convs"):
        load(
            config_file,
            weights,
            cfg_options={"model.decode_head.num_convs": 0, "model.decode_head.channels": 80},
        )


def test_a_checkpoint_of_1x(config_file, tmp_path):
    """Weights that fit are loaded, with their classes; for others, the error says what wrote them."""
    model = load(config_file)
    dataset = {"classes": ("a", "b", "c"), "palette": [[1, 2, 3]] * 3, "reduce_zero_label": False}
    weights = save(model, tmp_path / "w.pth", mmengine_version="0.10.7", dataset_meta=dataset)
    again = load(config_file, weights)
    batch = images(1, 3, 32, 32)
    assert torch.equal(model.module(batch), again.module(batch))
    assert (again.meta.classes, again.meta.palette) == (("a", "b", "c"), ((1, 2, 3),) * 3)
    with pytest.raises(CheckpointError) as caught:
        load(config_file, weights, cfg_options={"model.decode_head.num_convs": 2})
    said = "mmengine 0.10.7 wrote it, so it is of mmsegmentation 1.x, and the config is of 0.x"
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("model.type", "NoSuchSegmentor", "NoSuchSegmentor is not in the models registry"),
        ("model.backbone.depth", "18", "unexpected keyword argument 'depth'"),
        ("model.decode_head.in_index", "[0,1]", "FCNHead: assert isinstance(in_index, int)"),
        ("model.decode_head.num_classes", "many", "TypeError: EncoderDecoder: FCNHead: not all arguments"),
    ],
)
def test_a_model_that_cannot_be_built_is_one_line(config_file, key, value, reason):
    with pytest.raises(ModelError) as caught:
        load(config_file, cfg_options={key: value})
    assert str(config_file) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("data", "5", "data of the config must be a dict, not 5"),
        ("model.test_cfg", "5", "model.test_cfg must be a dict, not 5"),
        ("data.test.pipeline.1.img_scale", "(inf,inf)", "infinite in both edges"),
    ],
)
def test_invalid_settings_are_an_error_of_one_line(config_file, key, value, reason):
    with pytest.raises(ModelError, match=reason) as caught:
        load(config_file, cfg_options={key: value})
    assert "\n" not in str(caught.value)


def test_any_other_error_is_one_line_with_its_cause(config_file, monkeypatch):
    def fail(*_args, **_kwargs):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("segplug_mmseg.meta.versions", fail)
    with pytest.raises(ModelError, match=r"small\.py: ZeroDivisionError: two lines") as caught:
        load(config_file)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_random_weights_are_warned_about(config_file, tmp_path):
    reporter = QuietReporter()
    model = load(config_file, reporter=reporter)
    assert reporter.warnings == ["no checkpoint is given: the weights are random"]
    reporter = QuietReporter()
    load(config_file, save(model, tmp_path / "w.pth"), reporter=reporter)
    assert reporter.warnings == []


def test_devices_that_are_not_there(config_file):
    with pytest.raises(DeviceError, match="cuda:99"):
        load(config_file, device="cuda:99")
    with pytest.raises(UsageError, match="'toaster' is no device"):
        load(config_file, device="toaster")


def test_a_cascade_takes_the_last_head(tmp_path):
    path = tmp_path / "cascade.py"
    path.write_text(CASCADE)
    model = load(path)
    assert model.module(images(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    assert model.meta.align_corners
    assert model.meta.out_channels == 3


def test_a_sigmoid_head(config_file):
    options = {
        "model.decode_head.num_classes": 2,
        "model.decode_head.out_channels": 1,
        "data.test.classes": "a,b",
    }
    reporter = QuietReporter()
    model = load(config_file, cfg_options=options, reporter=reporter)
    assert model.module(images(1, 3, 32, 32)).shape == (1, 1, 32, 32)
    assert (model.meta.activation, model.meta.threshold, model.meta.num_classes) == ("sigmoid", 0.3, 2)
    assert reporter.warnings[1:] == ["threshold is not defined for binary, and defaultsto 0.3"], (
        "mmseg's own words"
    )


def test_a_registered_segmentor_of_the_users_own(config_file, tmp_path, edited_config, monkeypatch):
    (tmp_path / "my_segmentor.py").write_text(CUSTOM)
    monkeypatch.syspath_prepend(str(tmp_path))
    custom = edited_config(
        ("type='EncoderDecoder'", "type='MySegmentor'"),
        add="custom_imports = dict(imports=['my_segmentor'])\n",
    )
    plain = load(config_file)
    weights = save(plain, tmp_path / "w.pth")
    state = torch.load(weights)["state_dict"]
    state |= {key: value for key, value in _auxiliary(config_file).items() if key.startswith("auxiliary")}
    torch.save({"state_dict": state}, weights)
    batch = images(1, 3, 32, 32)
    assert torch.equal(load(custom, weights).module(batch), -plain.module(batch))


def _auxiliary(config_file: Path) -> dict:
    from mmseg.models import build_segmentor

    return build_segmentor(read_config(str(config_file)).model | {"pretrained": None}).state_dict()


def test_encnet_norms_a_vector(mim_configs):
    """Its encoding layer norms (N, K, C): the BatchNorm2d of other tools refuses it."""
    options = {
        "model.backbone": {
            "_delete_": True,
            "type": "MobileNetV2",
            "widen_factor": 0.25,
            "out_indices": (1, 2, 4, 6),
        },
        "model.decode_head.in_channels": [8, 24, 80],
        "model.decode_head.channels": 16,
        "model.decode_head.num_codes": 4,
    }
    model = load(mim_configs / "encnet" / "encnet_r50-d8_512x1024_40k_cityscapes.py", cfg_options=options)
    assert any(isinstance(module, BatchNorm) for module in model.module.modules())
    assert model.module(images(1, 3, 64, 64)).shape == (1, 19, 64, 64)


@pytest.mark.parametrize("name", ["fcn", "pspnet", "deeplabv3plus", "fastscnn"])
def test_real_weights_give_mmsegs_label_maps(data_dir, name):
    stem = "fastscnn_480x360_camvid" if name == "fastscnn" else f"{name}_m-v2-d8_480x360_camvid"
    model = load(data_dir / "models" / f"{stem}.py", data_dir / "models" / f"{stem}.pth")
    golden = np.load(data_dir / "golden_maps" / f"{name}_dev.npz")["pred"]
    frames = sorted((data_dir / "camvid" / "test").glob("*.png"))
    agreeing = []
    for index in (0, 10):
        prepared = Preprocessor(model.meta)(cv2.imread(str(frames[index])), frames[index].name)
        labels = model.module(torch.from_numpy(prepared.array)[None]).argmax(1)[0].numpy()
        agreeing.append((labels == golden[index]).mean())
    assert min(agreeing) > 0.9999


def test_real_weights_of_another_model(data_dir):
    models = data_dir / "models"
    with pytest.raises(CheckpointError, match="is of another model"):
        load(models / "fastscnn_480x360_camvid.py", models / "pspnet_m-v2-d8_480x360_camvid.pth")
