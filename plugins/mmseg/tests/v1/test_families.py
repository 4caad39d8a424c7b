"""The exportable form of every family of mmsegmentation 1.x computes what mmseg's ``encode_decode`` does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmseg_support.families_v1 import NEW, SAMPLE
from segplug_mmseg.compat import import_mmseg
from segplug_torch.exportable.registry import METHOD_FORMS, forms_of

from matrix.families_mmseg1 import FAMILIES
from segplug import ModelMeta, Segplug
from segplug.model import SegmentationModel
from segplug.testing import randomise

CONFIGS = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"

SIZE = (101, 139)
"""Nothing divides it."""

SIZES = {
    **dict.fromkeys(("ddrnet", "pidnet", "unet"), (96, 144)),  # they take multiples of 8 and 16
    "mobilenet_v3": (417, 431),
}

LOOSE = {"segmenter": 1e-4}
"""Its last norm divides by the spread over the classes, which is small with random weights."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def load(config: str, **options: object) -> SegmentationModel:
    model = Segplug().load_model(CONFIGS / config, cfg_options=options)
    randomise(model.module)
    return model


def differences(model: SegmentationModel, size: tuple[int, int], batch: int = 2) -> tuple[float, float]:
    """The spread of mmseg's own scores, and the largest difference of the form's, relative to the largest."""
    images = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(3))
    metas = [{"img_shape": size, "pad_shape": size, "ori_shape": size} for _ in range(batch)]
    with torch.inference_mode():
        expected = model.module.segmentor.encode_decode(images, metas)
        actual = model.exportable()(images)
    assert expected.shape == actual.shape == (batch, model.meta.out_channels, *size)
    return float(expected.std()), float((expected - actual).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", SAMPLE)
def test_the_exportable_form_computes_the_same(name):
    config, reduced = SAMPLE[name]
    model = load(config, **reduced)
    size = model.meta.inference.crop_size if name == "beit" else SIZES.get(name, SIZE)
    spread, relative = differences(model, size)
    assert spread > 1e-2, "the scores must vary"
    assert relative < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_as_it_is(family):
    if family == "san":
        # Its config in the matrix has 171 classes to encode. Of so many channels, random weights make masks
        # that are off everywhere: it keeps its initial ones.
        torch.manual_seed(0)
        model = Segplug().load_model(CONFIGS / SAMPLE["san"][0])
    else:
        model = load(f"{family}/{FAMILIES[family].config}")
    if family in ("beit", "mae"):  # they take the size of their training alone
        spread, relative = differences(model, model.meta.inference.crop_size, batch=1)
    else:
        spread, relative = differences(model, SIZES.get(family, SIZE))
    assert spread > 1e-2, "the scores must vary"
    assert relative < LOOSE.get(family, 1e-5)


def test_the_sample_needs_the_forms_of_the_new_heads():
    reached = set()
    for name in NEW:
        config, reduced = NEW[name]
        for part in load(config, **reduced).module.modules():
            for method in forms_of(part):
                owner = next(cls for cls in type(part).__mro__ if method in cls.__dict__)
                key = f"{owner.__module__}.{owner.__qualname__}"
                reached.add(key if method == "forward" else f"{key}.{method}")
    of_new_heads = {
        key
        for key in METHOD_FORMS
        if key.startswith("mmdet.") or any(word in key for word in ("mask2former", "maskformer", "san_head"))
    }
    # No config that is shipped has it; tests/v1/exportable does.
    of_new_heads.remove("mmdet.models.layers.pixel_decoder.TransformerEncoderPixelDecoder")
    assert len(of_new_heads) >= 7
    assert of_new_heads <= reached


@pytest.mark.parametrize(
    ("name", "smallest", "step"),
    [("mask2former", 33, 1), ("pidnet", 8, 8), ("san", 32, 1), ("segnext", 1, 1)],
)
def test_the_sizes_that_a_new_network_takes(name, smallest, step):
    config, reduced = NEW[name]
    limits = load(config, **reduced).input_limits()
    assert limits is not None
    assert (limits.minimum, limits.multiple_of) == ((smallest, smallest), step)


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", ["mask2former", "maskformer", "pidnet", "san", "segnext"])
def test_a_file_of_a_new_network(name, dynamic, tmp_path):
    config, reduced = NEW[name]
    shape = (96, 160) if dynamic or name == "pidnet" else SIZE
    artifact = Segplug().export(
        "onnx", load(config, **reduced), output=tmp_path / "m.onnx", shape=shape, dynamic=dynamic, verify=True
    )
    assert passed(artifact.meta)


def passed(meta: ModelMeta) -> bool:
    found = meta.verification
    return bool(found and found["passed"] and found["relative_difference"] < 1e-4)
