"""``analyze flops`` on ONNX files: our own, those of others, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from segplug_analysis.flops.windows import notes_on_model
from segplug_mmseg.compat import import_mmseg
from torch import nn

from segplug import Segplug
from segplug.errors import ArtifactError, ShapeError, UsageError
from segplug.model import Inference, InputLimits, ModelMeta
from segplug.preprocessing import Flip, Resize, usual_steps

HEADER = '<ir_version: 8, opset_import: ["": 18]>'


@pytest.fixture
def graph(tmp_path):
    """The data of the report on a graph that is given as text."""

    def count(text, *, name="graph.onnx", **options):
        path = tmp_path / name
        onnx.save(onnx.parser.parse_model(f"{HEADER} g {text}"), path)
        return Segplug().analyze("flops", path, **options).data

    return count


def operator(data, name):
    (found,) = [item for item in data["operators"] if item["operator"] == name]
    return found


IMAGE = "(float[1,3,8,12] x) => (float[a,b,c,d] y)"


@pytest.mark.parametrize(
    ("body", "macs", "others"),
    [
        ("<float[6,1,3,3] w, float[6] b> { y = Conv <group=3, pads=[1,1,1,1]> (x, w, b) }", 6 * 96 * 9, 576),
        ("<float[3,5,2,2] w> { y = ConvTranspose <strides=[2,2]> (x, w) }", 3 * 96 * 5 * 4, 0),
        ("<float[12,7] w> { y = MatMul (x, w) }", 24 * 12 * 7, 0),
        ("{ t = Transpose <perm=[0,1,3,2]> (x) y = MatMul (x, t) }", 3 * 8 * 12 * 8, 0),
        ('<float[5,3] w> { y = Einsum <equation="kc,nchw->nkhw"> (w, x) }', 5 * 3 * 96, 0),
        ("<float[4] s = {1,1,2,2}> { y = Resize <mode=\"linear\"> (x, , s) }", 0, 7 * 4 * 288),
        ("<float[4] s = {1,1,2,2}> { y = Resize <mode=\"nearest\"> (x, , s) }", 0, 0),
        ("<float[12] g, float[12] b> { y = LayerNormalization (x, g, b) }", 0, 7 * 288),
        ("{ y = MaxPool <kernel_shape=[2,2], strides=[2,2]> (x) }", 0, 288),
        ("{ y = GlobalAveragePool (x) }", 0, 288),
        ("{ s = Softmax <axis=1> (x) y = Relu (s) }", 0, 6 * 288),
    ],
)  # fmt: skip
def test_operators_count_as_in_torch(graph, body, macs, others):
    data = graph(_with_zeros(f"{IMAGE} {body}"))
    assert (data["macs"], data["flops"]) == (macs, 2 * macs + others)
    assert data["not_counted"] == []


def _with_zeros(text):
    """Weights of zeros for those that are declared without values."""

    def fill(match):
        count = int(np.prod([int(size) for size in match[1].split(",")]))
        return f"{match[0]} = {{{','.join(['0'] * count)}}}"

    head, _, body = text.partition("=> ")
    return head + "=> " + re.sub(r"float\[([\d,]+)\] \w+(?! =)(?=[,>])", fill, body)


def test_gemm_and_its_bias(graph):
    body = "<float[7,288] w, float[7] b> { f = Flatten (x) y = Gemm <transB=1> (f, w, b) }"
    data = graph(_with_zeros(f"(float[1,3,8,12] x) => (float[a,b] y) {body}"))
    assert (data["macs"], data["flops"], data["parameters"]) == (288 * 7, 2 * 288 * 7 + 7, 288 * 7 + 7)


def test_an_operator_without_a_rule_is_listed(graph):
    data = graph("(float[1,3,8,8] x) => (float[a,b,c,d] y) { d = Det (x) y = Add (x, x) }")
    assert data["not_counted"] == ["Det"]
    assert operator(data, "Det")["counted"] is False
    assert data["flops"] == 192


def test_sizes_that_depend_on_values_are_found(graph):
    text = """(float[1,3,h,w] x) => (float[a,b] y) {
        m = Equal (x, x) found = NonZero (m) c = Cast <to=1> (found) y = Relu (c) }"""
    assert operator(graph(text, shape=(8, 12)), "Relu")["flops"] == 4 * 288


def test_a_dynamic_file_counts_at_the_shape_that_is_asked_for(graph):
    text = _with_zeros("(float[n,3,h,w] x) => (float[a,b,c,d] y) <float[4,3,1,1] w> { y = Conv (x, w) }")
    assert graph(text, shape=(10, 20))["macs"] == 200 * 12
    assert graph(text, shape=(5,))["macs"] == 25 * 12
    with pytest.raises(UsageError, match=r"takes inputs of many sizes.*--shape"):
        graph(text)


def test_a_fixed_batch_is_counted_as_it_is(graph):
    data = graph("(float[4,3,8,12] x) => (float[a,b,c,d] y) { y = Relu (x) }")
    assert (data["input"]["batch"], data["flops"]) == (4, 4 * 288)


def test_an_input_with_channels_last(graph):
    data = graph("(float[1,8,12,3] x) => (float[a,b,c,d] y) { y = Relu (x) }", shape=(8, 12))
    assert data["flops"] == 288


@pytest.mark.parametrize(("axes", "channels"), [("1,8,12,1", 1), ("n,h,w,4", 4), ("1,13,8,12", 13)])
def test_the_channels_of_a_foreign_file(graph, axes, channels):
    data = graph(f"(float[{axes}] x) => (float[a,b,c,d] y) {{ y = Relu (x) }}", shape=(8, 12))
    assert data["input"] == {"batch": 1, "channels": channels, "height_pixels": 8, "width_pixels": 12}
    assert data["flops"] == channels * 96


def test_old_files_that_list_weights_among_their_inputs(tmp_path):
    weight = numpy_helper.from_array(np.zeros((4, 3, 1, 1), np.float32), "w")
    infos = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 12]),
        helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 1, 1]),
    ]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="only")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", infos, [result], [weight]),
        opset_imports=[helper.make_opsetid("", 9)],
        ir_version=3,
    )
    onnx.save(model, tmp_path / "old.onnx")
    report = Segplug().analyze("flops", tmp_path / "old.onnx")
    assert (report.data["macs"], report.data["parameters"]) == (12 * 96, 12)
    assert [item["path"] for item in report.data["modules"]] == ["", "only"]
    assert any("has no names of modules" in note for note in report.notes)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8), nn.ReLU())
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), block)
        self.attention = nn.Linear(8, 8)
        self.head = nn.ModuleList([nn.Conv2d(8, 2, 1)])

    def forward(self, image):
        features = self.backbone(image)
        tokens = features.flatten(2).transpose(1, 2)
        tokens = torch.softmax(self.attention(tokens) @ tokens.transpose(1, 2), -1) @ tokens
        features = features + tokens.transpose(1, 2).reshape(features.shape)
        return nn.functional.interpolate(self.head[0](features), scale_factor=2, mode="bilinear")


@pytest.fixture(scope="module", params=["torch's newer exporter", "torch's older exporter"])
def exported(request, tmp_path_factory):
    """A file of each of torch's exporters, and what the network itself counts."""
    from segplug_analysis.flops.torch_counter import count_network

    network = Small().eval().requires_grad_(False)
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    newer = "newer" in request.param
    options = {"dynamo": True, "verbose": False} if newer else {"dynamo": False, "opset_version": 11}
    torch.onnx.export(network, (torch.zeros(1, 3, 8, 12),), str(path), input_names=["x"], **options)
    return Segplug().analyze("flops", path).data, count_network(network, 3, (8, 12))


@pytest.mark.filterwarnings("ignore")
def test_a_file_counts_what_its_network_counts(exported):
    data, network = exported
    assert data["macs"] == network.total.macs
    assert data["flops"] == pytest.approx(network.total.flops, rel=0.05)  # batch norms are folded
    assert data["not_counted"] == []


@pytest.mark.filterwarnings("ignore")
def test_nodes_count_for_the_modules_that_they_came_from(exported):
    data, network = exported
    found = {item["path"]: item["macs"] for item in data["modules"]}
    expected = {cost.part.path: cost.total.macs for cost in network.modules() if cost.total.macs}
    assert {path: macs for path, macs in found.items() if macs} == expected


def test_our_own_file_counts_as_the_config_and_names_its_modules(tmp_path):
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    location = configs / "fastscnn" / "fast_scnn_lr0.12_8x4_160k_cityscapes.py"
    session = Segplug()
    model = session.load_model(location)
    session.export("onnx", model, output=tmp_path / "own.onnx", shape=(128, 160), output_kind="logits")
    own = session.analyze("flops", tmp_path / "own.onnx").data
    network = session.analyze("flops", location, shape=(128, 160)).data
    # Adaptive pooling is exported as products with small matrices.
    assert network["macs"] < own["macs"] < 1.001 * network["macs"]
    assert {"backbone.global_feature_extractor", "decode_head"} <= {item["path"] for item in own["modules"]}
    assert own["parameters"] == pytest.approx(network["parameters_used"], rel=0.05)  # norms are folded


def test_weights_in_a_file_of_their_own(tmp_path):
    path = tmp_path / "external.onnx"
    weight = numpy_helper.from_array(np.zeros((512, 3, 1, 1), np.float32), "w")
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [image], [result], [weight]), ir_version=8)
    model.opset_import[0].version = 18
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    data = Segplug().analyze("flops", path, shape=(8, 12)).data
    assert (data["macs"], data["parameters"]) == (512 * 3 * 96, 512 * 3)
    linked = tmp_path / "cache" / "snapshot" / "m.onnx"  # as in the cache of a model hub
    linked.parent.mkdir(parents=True)
    linked.symlink_to("../../external.onnx")
    (linked.parent / "weights.bin").symlink_to("../../weights.bin")
    assert Segplug().analyze("flops", linked, shape=(8, 12)).data["macs"] == data["macs"]
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ArtifactError, match=r"there is no file .*weights.bin"):
        Segplug().analyze("flops", path, shape=(8, 12))


def test_a_foreign_file_of_an_old_operator_set(data_dir):
    report = Segplug().analyze("flops", data_dir / "onnx" / "SINet_Softmax.onnx")
    assert report.data["not_counted"] == []
    assert report.data["macs"] == 130_343_440
    assert {"encoder", "encoder.level3"} <= {item["path"] for item in report.data["modules"]}


def test_a_fixed_size_takes_no_other(graph):
    with pytest.raises(ShapeError, match="takes an input of 8x12 only, not of 9x12"):
        graph(f"{IMAGE} {{ y = Relu (x) }}", shape=(9, 12))


def test_the_metadata_that_segplug_wrote_is_used(tmp_path):
    limits = InputLimits(minimum=(8, 8), multiple_of=8)
    slide = Inference("slide", crop_size=(16, 16), stride=(8, 8))
    meta = ModelMeta("own", input_size=(16, 16), inference=slide, input_limits=limits)
    text = f"{HEADER} g (float[1,3,h,w] x) => (float[a,b,c,d] y) {{ y = Relu (x) }}"
    model = onnx.parser.parse_model(text)
    helper.set_model_props(model, {"segplug.meta": meta.to_json()})
    onnx.save(model, tmp_path / "own.onnx")
    report = Segplug().analyze("flops", tmp_path / "own.onnx")
    assert report.data["flops"] == 3 * 16 * 16
    assert any("sliding window of 16x16" in note for note in report.notes)
    with pytest.raises(ShapeError, match="takes 8x8 and larger, multiples of 8, not 12x16"):
        Segplug().analyze("flops", tmp_path / "own.onnx", shape=(12, 16))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_the_channels_of_our_own_file(tmp_path, channels):
    steps = usual_steps([1.0] * channels, [1.0] * channels)
    meta = ModelMeta(
        "own",
        in_channels=channels,
        preprocessing=steps,
        input_size=(3, 3),
        tta=(steps, (*steps, Flip())),
        approximations=("no blur",),
    )
    text = f"{HEADER} g (float[n,{channels},h,w] x) => (float[a,b,c,d] y) {{ y = Relu (x) }}"
    model = onnx.parser.parse_model(text)
    helper.set_model_props(model, {"segplug.meta": meta.to_json()})
    onnx.save(model, tmp_path / "own.onnx")
    report = Segplug().analyze("flops", tmp_path / "own.onnx")
    assert (report.data["input"]["channels"], report.data["flops"]) == (channels, channels * 9)
    assert report.tables[0].rows[0][0] == f"{channels}x3x3"
    assert "approximate: no blur" in report.notes
    assert any("pipeline (2 views): the numbers are for one view" in note for note in report.notes)
    helper.set_model_props(model, {"segplug.meta": ModelMeta("own", in_channels=5).to_json()})
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ArtifactError, match=f"has {channels} channels, and its metadata says 5"):
        Segplug().analyze("flops", tmp_path / "other.onnx", shape=(3, 3))


def test_the_windows_of_an_image_that_is_resized():
    slide = Inference("slide", crop_size=(16, 16), stride=(8, 8))
    steps = usual_steps((0, 0, 0), (1, 1, 1), resize=Resize(scale=(32, 24), fit="inside"))
    notes = list(notes_on_model(ModelMeta("own", preprocessing=steps, inference=slide), (16, 16)))
    assert notes == [
        "This model uses a sliding window of 16x16: the numbers are for one window; at the test size 24x32, "
        "an image of exactly this size takes 6 windows."
    ]
    even = Inference("slide", crop_size=(16, 16), placement="even")
    (note,) = notes_on_model(ModelMeta("own", preprocessing=steps, inference=even), (16, 16))
    assert note.endswith("an image of exactly this size takes 4 windows.")


def test_a_shape_that_the_graph_cannot_take(graph):
    text = "(float[1,3,h,w] x) => (float[a,b,c,d] y) <float[1,3,8,8] t> { y = Add (x, t) }"
    with pytest.raises(ShapeError, match="cannot take an input of 1x3x9x9"):
        graph(_with_zeros(text), shape=(9, 9))


@pytest.mark.parametrize(
    ("content", "message"), [(b"hello", "not an ONNX file"), (b"", "holds no graph")], ids=["text", "empty"]
)
def test_what_is_no_onnx_file(tmp_path, content, message):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        Segplug().analyze("flops", path)


def test_wrong_arguments_for_a_file(tmp_path, graph):
    with pytest.raises(UsageError, match="there is no file"):
        Segplug().analyze("flops", tmp_path / "nothing.onnx")
    with pytest.raises(UsageError, match="are for configs"):
        graph(f"{IMAGE} {{ y = Relu (x) }}", cfg_options={"a": "1"})
    with pytest.raises(ArtifactError, match="takes 2 inputs, not one image: x, z"):
        graph("(float[1,3,8,8] x, float[1] z) => (float[a,b,c,d] y) { y = Add (x, z) }")
