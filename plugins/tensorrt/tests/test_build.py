"""Engines that TensorRT-RTX really builds, without a GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import onnx
import pytest
from onnx import TensorProto, helper
from segplug_tensorrt.record import read_record
from tensorrt_support.tiny import tiny

from segplug import Segplug
from segplug.artifact import file_sha256, read_sidecar, sidecar_path
from segplug.cli.root import run_command_line
from segplug.errors import ArtifactError, DeviceError, UsageError
from segplug.preprocessing import Decoding

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")


def build(source, **given):
    output = given.pop("output", source.with_suffix(".engine"))
    return Segplug().build_engine("tensorrt", source, output=output, **given)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".onnx")


def test_a_plan_and_its_record(make):
    source = make()
    artifact = build(source, min_shape=("1x3x32x48",), max_shape=("4x3x64x96",))
    meta = read_sidecar(artifact.path)
    assert meta == artifact.meta
    record = read_record(meta, artifact.path)
    assert (record.flavor, record.precision, record.compute_capability) == ("tensorrt-rtx", "fp32", None)
    assert record.onnx_sha256 == file_sha256(source)
    assert record.plan_sha256 == file_sha256(artifact.path)
    assert record.input.shape == (-1, 3, -1, -1)
    assert (record.output.name, record.output.dtype) == ("output", "float32")
    assert record.profiles[0].max == (4, 3, 64, 96)
    assert meta.classes == ("sky", "road", "car", "tree")


def test_several_profiles(make):
    shapes = ("1x3x32x48", "1x3x64x96")
    record = read_record(build(make(), min_shape=shapes, max_shape=shapes).meta, make())
    assert len(record.profiles) == 2


def test_a_fixed_file(make):
    artifact = build(make(shape=(1, 3, 32, 48)))
    assert read_record(artifact.meta, artifact.path).input.shape == (1, 3, 32, 48)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_images_of_any_channels(make, channels):
    source = make(shape=("n", channels, "h", "w"), stride=4)
    with pytest.raises(UsageError, match=rf"^--max-shape: the network takes images of {channels} channel"):
        build(source, max_shape=("1x3x32x48",))
    artifact = build(source, min_shape=(f"1x{channels}x32x48",), max_shape=(f"2x{channels}x64x96",))
    record = read_record(artifact.meta, artifact.path)
    assert record.input.shape == (-1, channels, -1, -1)
    assert record.profiles[0].max == (2, channels, 64, 96)
    assert record.output.shape == (-1, 4, -1, -1)
    assert (artifact.meta.in_channels, artifact.meta.output_stride) == (channels, 4)
    fixed = build(make(shape=(1, channels, 32, 48), stride=4, name="fixed.onnx"))
    assert read_record(fixed.meta, fixed.path).output.shape == (1, 4, 8, 12)


def test_metadata_of_other_channels_is_refused(make):
    with pytest.raises(ArtifactError, match="has 4 channels, and its metadata says 3"):
        build(make(shape=("n", 4, "h", "w"), in_channels=3))


def test_a_file_that_does_not_say_its_channels(make):
    model = tiny()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "c"
    with pytest.raises(ArtifactError, match="does not say how many channels its input input has"):
        build(make(model))


def test_the_flags_of_mmseg_are_accepted(make, tmp_path):
    source = make()
    words = ["--min-shape", "1", "3", "32", "48", "--max-shape", "1", "3", "64", "96"]
    output = tmp_path / "old.trt"
    line = ["run", "build_engine", "tensorrt", str(source), "--trt-file", str(output), "--fp16", *words]
    assert run_command_line([*line, "--workspace-size", "1"]) == 0
    record = json.loads(sidecar_path(output).read_text())["extra"]["tensorrt"]
    assert record["precision"] == "fp16"
    profile = record["profiles"][0]
    assert (profile["min"], profile["max"]) == ([1, 3, 32, 48], [1, 3, 64, 96])


def test_an_unsupported_operator_is_named(make):
    model = tiny()
    model.graph.node[1].CopyFrom(helper.make_node("NonZero", ["features"], ["positive"]))
    model.graph.node[2].CopyFrom(
        helper.make_node("Cast", ["positive"], ["output"], to=int(TensorProto.FLOAT))
    )
    source = make(model)
    for _ in range(2):  # the library keeps the first logger of a process
        with pytest.raises(ArtifactError, match="NonZero"):
            build(source)
    assert leftovers(source.parent) == []


def test_an_operator_of_which_the_parser_says_only_false(make):
    model = tiny()
    for name, values in (("size", [32, 48]), ("patch", [2, 2])):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [2], values))
    model.graph.node[1].CopyFrom(helper.make_node("Col2Im", ["features", "size", "patch"], ["positive"]))
    with pytest.raises(ArtifactError, match=r"it does not take the operator Col2Im as it is here \(false\)"):
        build(make(model))


def test_a_plan_that_was_cut(make):
    artifact = build(make())
    artifact.path.write_bytes(artifact.path.read_bytes()[:1000])
    with (
        pytest.raises(ArtifactError, match="cut, changed or replaced"),
        Segplug().open(artifact.path, backend="tensorrt", device="cuda"),
    ):
        pass


def test_a_profile_that_does_not_fit(make):
    with pytest.raises(UsageError, match="takes inputs of"):
        build(make(shape=(1, 3, 32, 48)), max_shape=("2x3x32x48",))


def test_a_file_that_was_cut(make, tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(make().read_bytes()[:200])
    with pytest.raises(ArtifactError, match="cut"):
        build(cut)


def test_nothing_is_replaced_without_force(make):
    source = make()
    build(source)
    with pytest.raises(UsageError, match="--force"):
        build(source)
    build(source, force=True)


def test_a_gpu_that_is_not_there(make):
    source = make()
    with pytest.raises(DeviceError, match="GPU"):
        build(source, device="cuda:63")
    assert leftovers(source.parent) == []


def test_the_flavor_that_is_not_installed(make):
    from importlib.util import find_spec

    if find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed")
    from segplug.errors import MissingDependencyError

    with pytest.raises(MissingDependencyError, match=r"segplug-tensorrt\[trt\]"):
        build(make(), flavor="tensorrt")


def test_ctrl_c_ends_a_build_and_leaves_nothing(make):
    source = make()
    timer = threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT))

    class Interrupting:
        """Sends SIGINT at the builder's first step."""

        warnings: tuple[str, ...] = ()

        def note(self, message): ...

        def warn(self, message): ...

        def progress(self, description, total):
            from contextlib import nullcontext

            return nullcontext(self)

        def advance(self, steps=1):
            if not timer.is_alive() and timer.ident is None:
                timer.start()
                timer.join()

    with pytest.raises(KeyboardInterrupt):
        Segplug(reporter=Interrupting()).build_engine(
            "tensorrt", source, output=source.with_suffix(".engine"), max_shape=("1x3x32x48",)
        )
    assert timer.ident is not None, "the builder reported a step"
    assert leftovers(source.parent) == []


def test_output_of_the_library_goes_to_stderr(capfd):
    from segplug_tensorrt.redirect import stdout_to_stderr

    with stdout_to_stderr():
        os.write(1, b"WARNING: precision\n")
    print("document")
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("document\n", "WARNING: precision\n")


def test_importing_the_builder_does_not_import_tensorrt():
    code = (
        "import sys, segplug_tensorrt.builder, segplug_tensorrt.infer;"
        "heavy = {'tensorrt', 'tensorrt_rtx_bindings', 'onnx', 'onnxruntime', 'cuda'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_int64_labels_are_built_without_a_warning(make):
    model = tiny()
    model.graph.node[2].output[0] = "logits"
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["output"], axis=1, keepdims=0))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("output", TensorProto.INT64, ("n", "h", "w")))
    session = Segplug()
    source = make(model)
    meta = session.build_engine("tensorrt", source, output=source.with_suffix(".engine")).meta
    assert meta.extra["tensorrt"]["output"] == {"name": "output", "dtype": "int64", "shape": [-1, -1, -1]}
    (one_size,) = session.reporter.warnings
    assert "this file takes 32x48 (height x width) only" in one_size
    assert "--min-shape and --max-shape" in one_size


def test_an_engine_of_several_sizes_needs_no_warning_of_one(make):
    session, source = Segplug(), make(tiny())
    shapes = {"min_shape": ("1x3x32x48",), "max_shape": ("1x3x64x96",)}
    session.build_engine("tensorrt", source, output=source.with_suffix(".engine"), **shapes)
    assert session.reporter.warnings == []


def test_triton_packs_what_was_built(make, tmp_path):
    pytest.importorskip("segplug_triton", reason="segplug-triton is not installed")
    packed = Segplug().pack(
        "triton", build(make(), max_shape=("4x3x32x48",), min_shape=("1x3x32x48",)), folder=tmp_path / "store"
    )
    assert (packed.path / "1" / "model.plan").is_file()


def test_a_file_without_metadata_is_named_after_itself(make):
    model = tiny(("n", 4, "h", "w"))
    del model.metadata_props[:]
    onnx.checker.check_model(model)
    session, source = Segplug(), make(model, name="foreign.onnx")
    output = source.with_suffix(".engine")
    artifact = session.build_engine("tensorrt", source, output=output, max_shape=("1x4x32x48",))
    assert any("takes images as they are decoded" in line for line in session.reporter.warnings)
    assert (artifact.meta.name, artifact.meta.in_channels) == ("foreign", 4)
    assert artifact.meta.decoding == Decoding.for_channels(4)
