"""Export reduced networks of many families: they need every rewritten form of an export.

The cheapest exports are not marked as slow, so that every run of the tests has a CNN, a transformer and
sliding windows.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from segplug_mmseg.compat import import_mmseg
from segplug_torch.exportable.registry import METHOD_FORMS, forms_of

from matrix.engine_measure import profile_of
from matrix.sample import SAMPLE, SLIDING
from segplug import ModelMeta, Segplug
from segplug.model import SegmentationModel
from segplug.results import Artifact
from segplug.testing import randomise
from segplug.verification.sample import sample_image

SIZES = [(1, 104, 136), (2, 136, 96), (1, 117, 139)]
"""Batch, height and width; networks that need multiples get the next larger ones."""

SHAPE = (96, 160)
"""The size at which files with free sizes are exported."""


@pytest.fixture(scope="module")
def load():
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"

    def load(name: str, **options: object) -> SegmentationModel:
        config, reduced = SAMPLE[name]
        model = Segplug().load_model(configs / config, cfg_options={**reduced, **options})
        randomise(model.module)
        return model

    return load


def sizes_for(model: SegmentationModel) -> list[tuple[int, int, int]]:
    limits = model.input_limits()
    assert limits is not None
    if limits.is_fixed:
        return [(1, *limits.minimum), (2, *limits.minimum)]
    step = limits.multiple_of
    return [(batch, -height % step + height, -width % step + width) for batch, height, width in SIZES]


@pytest.mark.parametrize("name", SAMPLE)
def test_the_exportable_form_computes_the_same(name, load):
    model = load(name)
    exportable = model.exportable()
    for batch, height, width in sizes_for(model):
        images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height))
        with torch.inference_mode():
            expected, actual = model.module(images), exportable(images)
        assert expected.std() > 1e-2, "the logits must vary"
        assert (expected - actual).abs().max() / (expected.max() - expected.min()) < 1e-5


@pytest.fixture(scope="module")
def exported(load, tmp_path_factory):
    """A network and its verified file with free sizes; each is made once."""
    made: dict[str, tuple[SegmentationModel, Artifact]] = {}

    def exported(name: str) -> tuple[SegmentationModel, Artifact]:
        if name not in made:
            model = load(name)
            limits = model.input_limits()
            assert limits is not None
            shape = limits.minimum if limits.is_fixed else SHAPE
            file = tmp_path_factory.mktemp(name) / "m.onnx"
            artifact = Segplug().export("onnx", model, output=file, shape=shape, dynamic=True, verify=True)
            made[name] = model, artifact
        return made[name]

    return exported


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_one_file_takes_every_size_that_the_network_takes(name, exported):
    model, artifact = exported(name)
    limits = model.input_limits()
    found = artifact.meta.verification
    assert found is not None
    assert found["passed"], found["failures"]
    assert found["relative_difference"] < 1e-4
    sizes = {text.split()[1] for text in found["inputs"]}
    assert len(sizes) >= (2 if limits.is_fixed else 4)
    assert domains(artifact.path) == {""}
    smallest = np.random.default_rng(0).normal(size=(1, 3, *limits.minimum)).astype(np.float32)
    with Segplug().open(artifact, backend="onnxruntime", want_logits=True) as engine:
        actual = engine.run(smallest)
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(smallest)).numpy()
    # The smallest input may be one pixel, whose logits have no meaningful range: compare with their size.
    assert np.abs(expected - actual).max() / np.abs(expected).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", SAMPLE)
def test_tensorrt_builds_one_engine_for_free_sizes(name, precision, exported, tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")
    _, artifact = exported(name)
    smallest, largest = profile_of(artifact.meta, SHAPE)
    engine = Segplug().build_engine(
        "tensorrt",
        artifact,
        output=tmp_path / "m.engine",
        precision=precision,
        min_shape=(smallest,),
        max_shape=(largest,),
        flavor="tensorrt-rtx",
    )
    assert engine.size > 10_000
    built = engine.meta.extra["tensorrt"]
    assert built["precision"] == precision
    assert built["output"]["shape"][0] == -1, "the batch varies"
    assert [len(built["profiles"]), built["input"]["dtype"]] == [1, "float32"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fastscnn", "pspnet", "segformer", "unet"])
def test_tensorrt_builds_int8_engines(name, exported, tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")
    _, artifact = exported(name)
    pictures = [tmp_path / f"{number}.png" for number in range(2)]
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(picture), sample_image(*SHAPE, seed=number))
    smallest, largest = profile_of(artifact.meta, SHAPE)
    engine = Segplug().build_engine(
        "tensorrt",
        artifact,
        output=tmp_path / "m.engine",
        precision="int8",
        images=pictures,
        min_shape=(smallest,),
        max_shape=(largest,),
        flavor="tensorrt-rtx",
    )
    assert engine.meta.extra["tensorrt"]["precision"] == "int8"


@pytest.mark.parametrize(
    "name", ["fastscnn", "setr", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pspnet", "swin"))]
)
def test_a_static_file_of_an_odd_size(name, load, tmp_path):
    artifact = Segplug().export("onnx", load(name), output=tmp_path / "m.onnx", shape=(117, 139), verify=True)
    assert passed(artifact.meta)


@pytest.mark.parametrize("name", SLIDING)
def test_slide_inference_is_that_of_mmseg(name, load, tmp_path):
    from segplug.runtime.runner import Runner
    from segplug.runtime.slide import Slider

    model = load(name, **SLIDING[name])
    artifact = Segplug().export("onnx", model, output=tmp_path / "m.onnx", verify=True)
    assert passed(artifact.meta)
    image = np.random.default_rng(0).normal(size=(3, 150, 199)).astype(np.float32)
    with torch.inference_mode():
        expected = model.module.segmentor.slide_inference(torch.from_numpy(image)[None], [{}], False)[0]
    with Segplug().open(artifact, backend="onnxruntime") as engine:
        actual = Slider(Runner(engine))(image)
    assert np.abs(expected.numpy() - actual).max() / float(expected.max() - expected.min()) < 1e-4


OF_1X = (
    "mmdet.",
    *(f"mmseg.models.decode_heads.{name}_head." for name in ("mask2former", "maskformer", "san")),
)
"""Classes that mmsegmentation 0.30 does not have: plugins/mmseg/tests/v1 exports them."""

NOT_IN_SAMPLE = {
    # MobileNetV3 needs images of at least 385 pixels: only the matrix exports it.
    "mmcv.cnn.bricks.conv2d_adaptive_padding.Conv2dAdaptivePadding",
    # The same class has another place in mmsegmentation 1.x.
    "mmseg.models.utils.wrappers.Upsample",
}


def test_the_sample_needs_every_rewritten_form(load):
    """Otherwise nobody would notice a form whose class was removed or renamed."""
    import segplug_mmseg.exportable  # noqa: F401  (registers its forms)

    reached = set()
    for name in SAMPLE:
        for part in load(name).module.modules():
            for method in forms_of(part):
                owner = next(cls for cls in type(part).__mro__ if method in cls.__dict__)
                reached.add((f"{owner.__module__}.{owner.__qualname__}", method))
    keys = {cls if method == "forward" else f"{cls}.{method}" for cls, method in reached}
    others = (*OF_1X, "transformers.", "timm.", "segmentation_models_pytorch.")  # their plugins have tests
    assert {key for key in METHOD_FORMS if not key.startswith(others)} - keys == NOT_IN_SAMPLE


def passed(meta: ModelMeta) -> bool:
    return bool(meta.verification and meta.verification["passed"])


def domains(file: Path) -> set[str]:
    import onnx

    return {node.domain for node in onnx.load(file).graph.node}
