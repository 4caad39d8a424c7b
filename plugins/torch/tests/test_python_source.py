"""``python:package.module:factory``: a plain module as a model, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from segplug_torch.python_source.provider import provider
from torch import nn

from segplug import Segplug
from segplug.errors import CheckpointError, DeviceError, ModelError, PluginError, UsageError
from segplug.model import Inference, InputLimits, SegmentationModel
from segplug.preprocessing import ChannelOrder, Decoding, Normalize, Pad, Resize, find_steps
from segplug.progress import QuietReporter
from segplug.providers import Confidence

NETS = """
    import torch
    from torch import nn
    from torch.nn import functional as F


    class Net(nn.Module):
        '''Halves the size of its input, and brings logits back to it.'''

        def __init__(self, classes: int = 3, width: int = 8, *, name: str = "", channels: int = 3):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.SyncBatchNorm(width), nn.ReLU()
            )
            self.head = nn.Conv2d(width, classes, 1)
            self.name = name

        def forward(self, images):
            return F.interpolate(self.head(self.body(images)), size=images.shape[2:], mode="bilinear")


    class Rounding(Net):
        def forward(self, images):
            return F.interpolate(self.head(self.body(images)), scale_factor=2)


    class Strided(Net):
        '''Leaves the last step to its caller.'''

        def forward(self, images):
            return self.head(self.body(images))


    class Probabilities(Strided):
        def forward(self, images):
            return super().forward(images).sigmoid()


    class Fixed(Net):
        def forward(self, images):
            assert images.shape[2:] == (96, 160), "one size only"
            return super().forward(images)


    class Returning(Net):
        def __init__(self, what):
            super().__init__()
            self.what = what

        def forward(self, images):
            logits = super().forward(images)
            return {
                "dict": {"out": logits, "aux": logits},
                "tuple": (logits, logits),
                "none": None,
                "larger": torch.cat([logits, logits], 2),
                "wide": logits[:, :, ::2],
                "one size": F.interpolate(logits, (16, 16)),
                "one answer": logits.mean((2, 3), keepdim=True),
                "flat": logits.flatten(2),
                "labels": logits.argmax(1, keepdim=True),
                "half": logits.half(),
            }[self.what]


    def half():
        return Net().half()


    def nothing():
        return {}


    def failing():
        raise ValueError("two\\nlines")


    def leaving():
        raise SystemExit(3)


    def stopping():
        raise type("Stop", (BaseException,), {})("enough")


    def endless():
        return endless()


    class Quits(Net):
        def forward(self, images):
            raise SystemExit(0)


    made = Net()
    number = 5
"""

NORMALISED = {"mean": (1.0, 2.0, 3.0), "std": (4.0, 5.0, 6.0), "classes": ("sky", "road", "car")}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the module ``nets`` in it."""
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    yield tmp_path
    sys.modules.pop("nets", None)


def load(location: str = "python:nets:Net", **given) -> SegmentationModel:
    return Segplug(reporter=given.pop("reporter", None)).load_model(location, **given)


def test_what_it_accepts():
    assert provider.accepts("python:package.module:factory") is Confidence.SURE
    for other in ("config.py", "python.py", "folder", "PYTHON:x", "C:\\nets.py:Net"):
        assert provider.accepts(other) is Confidence.NO


def test_a_factory_in_a_module_of_the_current_folder(here):
    model = load(**NORMALISED)
    images = torch.randn(2, 3, 40, 33)
    logits = model.module(images)
    assert (logits.shape, logits.dtype) == ((2, 3, 40, 33), torch.float32)
    assert torch.equal(model.exportable()(images), logits)
    assert not any(part.training or isinstance(part, nn.SyncBatchNorm) for part in model.module.modules())
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    meta = model.meta
    assert (meta.name, meta.classes, meta.out_channels) == ("nets-Net", ("sky", "road", "car"), 3)
    assert (meta.in_channels, meta.decoding) == (3, Decoding())
    assert meta.preprocessing == (ChannelOrder(), Normalize((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
    assert (meta.output_stride, meta.scores) == (1, "logits")
    assert (meta.activation, meta.threshold) == ("softmax", None)
    assert meta.inference == Inference()
    assert meta.provenance.config == "python:nets:Net"
    assert meta.provenance.config_sha256 == hashlib.sha256((here / "nets.py").read_bytes()).hexdigest()
    assert {"segplug-torch", "torch"} <= set(meta.versions)


def test_a_factory_in_a_file_finds_the_modules_beside_it(here, tmp_path_factory, monkeypatch):
    (here / "factories.py").write_text("import nets\n\ndef build():\n    return nets.Net(classes=5)\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    model = load(f"python:{here}/factories.py:build")
    assert (model.meta.out_channels, model.meta.name) == (5, "factories-build")


def test_a_file_that_was_edited_is_run_anew(here):
    file = here / "one.py"
    for classes in (2, 4):
        file.write_text(f"from nets import Net\n\ndef build():\n    return Net({classes})\n")
        assert load("python:one.py:build").meta.out_channels == classes


def test_the_current_folder_hides_no_installed_package_afterwards(here):
    load()
    assert str(here) not in sys.path
    for name in ("imported_by_a_function", "wave"):
        (here / f"{name}.py").touch()
    found = importlib.util.find_spec("imported_by_a_function")  # what a network's code may do when it runs
    assert found.origin == str(here / "imported_by_a_function.py")
    assert importlib.util.find_spec("wave").origin != str(here / "wave.py")


def test_a_folder_of_files_is_no_package_for_installed_code(here):
    (here / "not_a_package" / "street").mkdir(parents=True)
    load()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("not_a_package")


def test_weights_are_loaded_strictly(here, tmp_path):
    first = load()
    torch.save({"state_dict": {f"module.{k}": v for k, v in first.module.state_dict().items()}}, "w.pth")
    again = load(checkpoint="w.pth")
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(again.module(images), first.module(images))
    assert again.meta.provenance.checkpoint_sha256 is not None
    with pytest.raises(CheckpointError, match="of another shape"):
        load(checkpoint="w.pth", cfg_options={"classes": 4})


def test_overrides_are_keywords_of_the_factory(here):
    model = load(cfg_options={"classes": "4", "width": 16, "name": "resnet18"})
    assert model.meta.out_channels == 4
    assert model.module.body[0].out_channels == 16
    assert model.module.name == "resnet18"
    assert model.meta.extra == {
        "python": {"cfg_options": {"classes": "4", "width": "16", "name": "resnet18"}}
    }


def test_the_options_are_the_metadata(here, tmp_path):
    (tmp_path / "names.txt").write_text("sky\nroad\ntraffic light\n")
    meta = load(
        classes="names.txt", resize="64,96", keep_ratio=True, pad_divisor=32, channel_order="bgr",
        input_size=(32, 64), align_corners="yes", reduce_zero_label=True,
    ).meta  # fmt: skip
    assert meta.classes == ("sky", "road", "traffic light")
    resize = Resize(scale=(96, 64), fit="inside")
    assert meta.preprocessing == (resize, Normalize((0.0,) * 3, (1.0,) * 3), Pad(divisor=32))
    assert meta.input_size == (32, 64)
    assert meta.align_corners
    assert meta.reduce_zero_label
    slide = load(crop_size=(32, 64), stride=(16, 32)).meta
    assert slide.inference == Inference("slide", crop_size=(32, 64), stride=(16, 32))
    assert slide.input_size == (32, 64)
    assert load(crop_size=(32, 64)).meta.inference.stride == (32, 64)
    stretched = load(resize=(64, 96), resize_algorithm="pillow", resize_filter="bicubic").meta
    assert stretched.input_size == (64, 96)
    assert stretched.preprocessing[0] == Resize(scale=(96, 64), algorithm="pillow", filter="bicubic")


def test_padding_counts_for_the_size_that_images_are_resized_to(here):
    assert load(resize=(70, 90), pad_divisor=32).meta.input_size == (96, 96)
    unpadded = load(resize=(70, 90), pad_divisor=1).meta
    assert (unpadded.input_size, find_steps(unpadded.preprocessing, Pad)) == ((70, 90), [])


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_a_network_of_any_number_of_channels(here, channels):
    values = tuple(float(index) for index in range(1, channels + 1))
    model = load(cfg_options={"channels": channels}, in_channels=channels, mean=values, std=values)
    assert model.meta.in_channels == channels
    assert model.meta.decoding == Decoding.for_channels(channels)
    assert model.meta.preprocessing == (Normalize(values, values),)
    images = torch.randn(1, channels, 33, 40)
    assert torch.equal(model.exportable()(images), model.module(images))
    assert model.input_limits() == InputLimits((1, 1))


def test_how_files_are_read(here):
    assert load(decoding="unchanged").meta.decoding == Decoding(color="unchanged")
    bands = load(decoding="bands").meta
    assert bands.decoding == Decoding(library="bands", color="unchanged")
    assert find_steps(bands.preprocessing, ChannelOrder) == []


def test_a_network_whose_scores_have_a_stride(here):
    model = load("python:nets:Strided", cfg_options={"classes": 5})
    assert (model.meta.output_stride, model.meta.out_channels) == (2, 5)
    assert model.module(torch.zeros(1, 3, 33, 48)).shape == (1, 5, 17, 24)
    assert model.input_limits() == InputLimits((1, 1))


def test_a_network_that_returns_probabilities(here):
    meta = load("python:nets:Probabilities", scores="probabilities").meta
    assert (meta.scores, meta.activation, meta.threshold) == ("probabilities", "softmax", None)
    one = load("python:nets:Probabilities", scores="probabilities", cfg_options={"classes": 1}).meta
    assert (one.scores, one.activation, one.threshold) == ("probabilities", "sigmoid", 0.5)
    with pytest.raises(ModelError, match="scores is probabilities, and the network returned -") as caught:
        load(scores="probabilities", cfg_options={"classes": 64})
    assert "leave out scores" in caught.value.hint


def test_a_network_with_one_channel_separates_two_classes(here):
    meta = load(cfg_options={"classes": 1}, classes="off,on").meta
    assert (meta.activation, meta.threshold, meta.num_classes) == ("sigmoid", 0.5, 2)
    assert load(cfg_options={"classes": 1}, threshold=0.3, classes="2").meta.threshold == 0.3
    with pytest.raises(ModelError, match="3 classes are named, and the network's scores have one channel"):
        load(cfg_options={"classes": 1}, classes="3")


def test_a_network_with_one_channel_may_have_one_class(here):
    for given, names in (("fire", ("fire",)), ("1", ("class 0",))):
        meta = load(cfg_options={"classes": 1}, classes=given).meta
        assert meta.classes == meta.label_names == ("background", *names)
        assert (meta.num_classes, meta.out_channels) == (2, 1)


def test_what_is_assumed_is_a_warning(here):
    reporter = QuietReporter()
    assert load(reporter=reporter).meta.classes == ("class 0", "class 1", "class 2")
    assert [text.split(":")[0] for text in reporter.warnings] == [
        "no checkpoint is given",
        "neither mean nor std is given",
        "no classes are named",
    ]


def test_limits_are_found_by_trying(here):
    assert load().input_limits() == InputLimits((1, 1))
    assert load("python:nets:Rounding").input_limits() == InputLimits((2, 2), multiple_of=2)
    fixed = load("python:nets:Fixed", input_size=(96, 160))
    assert fixed.input_limits() == InputLimits((96, 160), maximum=(96, 160))


def test_a_network_that_is_right_at_one_size_alone(here):
    given = {"cfg_options": {"what": "one size"}}
    with pytest.raises(ModelError) as caught:
        load("python:nets:Returning", **given)
    assert caught.value.hint == "if it is for images of one size, name that: --input-size HEIGHT WIDTH"
    for size, stride in (((64, 64), 4), ((128, 128), 8), ((16, 16), 1)):
        model = load("python:nets:Returning", input_size=size, **given)
        alone = InputLimits(size, maximum=size)
        assert (model.meta.output_stride, model.meta.input_limits, model.input_limits()) == (
            stride,
            alone,
            alone,
        )
    with pytest.raises(ModelError, match="for a 64x64 image a tensor of 1x3x16x16 and"):
        load("python:nets:Returning", input_size=(64, 96), **given)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("python:nets", "python:nets does not name a module and a factory"),
        ("python:.nets:Net", "does not name a module and a factory"),
        ("python::Net", "does not name a module and a factory"),
        ("python:nets:", "does not name a module and a factory"),
        ("python:nowhere.nets:Net", "there is no module nowhere, in the current folder or installed"),
        ("python:nets.deeper:Net", "there is no module nets.deeper, in the current folder or installed"),
        ("python:no/such.py:Net", "there is no file no/such.py"),
        ("python:nets:Nett", "nets has no 'Nett'; did you mean 'Net'?"),
        ("python:nets:number", "nets:number is no function or class, but of type int"),
        ("python:nets:made", "nets:made is no function or class, but of type Net"),
        ("python:nets:Returning", "missing a required argument: 'what'"),
    ],
)
def test_a_location_that_is_wrong_is_one_line(here, location, message):
    with pytest.raises(UsageError) as caught:
        load(location)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("python:nets:nothing", "python:nets:nothing returned no torch.nn.Module, but the type dict"),
        ("python:nets:failing", "python:nets:failing cannot make its network: ValueError: two"),
        ("python:nets:leaving", "python:nets:leaving cannot make its network: SystemExit: 3, in line "),
        ("python:nets:stopping", "python:nets:stopping cannot make its network: Stop: enough, in line "),
        ("python:nets:endless", "cannot make its network: RecursionError: maximum recursion depth exceeded"),
        ("python:nets:half", "the weights of the network are float16, and float32 is expected"),
        ("python:nets:Fixed", "takes no image of 64x64, 128x128, 256x256, 512x512: AssertionError: one size"),
    ],
)
def test_code_that_fails_is_one_line_with_its_cause(here, location, message):
    with pytest.raises(ModelError) as caught:
        load(location)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_that_ends_the_process_is_an_error(here):
    with pytest.raises(PluginError, match="load_model python was ended by SystemExit: 0"):
        load("python:nets:Quits")


@pytest.mark.parametrize(("made", "given"), [(4, 3), (3, 4), (3, 1000), (1, 2)])
def test_a_network_of_another_number_of_channels(here, made, given):
    with pytest.raises(ModelError) as caught:
        load(cfg_options={"channels": made}, in_channels=given)
    assert caught.value.message == f"in_channels is {given}, and the network takes {made}"
    assert caught.value.hint == f"--in-channels {made}"


def test_images_that_do_not_fit_into_memory(here):
    with pytest.raises(DeviceError, match="not enough memory on cpu for a 64x64 image"):
        load(in_channels=9_000_000_000)


def test_a_module_that_cannot_be_imported_is_one_line(here):
    (here / "broken.py").write_text("import not_installed_anywhere\n")
    for location in ("python:broken:build", "python:broken.py:build"):
        with pytest.raises(ModelError, match="ModuleNotFoundError: No module named 'not_installed_anywhere'"):
            load(location)


@pytest.mark.parametrize(
    ("what", "came"),
    [
        ("dict", "a dict with the keys 'out', 'aux'"),
        ("tuple", "a tuple of 2"),
        ("none", "a NoneType"),
        ("larger", "a tensor of 1x3x128x64"),
        ("wide", "a tensor of 1x3x32x64"),
        ("one size", "a tensor of 1x3x16x16 and for a 64x128 image a tensor of 1x3x16x16"),
        ("one answer", "a tensor of 1x3x1x1 and for a 64x128 image a tensor of 1x3x1x1"),
        ("flat", "a tensor of 1x3x4096"),
        ("labels", "int64 values"),
        ("half", "float16 values"),
    ],
)
def test_a_network_that_returns_something_else(here, what, came):
    with pytest.raises(ModelError) as caught:
        load("python:nets:Returning", cfg_options={"what": what})
    assert str(caught.value).startswith(
        f"the network returned for a 64x64 image {came}, not float32 scores (N, classes, h, w), h and w the"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}, "mean=123.675,116.28,103.53"),
        ({"std": (1, 0, 1)}, "std must be above 0"),
        ({"std": (1, float("nan"), 1)}, "'std' must be a finite number, not nan"),
        ({"mean": (float("inf"), 0, 0)}, "'mean' must be a finite number, not inf"),
        ({"mean": (1, 2)}, "mean has 2 values, and the network takes 3 channels"),
        ({"decoding": "grayscale"}, "decoding 'grayscale' gives 1 channel"),
        ({"decoding": "bands", "channel_order": "bgr"}, "'bands' keeps the order of the file"),
        ({"in_channels": 0}, "'in_channels' must be within 1"),
        ({"scores": "labels"}, "'scores' must be one of logits, probabilities"),
        ({"resize_algorithm": "pillow"}, "resize_algorithm says how images are resized (add resize"),
        ({"resize_filter": "area"}, "resize_filter says how images are resized (add resize"),
        ({"resize": (8, 8), "resize_filter": "box"}, "the resize of opencv has no filter 'box'"),
        ({"classes": "sky,road,sky"}, "two classes have the name 'sky'"),
        ({"stride": (8, 8)}, "add crop_size"),
        ({"crop_size": (32, 32), "stride": (64, 64)}, "stride is larger than crop_size"),
        ({"crop_size": (32, 32), "input_size": (64, 64)}, "leave out input_size"),
        ({"keep_ratio": True}, "add resize"),
        ({"threshold": 0.5}, "threshold is for a network with one channel, and this one has 3"),
        ({"threshold": 0.5}, "if each class has a sigmoid of its own, add multilabel"),
        ({"multilabel": True, "reduce_zero_label": True}, "reduce_zero_label is for one label at each pixel"),
        ({"classes": "no-such-file.txt"}, "no-such-file.txt cannot be read"),
        ({"clases": "a,b"}, "did you mean 'classes'"),
    ],
)
def test_options_that_contradict_each_other(here, options, message):
    with pytest.raises(UsageError) as caught:
        load(**options)
    assert message in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("name", ["nets.py", "names.txt"])
def test_an_output_never_replaces_what_the_model_was_read_from(here, name):
    pytest.importorskip("segplug_onnx")
    (here / "names.txt").write_text("sky\nroad\ncar\n")
    before = (here / name).read_bytes()
    model = load(classes="names.txt", input_size=(32, 32))
    with pytest.raises(UsageError, match=f"{name} is an input"):
        Segplug().export("onnx", model, output=name, force=True)
    assert (here / name).read_bytes() == before


def test_another_number_of_classes(here):
    with pytest.raises(ModelError, match="2 classes are named, and the network's scores have 3 channels"):
        load(classes="sky,road")


def test_what_loads_it_again_holds_the_options(here):
    arguments = load(classes="sky,road,car", cfg_options={"width": 4}).load_arguments
    assert arguments is not None
    assert (arguments.config, arguments.options) == ("python:nets:Net", {"classes": "sky,road,car"})
    assert arguments.cfg_options == {"width": 4}


def test_a_server_is_given_an_exported_file_instead(here, tmp_path):
    pytest.importorskip("segplug_torchserve")
    torch.save(load().module.state_dict(), "w.pth")
    model = load(checkpoint="w.pth")
    with pytest.raises(UsageError, match="python:nets:Net cannot be packed") as caught:
        Segplug().pack("torchserve", model, folder=tmp_path / "store", model_name="net")
    assert "segplug export onnx" in caught.value.hint


def test_segplug_without_this_plugin_says_what_to_install(here, monkeypatch):
    monkeypatch.setattr("segplug.registry.registry.entries", lambda hook: ())
    with pytest.raises(UsageError, match="infer pytorch, which runs the model itself, is not") as caught:
        Segplug().registry.provider("infer", "pytorch")
    assert caught.value.hint == "pip install segplug-torch"
