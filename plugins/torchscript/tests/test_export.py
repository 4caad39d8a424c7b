"""``export torchscript`` and ``export torch-export``: what is written, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from segplug_torchscript.export_program import provider as program
from segplug_torchscript.export_torchscript import provider as torchscript
from torchscript_support.networks import (
    SUFFIXES,
    ByValue,
    ForSymbols,
    Frozen,
    Halving,
    OneSize,
    Strided,
    images,
    logits_of,
    make_model,
    open_engine,
)

from segplug import Segplug
from segplug.artifact import file_sha256
from segplug.cli.root import run_command_line
from segplug.engine import Axis
from segplug.errors import ModelError, ShapeError, UsageError
from segplug.model import META_ENTRY, Inference, InputLimits
from segplug.progress import QuietReporter

PROVIDERS = {"torchscript": torchscript, "torch-export": program}


def everything_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


class Notes(QuietReporter):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def test_a_file_of_one_size(fixed, tiny, target):
    spec = open_engine(fixed).spec
    assert (spec.batch, spec.height, spec.width) == (Axis.fixed(1), Axis.fixed(32), Axis.fixed(48))
    assert spec.meta == fixed.meta
    assert fixed.meta.extra[target]["tried"] == ["1x32x48"]
    assert {"segplug", "segplug-torchscript", "torch"} <= set(fixed.meta.versions)
    batch = images(1, 32, 48)
    assert np.array_equal(open_engine(fixed).run(batch), logits_of(tiny, batch))


@pytest.mark.parametrize("size", [(2, 32, 48), (1, 50, 33), (3, 7, 64)])
def test_a_file_of_every_size(dynamic, tiny, target, size):
    engine = open_engine(dynamic)
    assert engine.spec.batch == Axis()
    assert engine.spec.height.maximum is None
    assert dynamic.meta.extra[target]["tried"] == ["1x32x48", "1x43x59", "3x25x25"]
    batch = images(*size)
    np.testing.assert_allclose(engine.run(batch), logits_of(tiny, batch), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_images_of_any_number_of_channels(export, target, channels):
    model = make_model(in_channels=channels)
    batch = images(1, 32, 48, channels)
    assert np.array_equal(open_engine(export(target, model)).run(batch), logits_of(model, batch))
    engine = open_engine(export(target, model, dynamic=True))
    for size in ((2, 32, 48), (1, 50, 33)):
        batch = images(*size, channels)
        np.testing.assert_allclose(engine.run(batch), logits_of(model, batch), atol=1e-6)
    with pytest.raises(ShapeError, match=f"its number of channels is {channels}"):
        engine.run(images(1, 32, 48, channels + 1))


def test_probabilities_at_a_stride(export, target):
    kind = {"output_stride": 4, "scores": "probabilities", "activation": "sigmoid", "threshold": 0.6}
    model = make_model(Strided(2), in_channels=2, out_channels=1, classes=("fire",), **kind)
    artifact = export(target, model, dynamic=True, verify=True)
    assert artifact.meta.verification["passed"]
    assert (artifact.meta.output_stride, artifact.meta.scores) == (4, "probabilities")
    for size in ((1, 32, 48), (2, 45, 33)):
        batch = images(*size, 2)
        found = open_engine(artifact).run(batch)
        assert found.shape[2:] == (-(-size[1] // 4), -(-size[2] // 4))
        np.testing.assert_allclose(found, logits_of(model, batch), atol=1e-6)


@pytest.mark.parametrize("dynamic", [False, True])
def test_scores_of_one_size(export, target, dynamic):
    model = make_model(OneSize(), output_size=(40, 56))
    artifact = export(target, model, dynamic=dynamic, verify=True)
    assert artifact.meta.verification["passed"]
    batch_axis = "batch" if dynamic else "1"
    (output,) = PROVIDERS[target].describe(artifact.path).outputs
    assert output.shape == f"{batch_axis} x 3 x 40 x 56"
    for size in ((1, 32, 48), (2, 45, 33)) if dynamic else ((1, 32, 48),):
        batch = images(*size)
        np.testing.assert_allclose(open_engine(artifact).run(batch), logits_of(model, batch), atol=1e-6)


def test_the_network_is_not_changed(export, tiny, target):
    before = {name: tensor.clone() for name, tensor in tiny.module.state_dict().items()}
    export(target, tiny, dynamic=True)
    for name, tensor in tiny.module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not tiny.module.training


def test_optimised_is_smaller_and_equal(export, tiny):
    plain, optimised = (export("torchscript", tiny, dynamic=True, optimize=value) for value in (False, True))
    assert optimised.meta.extra["torchscript"]["optimized"]
    with zipfile.ZipFile(optimised.path) as archive:
        code = [archive.read(name) for name in archive.namelist() if "/code/" in name]
    assert not any(b"batch_norm" in text for text in code)
    for size in ((1, 32, 48), (2, 41, 35)):
        batch = images(*size)
        np.testing.assert_allclose(
            open_engine(optimised).run(batch), open_engine(plain).run(batch), atol=1e-5
        )


def test_a_size_that_the_trace_freezes_is_an_error(export, tmp_path):
    with pytest.raises(
        ModelError,
        match=r"the traced network (fails|differs from the original) at 1x43x59|at 1x43x59 the traced",
    ) as caught:
        export("torchscript", make_model(Frozen()), tmp_path / "m.pt", dynamic=True)
    assert "--shape without --dynamic" in caught.value.hint
    assert "export torch-export --dynamic" in caught.value.hint
    assert everything_in(tmp_path) == []
    older = export("torchscript", make_model(Frozen()), tmp_path / "m.pt")
    with pytest.raises(ModelError):
        export("torchscript", make_model(Frozen()), tmp_path / "m.pt", dynamic=True, force=True)
    assert everything_in(tmp_path) == ["m.pt"]
    assert file_sha256(older.path) == older.sha256


def test_a_choice_that_no_graph_holds_is_an_error(export, tmp_path):
    with pytest.raises(ModelError, match="the traced network differs from the original at 1x32x48"):
        export("torchscript", make_model(Alternating()), tmp_path / "m.pt")
    with pytest.raises(ModelError, match="cannot follow the network"):
        export("torch-export", make_model(ByValue()), tmp_path / "m.pt2")
    assert everything_in(tmp_path) == []


class Alternating(torch.nn.Module):
    """Computes something else every other time."""

    calls = 0

    def forward(self, images):
        self.calls += 1
        return images * 2 if self.calls % 2 else images - 5


def test_what_cannot_be_traced_is_one_line(export, tmp_path):
    class Untraceable(torch.nn.Module):
        def forward(self, images):
            if torch.jit.is_tracing():
                raise AssertionError("sizes must be numbers\nat some place")
            return images

    with pytest.raises(ModelError, match=r"cannot be traced: sizes must be numbers") as caught:
        export("torchscript", make_model(Untraceable()), tmp_path / "m.pt")
    assert "torch-export" in caught.value.hint
    assert everything_in(tmp_path) == []


def test_what_is_written_for_symbols_is_followed_by_a_trace(export):
    model = make_model(ForSymbols())
    engine = open_engine(export("torchscript", model, dynamic=True))
    for size in ((1, 17, 60), (2, 64, 9)):
        batch = images(*size)
        np.testing.assert_allclose(engine.run(batch), logits_of(model, batch), atol=1e-4)


def test_multiples(export, target):
    model = make_model(Halving(), limits=InputLimits((4, 4), 4))
    artifact = export(target, model, dynamic=True)
    spec = open_engine(artifact).spec
    assert (spec.height.multiple_of, spec.width.multiple_of) == (4, 4)
    assert artifact.meta.extra[target]["tried"] == ["1x32x48", "1x40x56", "3x24x24"]
    batch = images(2, 44, 20)
    np.testing.assert_allclose(open_engine(artifact).run(batch), logits_of(model, batch), atol=1e-6)
    with pytest.raises(ShapeError, match="in steps of 4"):
        open_engine(artifact).run(images(1, 42, 20))


def test_a_network_of_one_size_has_a_free_batch(export, tiny, target):
    model = make_model(tiny.module, limits=InputLimits((32, 48), 1, (32, 48)))
    artifact = export(target, model, dynamic=True)
    spec = open_engine(artifact).spec
    assert (spec.batch, spec.height, spec.width) == (Axis(), Axis.fixed(32), Axis.fixed(48))
    assert artifact.meta.extra[target]["tried"] == ["1x32x48", "3x32x48"]


def test_a_sliding_window_is_the_size(export, target):
    window = Inference(mode="slide", crop_size=(24, 40), stride=(16, 30))
    artifact = export(target, make_model(inference=window))
    assert artifact.meta.input_size == (24, 40)
    assert open_engine(artifact).run(images(1, 24, 40)).shape == (1, 4, 24, 40)


def test_a_program_says_from_which_size_it_takes(export):
    """torch.export takes a map of one row for something else, and so asks for an input of a few more."""

    class Pooled(torch.nn.Module):
        def forward(self, images):
            small = images[:, :, ::8, ::8]
            rows = torch.arange(small.shape[2], dtype=images.dtype)
            mixed = torch.ones(small.shape[2], small.shape[2]) @ (small + rows[:, None])
            return torch.nn.functional.interpolate(mixed, size=images.shape[2:])

    model = make_model(Pooled(), limits=InputLimits((1, 1)), input_size=(64, 96))
    artifact = export("torch-export", model, dynamic=True)
    low, _ = artifact.meta.input_limits.minimum
    assert low > 1
    spec = open_engine(artifact).spec
    assert spec.height.minimum == low
    batch = images(1, low, low)
    np.testing.assert_allclose(open_engine(artifact).run(batch), logits_of(model, batch), atol=1e-4)


def test_the_files_hold_no_path_of_their_maker(fixed, dynamic):
    for artifact in (fixed, dynamic):
        with zipfile.ZipFile(artifact.path) as archive:
            texts = [archive.read(name) for name in archive.namelist()]
            assert not any(name.endswith(".debug_pkl") for name in archive.namelist())
        assert not any(b"networks.py" in text or b"site-packages" in text for text in texts)


def test_metadata_lies_where_pytorch_finds_it(fixed, target):
    extra = {META_ENTRY: ""}
    if target == "torchscript":
        torch.jit.load(str(fixed.path), _extra_files=extra)
    else:
        torch.export.load(str(fixed.path), extra_files=extra)
    text = extra[META_ENTRY]
    assert (text.decode() if isinstance(text, bytes) else text) == fixed.meta.to_json()


def test_two_exports_say_the_same(export, dynamic, tiny, target):
    assert export(target, tiny, dynamic=True).meta == dynamic.meta


def test_show(export, tiny, target):
    reporter = Notes()
    export(target, tiny, show=True, reporter=reporter)
    (text,) = reporter.notes
    for operator in ("conv", "batch_norm", "upsample"):
        assert operator in text
    assert ".py" not in text


def test_nothing_is_said_on_the_terminal(export, tiny, target, capfd):
    open_engine(export(target, tiny, dynamic=True)).run(images(1, 33, 40))
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_a_verified_file_replaces_an_older_one(export, tiny, target, tmp_path):
    path = tmp_path / f"m{SUFFIXES[target]}"
    path.write_bytes(b"older")
    artifact = export(target, tiny, path, dynamic=True, force=True, verify=True)
    assert artifact.meta.verification["passed"]
    assert Segplug().read_meta(path) == artifact.meta
    assert (artifact.path, artifact.files) == (path, (path.name,))
    assert (artifact.size, artifact.sha256) == (path.stat().st_size, file_sha256(path))
    assert everything_in(tmp_path) == [path.name]


def test_the_flag_of_the_older_tool_is_understood(target, capsys):
    assert run_command_line(["run", "export", target, "--help"]) == 0
    assert "--output-file" in capsys.readouterr().out


def test_what_is_refused(export, tiny, target, tmp_path):
    own = f"m{SUFFIXES[target]}"
    with pytest.raises(UsageError, match="makes fp32 artifacts, not fp16"):
        export(target, tiny, precision="fp16")
    with pytest.raises(ShapeError, match="cannot take 2x2"):
        export(target, make_model(torch.nn.Conv2d(3, 3, 5)), tmp_path / own, shape=(2, 2))
    for suffix in {*SUFFIXES.values(), ".pth", ".ts", ".onnx", ""} - {SUFFIXES[target]}:
        with pytest.raises(UsageError, match=rf"does not end in \{SUFFIXES[target]}$"):
            export(target, tiny, tmp_path / f"m{suffix}")
    assert everything_in(tmp_path) == []


FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, sys.argv[3])
from torchscript_support.networks import make_model
from segplug import Segplug
from segplug.errors import ArtifactError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for room in (1000, 7000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        Segplug().export(sys.argv[1], make_model(), output=sys.argv[2])
    except ArtifactError as error:
        print("refused:", error)
"""


def test_a_full_disk_leaves_nothing(target, tmp_path):
    path = tmp_path / f"m{SUFFIXES[target]}"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, target, str(path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
    )
    assert done.stdout.count(f"refused: cannot write {path}: ") == 2, done.stderr
    assert everything_in(tmp_path) == []


def test_a_folder_that_is_not_there_is_made(export, tiny, target, tmp_path):
    made = export(target, tiny, tmp_path / "new" / "deep" / f"m{SUFFIXES[target]}")
    assert everything_in(tmp_path / "new" / "deep") == [made.path.name]
