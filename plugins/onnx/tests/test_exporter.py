"""``export onnx``: the files that it writes, and the requests that it refuses."""

from __future__ import annotations

import math

import cv2
import numpy as np
import onnx
import pytest
import segplug_onnx.writer as writer
import torch
from segplug_onnx import heads
from segplug_onnx.engine import provider as onnxruntime_provider
from segplug_onnx.exporter import Options
from segplug_onnx.exporter import provider as exporter
from segplug_onnx.foreign import Options as InferOptions
from segplug_onnx.metadata import read_meta
from torch import nn

from segplug.cli.root import run_command_line
from segplug.errors import ArtifactError, ModelError, ShapeError, UsageError
from segplug.model import Inference
from segplug.options import build_options
from segplug.progress import QuietReporter
from segplug.requests import ExportRequest, InferRequest
from segplug.runtime.postprocess import NetworkOutput, Postprocessor
from segplug.runtime.sizes import Geometry
from segplug.testing import make_request


def dims(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def run(artifact, batch, **request):
    request = make_request(InferRequest, artifact=artifact.path, threads=1, options=InferOptions(), **request)
    return onnxruntime_provider.infer(request).run(batch)


def everything_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_static_labels(static_labels, tiny, images, logits_of):
    proto = onnx.load(static_labels.path)
    onnx.checker.check_model(proto, full_check=True)
    assert [(item.name, dims(item)) for item in proto.graph.input] == [("input", [1, 3, 32, 48])]
    assert [(item.name, dims(item)) for item in proto.graph.output] == [("output", [1, 32, 48])]
    batch = images(1, 32, 48)
    assert np.array_equal(run(static_labels, batch), logits_of(tiny, batch).argmax(1))


def test_the_graph_is_small_and_standard(static_labels):
    proto = onnx.load(static_labels.path)
    kinds = [node.op_type for node in proto.graph.node]
    assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
    assert not proto.functions
    assert [item.domain for item in proto.opset_import] == [""]
    # Softmax before ArgMax would cost most of a fast network's time; the rest is folded or dead.
    assert not {"Softmax", "BatchNormalization", "Identity", "Dropout"} & set(kinds)
    assert kinds[-1] == "ArgMax"
    notes = (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output)
    assert not any(item.metadata_props or item.doc_string for item in notes)


@pytest.mark.parametrize("size", [(2, 32, 48), (1, 50, 33), (3, 7, 64)])
def test_dynamic_follows_every_axis(dynamic_labels, tiny, images, logits_of, size):
    proto = onnx.load(dynamic_labels.path)
    assert dims(proto.graph.input[0]) == ["batch", 3, "height", "width"]
    assert dims(proto.graph.output[0]) == ["batch", "height", "width"]
    batch = images(*size)
    assert np.array_equal(run(dynamic_labels, batch), logits_of(tiny, batch).argmax(1))


def test_a_square_shape_does_not_make_height_equal_width(export, tiny, images, logits_of):
    artifact = export(tiny, dynamic=True, shape=(32, 32), output_kind="logits")
    batch = images(1, 20, 36)
    np.testing.assert_allclose(run(artifact, batch), logits_of(tiny, batch), atol=1e-5)


def test_slide_gives_logits_of_the_crop(slide_logits, tiny, images, logits_of):
    proto = onnx.load(slide_logits.path)
    assert dims(proto.graph.input[0]) == [1, 3, 24, 40]
    assert dims(proto.graph.output[0]) == [1, 4, 24, 40]
    assert slide_logits.meta.input_size == (24, 40)
    batch = images(1, 24, 40)
    np.testing.assert_allclose(run(slide_logits, batch), logits_of(tiny, batch), atol=1e-5)


def test_slide_refuses_labels_and_other_shapes(export, model_of):
    model = model_of(inference=Inference(mode="slide", crop_size=(24, 40), stride=(16, 30)))
    with pytest.raises(UsageError, match="cannot be averaged"):
        export(model, output_kind="labels")
    with pytest.raises(UsageError, match="24x40"):
        export(model, shape=(64, 64))


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_one_channel_head_compares_with_its_threshold(export, model_of, images, logits_of, share):
    batch = images(1, 32, 48)
    head = {"out_channels": 1, "classes": ("background", "fire"), "activation": "sigmoid"}
    logits = logits_of(model_of(**head), batch)
    threshold = float(1 / (1 + np.exp(-np.quantile(logits, share))))
    artifact = export(model_of(**head, threshold=threshold), output_kind="labels")
    labels = run(artifact, batch)
    assert labels.dtype == np.int64
    assert labels.mean() == pytest.approx(1 - share, abs=0.01)
    assert np.array_equal(labels, logits[:, 0] > math.log(threshold / (1 - threshold)))
    np.testing.assert_allclose(run(artifact, batch, want_logits=True), logits, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "scores"),
    [(3, "logits"), pytest.param(15, "probabilities", marks=pytest.mark.slow)],
)
def test_several_sigmoids_give_the_bits_of_their_classes(
    export, model_of, images, logits_of, channels, scores
):
    """In the graph, for every size, exactly as the runtime makes them of the scores."""
    last = nn.Sigmoid() if scores == "probabilities" else nn.Identity()
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), last)
    meta = {"out_channels": channels, "classes": (), "activation": "sigmoid", "scores": scores}
    model = model_of(network, preprocessing=(), threshold=0.55, **meta)
    artifact = export(model, dynamic=True)
    assert artifact.meta.extra["onnx"]["output_kind"] == "labels"
    batch = images(2, 40, 56)
    labels, found = run(artifact, batch), run(artifact, batch, want_logits=True)
    np.testing.assert_allclose(found, logits_of(model, batch), atol=1e-5)
    assert labels.dtype == np.int64
    for one, of_it in zip(labels, found, strict=True):
        output = NetworkOutput(of_it, Geometry.whole((40, 56)), logits=scores == "logits")
        assert np.array_equal(one, Postprocessor(model.meta)(output).labels)
    assert len(np.unique(labels)) > channels


@pytest.mark.slow
def test_more_sigmoids_than_bits_give_scores(export, model_of):
    torch.manual_seed(1)
    meta = {"out_channels": 16, "classes": (), "activation": "sigmoid", "preprocessing": ()}
    model = model_of(nn.Conv2d(3, 16, 3, padding=1), **meta)
    with pytest.raises(UsageError, match="a label map holds the sets of at most 15 classes"):
        export(model, output_kind="labels")
    assert export(model, dynamic=True).meta.extra["onnx"]["output_kind"] == "logits"


@pytest.mark.parametrize(
    "channels", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow), 13]
)
def test_images_of_any_number_of_channels(export, model_of, images, logits_of, channels):
    model = model_of(in_channels=channels)
    artifact = export(model, output_kind="labels")
    assert dims(onnx.load(artifact.path).graph.input[0]) == [1, channels, 32, 48]
    batch = images(1, 32, 48, channels)
    assert np.array_equal(run(artifact, batch), logits_of(model, batch).argmax(1))
    np.testing.assert_allclose(run(artifact, batch, want_logits=True), logits_of(model, batch), atol=1e-5)
    free = export(model, dynamic=True, output_kind="logits")
    assert dims(onnx.load(free.path).graph.input[0]) == ["batch", channels, "height", "width"]
    for size in ((2, 32, 48), (1, 50, 33)):
        batch = images(*size, channels)
        np.testing.assert_allclose(run(free, batch), logits_of(model, batch), atol=1e-5)
    with pytest.raises(ShapeError, match="Got invalid dimensions"):
        run(free, images(1, 32, 48, channels + 1))


class Strided(nn.Module):
    """Gives scores at a quarter of the input's size, rounded up."""

    def __init__(self, classes, last=None):
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.head = nn.Conv2d(8, classes, 3, stride=2, padding=1)
        self.last = last or nn.Identity()

    def forward(self, images):
        return self.last(self.head(self.stem(images).relu()) * 4)


def at_input_size(scores, batch, align_corners):
    return nn.functional.interpolate(
        torch.from_numpy(scores), size=batch.shape[2:], mode="bilinear", align_corners=align_corners
    ).numpy()


@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_are_computed_from_scores_at_the_inputs_size(
    export, model_of, images, logits_of, align_corners
):
    model = model_of(Strided(4), output_stride=4, align_corners=align_corners)
    artifact = export(model, dynamic=True)
    for size in ((1, 32, 48), (2, 45, 33)):
        batch = images(*size)
        scores = logits_of(model, batch)
        assert scores.shape[2:] == (-(-size[1] // 4), -(-size[2] // 4))
        expected = at_input_size(scores, batch, align_corners).argmax(1)
        labels = run(artifact, batch)
        assert labels.shape == expected.shape
        assert (labels != expected).mean() < 1e-3
        compared = run(artifact, batch, want_logits=True)
        np.testing.assert_allclose(compared, at_input_size(scores, batch, align_corners), atol=1e-5)


def test_scores_at_a_stride_are_given_as_they_are(export, model_of, images, logits_of):
    model = model_of(Strided(4), output_stride=4)
    artifact = export(model, dynamic=True, output_kind="logits", verify=True)
    assert artifact.meta.verification["passed"]
    assert artifact.meta.verification["logits_compared"]
    batch = images(1, 45, 33)
    np.testing.assert_allclose(run(artifact, batch), logits_of(model, batch), atol=1e-5)
    assert run(artifact, batch).shape == (1, 4, 12, 9)


def test_verification_finds_labels_that_were_resized_otherwise(export, model_of, monkeypatch):
    """The reference's scores are resized as the metadata says, and compared with those in the file."""
    model = model_of(Strided(4), output_stride=4)
    assert export(model, output_kind="labels", verify=True).meta.verification["passed"]

    class Otherwise(heads.WithLabels):
        def __init__(self, network, meta):
            super().__init__(network, meta.replace(align_corners=not meta.align_corners))

    monkeypatch.setattr(heads, "WithLabels", Otherwise)
    found = export(model, output_kind="labels", verify=True).meta.verification
    assert not found["passed"]
    assert found["relative_difference"] > 0.01


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.6, 1.0])
def test_one_channel_of_probabilities_is_compared_directly(export, model_of, images, logits_of, threshold):
    head = {"out_channels": 1, "classes": ("fire",), "activation": "sigmoid", "scores": "probabilities"}
    model = model_of(Strided(1, nn.Sigmoid()), output_stride=4, threshold=threshold, **head)
    batch = images(1, 32, 48)
    probabilities = logits_of(model, batch)
    expected = at_input_size(probabilities, batch, align_corners=False)[:, 0] > threshold
    artifact = export(model, output_kind="labels", verify=True)
    assert artifact.meta.verification["passed"]
    labels = run(artifact, batch)
    assert expected.mean() == {0.0: 1, 1.0: 0}.get(threshold, pytest.approx(0.5, abs=0.48))
    assert (labels != expected).mean() < 1e-3
    compared = run(artifact, batch, want_logits=True)
    np.testing.assert_allclose(compared, at_input_size(probabilities, batch, False), atol=1e-5)


def test_the_metadata_in_the_file(static_labels, tiny):
    meta = read_meta(static_labels.path)
    assert meta == static_labels.meta
    assert (meta.classes, meta.in_channels) == (tiny.meta.classes, 3)
    assert meta.preprocessing == tiny.meta.preprocessing
    assert meta.input_size == (32, 48)
    assert {"torch", "onnx", "onnxscript", "segplug-onnx"} <= meta.versions.keys()
    assert meta.verification is None
    assert meta.extra["onnx"]["output_kind"] == "labels"
    proto = onnx.load(static_labels.path)
    assert proto.producer_name == "segplug-onnx"
    assert [prop.key for prop in proto.metadata_props] == ["segplug.meta"]


@pytest.mark.parametrize("opset", [18, 21, 26])
def test_opset_is_the_one_asked_for(export, tiny, images, logits_of, opset):
    artifact = export(tiny, output_kind="labels", opset=opset)
    proto = onnx.load(artifact.path)
    assert [item.version for item in proto.opset_import] == [opset]
    batch = images(1, 32, 48)
    assert np.array_equal(run(artifact, batch), logits_of(tiny, batch).argmax(1))


def test_opset_out_of_range_is_named():
    with pytest.raises(UsageError, match=r"opset.*18\.\.26"):
        build_options(Options, {"opset": "11"}, owner="export onnx")


def test_opset_that_the_exporter_does_not_keep_is_refused(model_of, tmp_path):
    class Sampling(nn.Module):
        def forward(self, images):
            return nn.functional.grid_sample(images, images[:, :2].permute(0, 2, 3, 1).contiguous())

    # The exporter of PyTorch converts to opsets below 18, and silently keeps 18 if that fails.
    model = model_of(network=Sampling(), out_channels=3, classes=("a", "b", "c"))
    request = make_request(ExportRequest, model=model, output=tmp_path / "m.onnx", options=Options(opset=11))
    with pytest.raises(UsageError, match="cannot export this network with opset 11; it wrote 18"):
        exporter.export(request)
    assert everything_in(tmp_path) == []


def test_the_model_is_not_changed(export, model_of):
    model = model_of()
    model.module.stem[0].weight.requires_grad_(True)
    model.module.head[1].weight.requires_grad_(False)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    flags = [(module.training, len(module._forward_hooks)) for module in model.module.modules()]
    grads = [parameter.requires_grad for parameter in model.module.parameters()]
    export(model)
    assert flags == [(module.training, len(module._forward_hooks)) for module in model.module.modules()]
    assert grads == [parameter.requires_grad for parameter in model.module.parameters()]
    after = model.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.is_grad_enabled()


def test_nothing_is_printed(export, model_of, capfd, recwarn, tmp_path):
    export(model_of())
    with pytest.raises(ShapeError):
        export(model_of(network=NeedsMultiple(), out_channels=3), tmp_path / "m.onnx", shape=(30, 30))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert not recwarn.list


class NeedsMultiple(nn.Module):
    def forward(self, images):
        if images.shape[2] % 32:
            raise RuntimeError("height 30 is no multiple of 32\nand more lines")
        return images


def test_shape_that_the_network_cannot_take(export, model_of, tmp_path):
    model = model_of(network=NeedsMultiple(), out_channels=3)
    with pytest.raises(ShapeError, match=r"cannot take 30x30 images: height 30 is no multiple of 32$"):
        export(model, tmp_path / "m.onnx", shape=(30, 30))
    assert everything_in(tmp_path) == []


def test_network_that_cannot_be_traced(export, model_of, tmp_path):
    class DependsOnValues(nn.Module):
        def forward(self, images):
            return images * 2 if images.sum().item() > 0 else images

    with pytest.raises(ModelError, match="cannot be exported to ONNX"):
        export(model_of(network=DependsOnValues(), out_channels=3), tmp_path / "m.onnx")
    assert everything_in(tmp_path) == []


def test_network_that_fixes_a_dynamic_axis(export, model_of, tmp_path):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.zeros(1, 3, 32, 48))

        def forward(self, images):
            return images + self.position

    with pytest.raises(ModelError, match="without --dynamic"):
        export(model_of(network=Fixed(), out_channels=3), tmp_path / "m.onnx", dynamic=True)
    assert everything_in(tmp_path) == []


class SizeByFloat(nn.Module):
    """Computes a size as the code of many networks does."""

    def forward(self, images):
        height, width = images.shape[2:]
        smaller = nn.functional.interpolate(images, (int(0.75 * height), int(0.75 * width)))
        return nn.functional.interpolate(smaller, (height, width))


def test_a_size_computed_with_a_float_is_no_free_one(export, model_of, tmp_path):
    model = model_of(network=SizeByFloat(), out_channels=3)
    with pytest.raises(ModelError, match="as the number that the traced size gives"):
        export(model, tmp_path / "m.onnx", dynamic=True)
    assert everything_in(tmp_path) == []
    export(model, tmp_path / "m.onnx", verify=True)


def test_operators_that_are_not_standard_are_named(export, model_of, monkeypatch, tmp_path):
    import segplug_onnx.tracing as tracing

    monkeypatch.setattr(tracing, "_STANDARD_DOMAINS", ("ai.onnx",))
    with pytest.raises(ModelError, match="not standard ONNX: ::Conv, ::Relu"):
        export(model_of(), tmp_path / "m.onnx")
    assert everything_in(tmp_path) == []


def test_unknown_input_size(export, model_of):
    with pytest.raises(UsageError, match="--shape HEIGHT WIDTH"):
        export(model_of(input_size=None))


def test_a_dynamic_export_needs_no_size(export, model_of, images, logits_of):
    model = model_of(input_size=None)
    artifact = export(model, dynamic=True)
    assert artifact.meta.input_size is None
    batch = images(1, 31, 17)
    assert np.array_equal(run(artifact, batch), logits_of(model, batch).argmax(1))


def test_an_image_gives_the_size(export, model_of, tmp_path):
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros((20, 28, 3), np.uint8))
    artifact = export(model_of(input_size=None), images=[image])
    assert artifact.meta.input_size == (20, 28)


def test_other_precisions_are_refused(export, tiny):
    with pytest.raises(UsageError, match="export onnx makes fp32 artifacts, not fp16"):
        export(tiny, precision="fp16")


def test_the_flag_of_the_older_tool_is_understood(capsys):
    assert run_command_line(["run", "export", "onnx", "--help"]) == 0
    assert "--output-file" in capsys.readouterr().out


def test_full_disk(export, tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_write", full)
    output = tmp_path / "m.onnx"
    output.write_text("older")
    with pytest.raises(ArtifactError, match="No space left on device"):
        export(tiny, output, force=True)
    assert output.read_text() == "older"
    assert everything_in(tmp_path) == ["m.onnx"]


def test_show_prints_the_graph(export, tiny):
    class Notes(QuietReporter):
        def note(self, message):
            self.warnings.append(message)

    notes = Notes()
    export(tiny, output_kind="labels", show=True, reporter=notes)
    text = notes.warnings[0]
    assert "input:1x3x32x48" in text
    assert "ArgMax(logits:1x4x32x48)" in text
    assert "tensors of weights" in text


class Centred(nn.Module):
    """Pads to a multiple of 4, half of it in front: the exporter computes that as a negative quotient."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height = images.shape[2]
        blocks = (height + 3) // 4
        if not isinstance(blocks, int):  # a new symbol for the exporter, as in large networks
            blocks = torch.full((), blocks, dtype=torch.int64).item()
            torch._check(blocks > 1)
        before = (4 * blocks - height) // 2
        padded = nn.functional.pad(images, (0, 0, before, 4 * blocks - height - before))
        return padded.narrow(2, before, height) + 10 * padded.narrow(2, 0, height)


def test_quotients_of_sizes_round_down(export, model_of, images, logits_of, tmp_path):
    model = model_of(Centred(), out_channels=3, classes=("a", "b", "c"))
    artifact = export(model, tmp_path / "m.onnx", dynamic=True)
    for height in (20, 21, 22, 23, 33):
        batch = images(1, height, 26)
        actual = run(artifact, batch, want_logits=True)
        np.testing.assert_allclose(actual, logits_of(model, batch), rtol=1e-6, err_msg=str(height))
