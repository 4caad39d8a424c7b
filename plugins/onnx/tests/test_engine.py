"""``infer onnxruntime``: files that segplug exported, devices, and errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from segplug_onnx import devices
from segplug_onnx.engine import provider
from segplug_onnx.foreign import Options
from segplug_onnx.metadata import write_meta
from torch import nn

from segplug.engine import Axis, Engine
from segplug.errors import ArtifactError, DeviceError, ShapeError, UsageError
from segplug.preprocessing import Decoding, Normalize, Resize
from segplug.requests import InferRequest
from segplug.testing import EngineConformance, make_request


class TestLabels(EngineConformance):
    @pytest.fixture
    def engine(self, dynamic_labels):
        return open_engine(dynamic_labels)


class TestScoresAtAStride(EngineConformance):
    @pytest.fixture
    def engine(self, export, model_of):
        network = nn.Conv2d(5, 4, 3, stride=2, padding=1)
        model = model_of(network, in_channels=5, output_stride=2, scores="probabilities")
        return open_engine(export(model, dynamic=True, output_kind="logits"))


def open_engine(artifact, **request):
    return open_file(artifact.path, **request)


def open_file(path, **request):
    return provider.infer(
        make_request(InferRequest, **{"artifact": path, "threads": 1, "options": Options(), **request})
    )


def test_spec_of_a_static_file(static_labels):
    engine = open_engine(static_labels)
    spec = engine.spec
    assert isinstance(engine, Engine)
    assert (spec.batch, spec.height, spec.width) == (Axis.fixed(1), Axis.fixed(32), Axis.fixed(48))
    assert spec.output == "labels"
    assert spec.meta == static_labels.meta
    assert spec.backend == f"onnxruntime {onnxruntime.__version__} (cpu)"


def test_spec_of_a_dynamic_file(dynamic_labels):
    spec = open_engine(dynamic_labels).spec
    assert spec.batch == spec.height == spec.width == Axis()


def test_every_run_gives_a_new_array(dynamic_labels, images):
    engine = open_engine(dynamic_labels)
    assert engine.spec.fresh_output
    first = engine.run(images(1, 8, 8))
    kept = first.copy()
    engine.run(-images(1, 8, 8))
    assert np.array_equal(first, kept)


def test_logits_of_a_file_that_gives_labels(static_labels, tiny, images, logits_of):
    engine = open_engine(static_labels, want_logits=True)
    assert engine.spec.output == "logits"
    batch = images(1, 32, 48)
    np.testing.assert_allclose(engine.run(batch), logits_of(tiny, batch), atol=1e-5)


def test_an_open_engine_does_not_keep_the_bytes_of_its_file(static_labels, tmp_path):
    path = tmp_path / "large.onnx"
    shutil.copy(static_labels.path, path)
    padding = [f"{number:0200}" for number in range(10_000)]  # 2 MB of the file, each string small
    meta = static_labels.meta
    write_meta(path, meta.replace(extra={**meta.extra, "padding": padding}))
    tracemalloc.start()
    try:
        engine = open_file(path, want_logits=True)
        largest = max(trace.size for trace in tracemalloc.take_snapshot().traces)
    finally:
        tracemalloc.stop()
    assert engine.spec.output == "logits"
    assert largest < 1_000_000


def test_a_shape_that_the_file_cannot_take(static_labels, images):
    with pytest.raises(ShapeError, match=r"\(1, 3, 40, 48\): Got invalid dimensions"):
        open_engine(static_labels).run(images(1, 40, 48))


def test_a_closed_engine_does_not_run(static_labels, images):
    engine = open_engine(static_labels)
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.run(images(1, 32, 48))


def test_a_cut_file(static_labels, tmp_path):
    path = tmp_path / "half.onnx"
    whole = static_labels.path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match="was cut"):
        open_file(path)
    assert path.stat().st_size == len(whole) // 2


def test_a_graph_that_onnxruntime_cannot_load(tmp_path, capfd):
    import onnx

    path = tmp_path / "odd.onnx"
    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 18]> g (float[1] x) => (float[1] y) { y = NoSuchOp(x) }'
        ),
        path,
    )
    with pytest.raises(ArtifactError, match="NoSuchOp"):
        open_file(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1", ""])
def test_unknown_devices(static_labels, device):
    with pytest.raises(UsageError, match=r"cpu, cuda, cuda:N|device is empty"):
        open_engine(static_labels, device=device)
    with pytest.raises(UsageError, match=r"cpu, cuda, cuda:N|device is empty"):
        provider.check_device(device)
    provider.check_device("cpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt"])
def test_a_device_that_is_not_there_is_refused(static_labels, device, capfd):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime was built for CUDA")
    with pytest.raises(DeviceError, match=r"the installed onnxruntime .* has .*CPUExecutionProvider"):
        open_engine(static_labels, device=device)
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_silent_fallback_is_refused(static_labels, monkeypatch):
    """An onnxruntime-gpu without a driver lists CUDA as available, and then runs on the CPU."""
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    with pytest.raises(DeviceError, match="device 'cuda' is not available"):
        open_engine(static_labels, device="cuda")


def test_cuda_is_run_in_full_precision(monkeypatch):
    listed = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    device = devices.find("tensorrt:2")
    options = dict(device.providers)
    assert list(options) == listed
    assert options["CUDAExecutionProvider"]["use_tf32"] == "0"
    assert options["CUDAExecutionProvider"]["device_id"] == 2
    assert options["TensorrtExecutionProvider"]["device_id"] == 2


LISTED = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def test_settings_become_options_of_tensorrt(monkeypatch, tmp_path):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: LISTED)
    folder = tmp_path / "cache"
    device = devices.find("tensorrt", devices.GpuSettings(folder, True, 0.5))
    options = dict(device.providers)
    assert options["TensorrtExecutionProvider"] == {"device_id": 0, **device.provider_options}
    assert device.provider_options["trt_engine_cache_path"] == str(folder)
    assert device.provider_options["trt_max_workspace_size"] == str(1 << 29)
    assert "gpu_mem_limit" not in options["CUDAExecutionProvider"]


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_no_cache_folder_is_left_if_the_device_is_missing(static_labels, monkeypatch, tmp_path, capfd):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime was built for CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: LISTED)
    folder = tmp_path / "new" / "cache"
    with pytest.raises(DeviceError, match="device 'tensorrt' is not available"):
        open_engine(static_labels, device="tensorrt", options=Options(engine_cache=folder))
    assert not folder.parent.exists()
    assert capfd.readouterr() == ("", "")


def test_the_memory_of_cuda_can_be_limited(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: LISTED)
    device = devices.find("cuda", devices.GpuSettings(workspace_size=2))
    assert dict(device.providers)["CUDAExecutionProvider"]["gpu_mem_limit"] == str(2 << 30)


@pytest.mark.parametrize(
    ("device", "given"),
    [
        ("cpu", {"fp16": True}),
        ("cpu", {"workspace_size": 1.0}),
        ("cuda", {"fp16": True}),
        ("cuda", {"engine_cache": Path("cache")}),
    ],
)
def test_settings_for_another_device_are_refused(static_labels, device, given):
    with pytest.raises(UsageError, match="does not apply to device"):
        open_engine(static_labels, device=device, options=Options(**given))
    assert not Path("cache").exists()


def test_a_setting_that_onnxruntime_ignores_is_refused(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: LISTED)
    device = devices.find("tensorrt", devices.GpuSettings(fp16=True))

    class Session:
        taken = "0"

        def get_providers(self):
            return LISTED

        def get_provider_options(self):
            return {"TensorrtExecutionProvider": {"trt_fp16_enable": self.taken}}

    with pytest.raises(DeviceError, match="TensorrtExecutionProvider ignored trt_fp16_enable"):
        devices.check_used(Session(), device)
    Session.taken = "1"
    devices.check_used(Session(), device)


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(dynamic_labels, images):
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime was not built for CUDA")
    batch = images(2, 40, 56)
    expected = open_engine(dynamic_labels).run(batch)
    try:
        engine = open_engine(dynamic_labels, device="cuda")
    except DeviceError as error:
        pytest.skip(str(error))
    assert (engine.run(batch) == expected).mean() > 0.999


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("mean", (0.0, 0.0, 0.0)),
        ("output_kind", "logits"),
        ("classes", ("a", "b")),
        ("channel_order", "bgr"),
        ("in_channels", 4),
        ("decoding", "bands"),
    ],
)
def test_an_option_that_contradicts_the_metadata(static_labels, option, value):
    flag = "--" + option.replace("_", "-")
    with pytest.raises(UsageError, match=f"{flag} is .*, but the metadata in .* has"):
        open_engine(static_labels, options=Options(**{option: value}))


def test_an_option_that_agrees_with_the_metadata(static_labels, tiny):
    mean = (123.675, 116.28, 103.53)
    options = Options(
        mean=mean, in_channels=3, decoding="color", channel_order="rgb", output_kind="labels",
        classes=tiny.meta.classes,
    )  # fmt: skip
    assert open_engine(static_labels, options=options).spec.output == "labels"


def test_options_of_a_file_with_other_preprocessing(export, model_of, images):
    resize = Resize(scale=(48, 32), fit="exact")
    norm = Normalize((0.5,) * 4, (0.25,) * 4)
    model = model_of(in_channels=4, decoding=Decoding.for_channels(4), preprocessing=(resize, norm))
    artifact = export(model)
    agreed = Options(mean=(0.5,), std=(0.25,) * 4, resize=(32, 48), decoding="bands", in_channels=4)
    assert open_engine(artifact, options=agreed).run(images(1, 32, 48, 4)).shape == (1, 4, 32, 48)
    for given in ({"mean": (0.5,) * 3}, {"channel_order": "bgr"}, {"decoding": "color"}, {"in_channels": 3}):
        with pytest.raises(UsageError, match=r"but the metadata in .* has"):
            open_engine(artifact, options=Options(**given))


def test_running_needs_neither_torch_nor_onnx(static_labels):
    program = f"""
import sys
import numpy as np
import segplug_onnx.engine
import segplug_onnx.exporter
assert not {{"torch", "onnx", "onnxruntime", "cv2"}} & set(sys.modules), "imported before it is needed"
from segplug import Segplug
for want in (False, True):
    with Segplug().open({str(static_labels.path)!r}, backend="onnxruntime", want_logits=want) as engine:
        engine.run(np.zeros((1, 3, 32, 48), np.float32))
heavy = {{"torch", "onnx", "onnxscript", "onnx_ir", "mmcv", "mmseg", "cv2"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_running_reports_its_use_to_nobody(static_labels, tmp_path):
    program = (
        "from segplug import Segplug\n"
        f"with Segplug().open({str(static_labels.path)!r}, backend='onnxruntime'): pass\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    folders = {"TMPDIR": str(tmp_path / "tmp"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for folder in folders.values():
        Path(folder).mkdir()
    subprocess.run([sys.executable, "-c", program], check=True, env={**environment, **folders})
    assert list((tmp_path / "tmp").iterdir()) == []
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name == "Microsoft"] == []
