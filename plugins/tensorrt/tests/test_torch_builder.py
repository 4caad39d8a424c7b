"""``build_engine torch-tensorrt``: the real plugin and torch.export, and a stand-in for torch_tensorrt."""

from __future__ import annotations

import ast
import inspect
import json
import logging
import os
import re
import signal
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from segplug_tensorrt.library import OLDEST
from segplug_tensorrt.record import check_plan, read_record
from tensorrt_support import torch_standin
from tensorrt_support.torch_standin import (
    Fixed,
    Mixed,
    Network,
    Shallow,
    imported,
    make_model,
    parameters,
    parsed,
    texts,
)

from segplug import Segplug
from segplug.artifact import file_sha256, read_sidecar
from segplug.errors import ArtifactError, DeviceError, MissingDependencyError, ModelError, UsageError
from segplug.model import Inference, InputLimits, SegmentationModel
from segplug.registry.formats import backend_of_artifact, route_to

SHAPES = {"min_shape": ("1x3x32x48",), "opt_shape": ("2x3x64x96",), "max_shape": ("4x3x128x96",)}
SIGNATURES = {
    "on demand": torch_standin.convert_typed_on_demand,
    "always": torch_standin.convert_strongly_typed,
}


@pytest.fixture
def model() -> SegmentationModel:
    torch.manual_seed(0)
    return make_model(Network().eval())


@pytest.fixture(params=list(SIGNATURES))
def standin(request, monkeypatch) -> torch_standin.StandIn:
    """Make the plugin find a GPU and torch_tensorrt."""
    return torch_standin.install_with_gpu(monkeypatch, SIGNATURES[request.param])


def build(model, tmp_path, **given):
    return Segplug().build_engine("torch-tensorrt", model, output=tmp_path / "m.engine", **given)


def test_the_arguments_of_torch_tensorrt(model, standin, tmp_path, request):
    build(model, tmp_path, workspace_size=0.5, **SHAPES)
    asked = standin.asked
    assert asked["input"] == {
        "min_shape": (1, 3, 32, 48),
        "opt_shape": (2, 3, 64, 96),
        "max_shape": (4, 3, 128, 96),
        "dtype": torch.float32,
    }
    assert asked["workspace_size"] == 1 << 29
    assert asked["disable_tf32"] is True
    typed = "on demand" in request.node.name
    assert asked.get("use_explicit_typing") is (True if typed else None)
    inspect.signature(SIGNATURES["on demand" if typed else "always"]).bind(
        asked.pop("program"), [asked.pop("input")], **asked
    )


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-6), ("fp16", 2e-3), ("bf16", 2e-2)])
def test_the_program_is_the_network_at_every_size(model, standin, tmp_path, precision, most):
    build(model, tmp_path, precision=precision, **SHAPES)
    program = standin.asked["program"].module()
    for shape in ((1, 3, 32, 48), (3, 3, 128, 96)):
        images = torch.randn(shape)
        with torch.inference_mode():
            expected, logits = model.module(images), program(images)
        assert logits.dtype == torch.float32
        assert (expected - logits).abs().max() / (expected.max() - expected.min()) < most
    tensors = standin.asked["program"].state_dict.values()
    kinds = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    assert kinds == {{"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]}
    assert {tensor.dtype for tensor in model.module.parameters()} == {torch.float32}, "the model is unchanged"


def test_the_record_of_the_plan(model, standin, tmp_path):
    artifact = build(model, tmp_path, precision="fp16", **SHAPES)
    meta = read_sidecar(artifact.path)
    assert meta == artifact.meta
    assert (artifact.format, meta.input_size, meta.input_limits) == (
        "torch-tensorrt",
        (64, 96),
        InputLimits((16, 16), 16),
    )
    record = read_record(meta, artifact.path)
    check_plan(record, artifact.path)
    assert (record.flavor, record.version, record.precision) == ("tensorrt", "10.13.3.9", "fp16")
    assert (record.gpu, record.compute_capability, record.cuda) == ("Made up", "9.0", "13.0")
    assert (record.onnx_sha256, record.plan_sha256) == (None, file_sha256(artifact.path))
    assert (record.input.name, record.input.dtype) == ("input", "float32")
    assert (record.input.shape, record.output.shape) == ((-1, 3, -1, -1), (-1, 4, -1, -1))
    assert record.output.name == "output0"
    assert {"tensorrt", "torch-tensorrt", "torch"} <= set(meta.versions)
    assert backend_of_artifact(Segplug().registry, artifact).entry.target == "tensorrt"


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_images_of_any_channels_and_scores_at_a_stride(standin, tmp_path, channels):
    network = torch.nn.Conv2d(channels, 4, 3, stride=4, padding=1).eval()
    model = make_model(network, in_channels=channels, output_stride=4)
    largest = f"4x{channels}x128x96"
    build(model, tmp_path, min_shape=(f"1x{channels}x32x48",), max_shape=(largest,))
    assert standin.asked["input"]["max_shape"] == (4, channels, 128, 96)
    images = torch.randn(3, channels, 64, 80)
    with torch.inference_mode():
        scores = standin.asked["program"].module()(images)
        assert torch.allclose(scores, network(images), atol=1e-5)
    assert scores.shape == (3, 4, 16, 20)
    with pytest.raises(UsageError, match=f"{channels} channels?, and the second number of 1x3x32x48 is 3"):
        build(model, tmp_path, max_shape=("1x3x32x48",), force=True)


def test_one_shape_makes_a_fixed_network(model, standin, tmp_path):
    artifact = build(model, tmp_path)
    assert standin.asked["input"] == {"shape": (1, 3, 64, 96), "dtype": torch.float32}
    assert read_record(artifact.meta, artifact.path).input.shape == (1, 3, 64, 96)
    assert artifact.meta.input_limits is None
    assert not os.path.exists(standin.asked["timing_cache_path"]), "none was requested"


def test_the_batch_alone_may_vary(model, standin, tmp_path):
    build(model, tmp_path, min_shape=("1x3x32x48",), max_shape=("8x3x32x48",))
    images = torch.randn(5, 3, 32, 48)
    with torch.inference_mode():
        assert torch.allclose(standin.asked["program"].module()(images), model.module(images), atol=1e-5)


def test_a_timing_cache_is_read_and_written(model, standin, tmp_path):
    cache = tmp_path / "cache"
    cache.write_bytes(b"cache")
    build(model, tmp_path, timing_cache=cache)
    assert cache.read_bytes() == b"cache+measured"
    cache.write_bytes(b"something else")
    with pytest.raises(UsageError, match="not a timing cache"):
        build(model, tmp_path, timing_cache=cache, force=True)
    assert cache.read_bytes() == b"something else"


def test_the_reason_of_a_failed_build_is_quoted(model, standin, tmp_path):
    def fail() -> None:
        logging.getLogger("torch_tensorrt [TensorRT Conversion Context]").error("no tactic for this layer")
        logging.getLogger("torch_tensorrt.dynamo").error("Conversion of module GraphModule(pages of it)")
        raise RuntimeError("While interpreting the module got an error") from AssertionError(
            "no engine\nmore"
        )

    standin.act = fail
    with pytest.raises(ArtifactError, match=r"build the engine: no engine; no tactic for this layer$"):
        build(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_warnings_of_the_builder_are_shown(model, standin, tmp_path):
    standin.act = lambda: logging.getLogger("torch_tensorrt.dynamo").warning("memory is short")
    session = Segplug()
    session.build_engine("torch-tensorrt", model, output=tmp_path / "m.engine")
    assert "memory is short" in session.reporter.warnings


def test_ctrl_c_leaves_nothing(model, standin, tmp_path):
    standin.act = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build(model, tmp_path, timing_cache=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []
    assert not os.path.exists(os.path.dirname(standin.asked["timing_cache_path"]))


def test_a_plan_with_two_outputs_is_refused(model, standin, tmp_path):
    standin.outputs = ("output0", "output1")
    with pytest.raises(ArtifactError, match="output1"):
        build(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_weight_out_of_fp16s_range(model, standin, tmp_path):
    with torch.no_grad():
        model.module.head.weight[0, 0] = 1e6
    with pytest.raises(ModelError, match=r"head\.weight of the network is out of fp16's range.*bf16"):
        build(model, tmp_path, precision="fp16")
    build(model, tmp_path, precision="bf16")


def test_a_network_that_mixes_types(standin, tmp_path):
    with pytest.raises(ModelError, match="cannot be computed in fp16, at 64x96"):
        build(make_model(Mixed().eval()), tmp_path, precision="fp16")


def test_a_network_that_fixes_an_axis(standin, tmp_path):
    model = make_model(Fixed().eval())
    with pytest.raises(ModelError, match=r"torch\.export cannot follow"):
        build(model, tmp_path, min_shape=("1x3x32x48",), max_shape=("1x3x32x96",))
    build(model, tmp_path)


def test_sizes_for_which_the_traced_network_is_not_valid(standin, tmp_path):
    with pytest.raises(ModelError, match="valid for heights of"):
        build(make_model(Shallow().eval()), tmp_path, min_shape=("1x3x16x48",), max_shape=("1x3x128x96",))


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"precision": "int8"}, UsageError, "makes fp32 or fp16 or bf16 artifacts, not int8"),
        ({"device": "cpu"}, DeviceError, "on a GPU only"),
        ({"device": "tpu"}, UsageError, "no device 'tpu'"),
        ({"max_shape": ("1x3x32x48", "1x3x64x96")}, UsageError, "one range of shapes"),
        ({"max_shape": ("1x4x32x48",)}, UsageError, "--max-shape: the network takes images of 3 channels"),
        ({"min_shape": ("1x3x40x48",), "max_shape": ("1x3x64x96",)}, UsageError, "multiples of 16"),
        ({"min_shape": ("2x3x64x96",), "max_shape": ("1x3x64x96",)}, UsageError, "from small to large"),
    ],
)
def test_requests_that_are_refused(model, standin, tmp_path, monkeypatch, given, error, text):
    if given.get("device") == "tpu":
        from segplug_tensorrt.driver import find_gpu

        monkeypatch.setattr("segplug_tensorrt.torch_builder.find_gpu", find_gpu)
    with pytest.raises(error, match=re.escape(text)):
        build(model, tmp_path, **given)
    assert standin.asked == {}
    assert list(tmp_path.iterdir()) == []


def test_the_input_is_the_sliding_window(standin, tmp_path):
    slide = Inference("slide", crop_size=(32, 64), stride=(16, 32))
    model = make_model(Network().eval(), inference=slide)
    with pytest.raises(UsageError, match="the sliding window, 32x64, not 64x96"):
        build(model, tmp_path, max_shape=("1x3x64x96",))
    assert build(model, tmp_path).meta.input_size == (32, 64)


def test_a_model_without_a_size(standin, tmp_path):
    model = make_model(Network().eval(), input_size=None)
    with pytest.raises(UsageError, match="--max-shape 1x3xHEIGHTxWIDTH"):
        build(model, tmp_path)
    many = make_model(Network().eval(), input_size=None, in_channels=13)
    with pytest.raises(UsageError, match="--max-shape 1x13xHEIGHTxWIDTH"):
        build(many, tmp_path)
    build(model, tmp_path, max_shape=("1x3x32x48",))


def test_nothing_is_replaced_without_force(model, standin, tmp_path):
    build(model, tmp_path)
    with pytest.raises(UsageError, match="--force"):
        build(model, tmp_path)
    build(model, tmp_path, force=True)


def test_pytorch_without_cuda(model, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.version.cuda", None)
    with pytest.raises(MissingDependencyError, match=r"with CUDA.*segplug-tensorrt\[torch\]"):
        build(model, tmp_path)


def test_no_torch_tensorrt(model, tmp_path, monkeypatch):
    if find_spec("torch_tensorrt") is not None:
        pytest.skip("torch_tensorrt is installed")
    monkeypatch.setattr("torch.version.cuda", "13.0")
    with pytest.raises(MissingDependencyError, match=r"not installed.*segplug-tensorrt\[torch\]"):
        build(model, tmp_path)


@pytest.mark.parametrize("standin", ["always"], indirect=True)
def test_a_torch_tensorrt_that_cannot_be_imported(model, standin, tmp_path, monkeypatch):
    package = tmp_path / "packages" / "torch_tensorrt"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("print('advice')\nraise Exception('libnvinfer is missing')\n")
    monkeypatch.delitem(sys.modules, "torch_tensorrt")
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(MissingDependencyError, match="cannot be imported: libnvinfer is missing"):
        build(model, tmp_path)


def test_torch_tensorrt_for_rtx(model, standin, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["torch_tensorrt"].ENABLED_FEATURES, "tensorrt_rtx", True)
    with pytest.raises(UsageError, match="--flavor tensorrt-rtx"):
        build(model, tmp_path)


def test_infer_tensorrt_reads_it_but_the_route_goes_through_onnx():
    backend = Segplug().registry.provider("infer", "tensorrt").entry
    assert "torch-tensorrt" in backend.facts.reads
    assert [maker.target for maker in route_to(backend)] == ["onnx", "tensorrt"]


def test_a_record_with_the_hash_of_an_onnx_file_is_read(model, standin, tmp_path):
    artifact = build(model, tmp_path)
    extra = json.loads(artifact.meta.to_json())["extra"]["tensorrt"]
    old = artifact.meta.replace(extra={"tensorrt": {**extra, "onnx_sha256": "0" * 64}})
    assert read_record(old, artifact.path).onnx_sha256 == "0" * 64


def test_importing_the_builder_does_not_import_torch():
    code = (
        "import sys, segplug_tensorrt.torch_builder;"
        "heavy = {'torch', 'torch_tensorrt', 'tensorrt', 'cuda'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
def test_a_real_engine(model, tmp_path):
    if find_spec("torch_tensorrt") is None or not torch.cuda.is_available():
        pytest.skip("needs a GPU, and pip install 'segplug-tensorrt[torch]'")
    images = np.random.default_rng(0).normal(size=(2, 3, 96, 96)).astype(np.float32)
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(images)).numpy()
    for precision, most in (("fp32", 1e-2), ("fp16", 1e-2)):
        artifact = build(model, tmp_path, precision=precision, force=True, **SHAPES)
        with Segplug().open(artifact, backend="tensorrt", device="cuda") as engine:
            assert np.abs(engine.run(images) - expected).max() / np.ptp(expected) < most


_BINDINGS = Path(sys.prefix) / "bindings"
_WHEELS = sorted(_BINDINGS.glob("torch_tensorrt-*.whl"))


@pytest.fixture(params=_WHEELS or [None], ids=lambda wheel: wheel.name.split("-")[1] if wheel else "none")
def wheel(request) -> zipfile.ZipFile:
    if request.param is None:
        pytest.skip(f"no torch_tensorrt wheels in {_BINDINGS}: pip download --no-deps torch-tensorrt==2.14.0")
    return zipfile.ZipFile(request.param)


def test_torch_tensorrt_has_the_arguments_that_are_used(wheel):
    name = "convert_exported_program_to_serialized_trt_engine"
    takes = parameters(parsed(wheel, "dynamo/_compiler"), name)
    strongly = inspect.signature(torch_standin.convert_strongly_typed).parameters
    assert takes[:2] == list(strongly)[:2]
    assert set(strongly) <= set(takes)
    interpreter = wheel.read("torch_tensorrt/dynamo/conversion/_TRTInterpreter.py").decode()
    assert "NetworkDefinitionCreationFlag.STRONGLY_TYPED" in interpreter
    assert ("use_explicit_typing" in takes) == ("use_explicit_typing" in interpreter)
    assert name in imported(parsed(wheel, "dynamo/__init__"))


def test_torch_tensorrt_has_every_used_name(wheel):
    assert {"Input", "ENABLED_FEATURES", "dynamo", "__version__"} <= imported(parsed(wheel, "__init__"))
    assert "tensorrt_rtx" in texts(parsed(wheel, "_features"))
    (image,) = (
        node
        for node in parsed(wheel, "_Input").body
        if isinstance(node, ast.ClassDef) and node.name == "Input"
    )
    assert {"shape", "min_shape", "opt_shape", "max_shape", "dtype"} <= texts(image)
    assert "torch_tensorrt [TensorRT Conversion Context]" in texts(parsed(wheel, "logging"))
    assert "isinstance(d, torch.device)" in ast.unparse(parsed(wheel, "_Device"))


def test_the_tensorrt_that_torch_tensorrt_asks_for_is_new_enough(wheel):
    (named,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    wanted = re.findall(r"^Requires-Dist: tensorrt.*>=([\d.]+)", wheel.read(named).decode(), re.MULTILINE)
    assert wanted
    assert all(tuple(map(int, each.split(".")[:2])) >= OLDEST["tensorrt"] for each in wanted)


def test_a_missing_keyword_is_reported(wheel):
    takes = parameters(parsed(wheel, "dynamo/_compiler"), "convert_exported_program_to_serialized_trt_engine")
    assert "no_such_keyword" not in takes
    with pytest.raises(ValueError):
        parameters(parsed(wheel, "dynamo/_compiler"), "no_such_function")
