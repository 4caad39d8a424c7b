"""``infer torchscript`` and ``infer torch-export``: segplug's own files, devices, and errors."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from segplug_torchscript import export_program, export_torchscript, infer_torchscript, jit
from segplug_torchscript.infer_program import provider as programs
from torch._inductor import config as inductor_config
from torchscript_support.networks import (
    SUFFIXES,
    Strided,
    images,
    logits_of,
    make_model,
    open_engine,
    open_file,
)

from segplug import Segplug
from segplug.errors import ArtifactError, DeviceError, ShapeError, UsageError
from segplug.model import META_ENTRY
from segplug.requests import InferRequest
from segplug.testing import EngineConformance, make_request

EXPORTERS = {"torchscript": export_torchscript.provider, "torch-export": export_program.provider}


class TestFixed(EngineConformance):
    @pytest.fixture
    def engine(self, fixed):
        return open_engine(fixed)


class TestDynamic(EngineConformance):
    @pytest.fixture
    def engine(self, dynamic):
        return open_engine(dynamic)


class TestOptimised(EngineConformance):
    @pytest.fixture
    def engine(self, export, tiny):
        return open_engine(export("torchscript", tiny, dynamic=True, optimize=True))


class TestStrided(EngineConformance):
    @pytest.fixture
    def engine(self, export, target):
        changes = {"in_channels": 2, "out_channels": 1, "classes": ("fire",), "output_stride": 4}
        return open_engine(export(target, make_model(Strided(2), **changes), dynamic=True))


def test_threads_are_put_back(fixed):
    before = torch.get_num_threads()
    engine = open_engine(fixed, threads=before + 1)
    assert torch.get_num_threads() == before + 1
    engine.close()
    assert torch.get_num_threads() == before


def test_an_engine_leaves_the_threads_of_another(fixed):
    other = open_engine(fixed)
    with_threads = open_engine(fixed, threads=torch.get_num_threads() + 1)
    other.close()
    assert torch.get_num_threads() == 2
    with_threads.close()
    assert torch.get_num_threads() == 1


def test_sizes_that_a_file_does_not_take(fixed):
    engine = open_engine(fixed)
    for shape in ((2, 3, 32, 48), (1, 3, 32, 32), (1, 3, 64, 96)):
        with pytest.raises(ShapeError, match="takes batches of 1, heights of 32 and widths of 48"):
            engine.run(np.zeros(shape, np.float32))


def test_what_the_network_cannot_take(dynamic):
    with pytest.raises(ShapeError, match="of 1x4x32x32: its number of channels is 3"):
        open_engine(dynamic).run(np.zeros((1, 4, 32, 32), np.float32))


class Reflecting(torch.nn.Module):
    """Needs more than 40 pixels."""

    def forward(self, x):
        return torch.nn.functional.pad(x, (40,) * 4, "reflect")[..., 40:-40, 40:-40]


def test_an_error_of_the_network_is_one_line(export, target):
    artifact = export(target, make_model(Reflecting()), shape=(64, 96), dynamic=True)
    with pytest.raises(ShapeError, match="cannot take an input of 1x3x32x32") as caught:
        open_engine(artifact).run(np.zeros((1, 3, 32, 32), np.float32))
    assert "\n" not in str(caught.value)
    assert "site-packages" not in str(caught.value)


def test_a_closed_engine_does_not_run(fixed):
    engine = open_engine(fixed)
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.run(images(1, 32, 48))


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta", ""])
def test_what_is_no_device(fixed, device):
    with pytest.raises(UsageError, match=r"is no device|device is empty"):
        open_engine(fixed, device=device)


def test_a_device_that_is_not_there(fixed):
    with pytest.raises(DeviceError, match="there is no device cuda:99"):
        open_engine(fixed, device="cuda:99")
    for provider in (programs, infer_torchscript.provider):
        with pytest.raises(DeviceError, match="there is no device cuda:99"):
            provider.check_device("cuda:99")
        provider.check_device("cpu")


@pytest.mark.gpu
def test_on_a_gpu(export, tiny, target):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    batch = images(2, 40, 56)
    artifact = export(target, tiny, dynamic=True)
    actual = open_engine(artifact, device="cuda").run(batch)
    np.testing.assert_allclose(actual, logits_of(tiny, batch), atol=1e-2)


def test_a_graph_makes_its_tensors_where_it_runs():
    """PyTorch moves weights to another device, and leaves the names of devices in the graph."""

    class Positions(torch.nn.Module):
        def forward(self, x):
            return x + torch.arange(x.shape[-1], device=x.device)

    left, moved = (torch.jit.trace(Positions(), torch.zeros(1, 4), check_trace=False) for _ in range(2))
    with pytest.raises(RuntimeError, match="device"):
        left(torch.zeros(2, 8, device="meta"))
    jit.move_constants(moved, torch.device("meta"))
    assert moved(torch.zeros(2, 8, device="meta")).device.type == "meta"


def test_metadata_is_replaced_and_nothing_else(fixed, target, tmp_path):
    path = tmp_path / "m.pt2"
    path.write_bytes(fixed.path.read_bytes())
    changed = fixed.meta.replace(verification={"passed": True, "note": "x" * 5000})
    EXPORTERS[target].write_meta(path, changed)
    assert EXPORTERS[target].read_meta(path) == changed
    with zipfile.ZipFile(fixed.path) as old, zipfile.ZipFile(path) as new:
        assert new.testzip() is None
        assert sorted(old.namelist()) == sorted(new.namelist())
        for name in old.namelist():
            assert (old.read(name) == new.read(name)) == (META_ENTRY not in name)
        weights = [info for info in new.infolist() if info.file_size >= 64 and info.compress_type == 0]
        with open(path, "rb") as file:
            for info in weights:
                file.seek(info.header_offset + 26)
                lengths = np.frombuffer(file.read(4), "<u2")
                assert (info.header_offset + 30 + lengths.sum()) % 64 == 0
    engine = open_file(path, target)
    assert engine.spec.meta == changed
    batch = images(1, 32, 48)
    assert np.array_equal(engine.run(batch), open_engine(fixed).run(batch))
    assert [item.name for item in tmp_path.iterdir()] == ["m.pt2"]


def test_metadata_of_a_damaged_file_is_not_replaced(fixed, target, tmp_path):
    path = tmp_path / "m.pt2"
    half = fixed.path.read_bytes()[: fixed.size // 2]
    path.write_bytes(half)
    with pytest.raises(ArtifactError, match="damaged"):
        EXPORTERS[target].write_meta(path, fixed.meta)
    assert path.read_bytes() == half


def test_the_session_reads_the_metadata_inside_a_file(fixed):
    assert Segplug().read_meta(fixed.path) == fixed.meta


def test_a_file_of_another_maker_has_no_metadata(tiny, fixed, target, tmp_path):
    path = tmp_path / f"m{SUFFIXES[target]}"
    torch.save(tiny.module.state_dict(), path)
    assert Segplug().read_meta(path) is None
    torch.jit.save(torch.jit.trace(tiny.module, torch.zeros(1, 3, 32, 48)), str(path))
    assert Segplug().read_meta(path) is None
    others = [exporter for name, exporter in EXPORTERS.items() if name != target]
    assert [exporter.read_meta(fixed.path) for exporter in others] == [None]
    path.write_bytes(fixed.path.read_bytes()[: fixed.size // 2])
    with pytest.raises(ArtifactError, match="damaged"):
        Segplug().read_meta(path)


def _flipped(content):
    middle = content.index(b"data/") + 2000
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "is empty"),
        (lambda content: b"not at all", "is no file of PyTorch's, or is damaged"),
        (lambda content: content[: len(content) // 2], "is no file of PyTorch's, or is damaged"),
        (_flipped, r"is (no file of PyTorch's, or is )?damaged"),
    ],
    ids=["empty", "text", "cut", "flipped"],
)
def test_what_is_no_whole_file(fixed, target, tmp_path, change, message):
    path = tmp_path / "m.pt2"
    path.write_bytes(change(fixed.path.read_bytes()))
    with pytest.raises(ArtifactError, match=message):
        open_file(path, target)


def test_files_of_others(tiny, fixed, target, tmp_path):
    path = tmp_path / "m.pt2"
    with pytest.raises(UsageError, match="there is no file"):
        open_file(path, target)
    torch.save(tiny.module.state_dict(), path)
    with pytest.raises(ArtifactError, match="a file of weights without a network") as caught:
        open_file(path, target)
    assert f"export {target} makes one" in caught.value.hint
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "hello")
    with pytest.raises(ArtifactError, match="a zip file of another kind"):
        open_file(path, target)
    other = {"torchscript": "torch-export", "torch-export": "torchscript"}[target]
    with pytest.raises(ArtifactError) as caught:
        open_file(fixed.path, other)
    assert f"infer {target} opens it" in caught.value.hint


def test_a_file_with_a_password(fixed, target, tmp_path):
    path = tmp_path / "m.pt2"
    content = bytearray(fixed.path.read_bytes())
    with zipfile.ZipFile(fixed.path) as archive:
        entry = content.index(b"PK\x01\x02", archive.start_dir)
    content[entry + 8] |= 1  # the flag of the listing's first entry
    path.write_bytes(content)
    exporter = EXPORTERS[target]
    for use in (lambda: open_file(path, target), lambda: exporter.write_meta(path, fixed.meta)):
        with pytest.raises(ArtifactError, match="is encrypted"):
            use()
    assert path.read_bytes() == content


def test_a_file_without_metadata(tiny, tmp_path):
    path = tmp_path / "m.pt"
    torch.jit.save(torch.jit.trace(tiny.module, torch.zeros(1, 3, 32, 48)), str(path))
    with pytest.raises(ArtifactError, match="segplug did not write it") as caught:
        open_file(path, "torchscript")
    assert f"segplug infer pytorch {path} --mean" in caught.value.hint


def test_metadata_that_is_damaged(fixed, target, tmp_path):
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(fixed.path) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"{" if META_ENTRY in name else old.read(name))
    for read in (lambda: open_file(path, target), lambda: EXPORTERS[target].read_meta(path)):
        with pytest.raises(ArtifactError, match=r"m\.pt2: .*no JSON"):
            read()


ELSEWHERE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mmseg", "mmcv", "segplug_mmseg", "cv2"):
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Blocked())
import numpy as np
path, target, logits = sys.argv[1:]
from segplug import Segplug
batch = np.random.default_rng(7).normal(size=(1, 3, 32, 48)).astype(np.float32)
expected = np.load(logits)
with Segplug().open(path, backend=target, threads=1) as engine:
    assert np.array_equal(engine.run(batch), expected)
import torch
opened = torch.jit.load(path) if target == "torchscript" else torch.export.load(path).module()
with torch.no_grad():
    assert np.array_equal(opened(torch.from_numpy(batch)).numpy(), expected)
print("the same")
"""


def test_it_runs_where_mmseg_is_not_installed(fixed, tiny, target, tmp_path):
    logits = tmp_path / "logits.npy"
    np.save(logits, logits_of(tiny, images(1, 32, 48)))
    command = [sys.executable, "-W", "ignore", "-c", ELSEWHERE, str(fixed.path), target, str(logits)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "the same\n", done.stderr


@pytest.mark.slow
def test_a_compiled_package(export, tiny, capfd):
    # Not asked whether the compiler builds code for this processor: to find out takes as long as a kernel.
    with inductor_config.patch({"cpp.vec_isa_ok": True}):
        artifact = export("torch-export", tiny, dynamic=True, aot=True)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    engine = open_engine(artifact, trust_artifact=True)
    assert engine.spec.backend.startswith("torch-export compiled")
    for size in ((1, 32, 48), (3, 21, 60)):
        batch = images(*size)
        np.testing.assert_allclose(engine.run(batch), logits_of(tiny, batch), atol=1e-5)
    engine.close()
    changed = artifact.meta.replace(verification={"passed": True})
    export_program.provider.write_meta(artifact.path, changed)
    assert open_engine(artifact, trust_artifact=True).spec.meta == changed
    own = artifact.meta.extra["torch-export"]
    for key, value, words in (
        ("processor", "other", "compiled for the processor other"),
        ("device", "cuda", "compiled for the device cuda"),
        ("capability", "AVX512", "compiled for CPUs with AVX512"),
    ):
        if key == "capability" and torch.backends.cpu.get_cpu_capability() == value:
            continue
        elsewhere = {**own, "machine": {**own["machine"], key: value}}
        export_program.provider.write_meta(artifact.path, changed.replace(extra={"torch-export": elsewhere}))
        with pytest.raises(DeviceError, match=words):
            open_engine(artifact, trust_artifact=True)


def test_without_a_compiler(export, tiny, tmp_path, monkeypatch):
    from torch._inductor import cpp_builder

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", lambda: (_ for _ in ()).throw(RuntimeError("none")))
    from segplug.errors import MissingDependencyError

    with pytest.raises(MissingDependencyError, match="needs a C\\+\\+ compiler") as caught:
        export("torch-export", tiny, tmp_path / "m.pt2", aot=True)
    assert "leave out --aot" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_model_is_no_file(tiny):
    with pytest.raises(UsageError, match="takes an artifact, not tiny"):
        programs.infer(make_request(InferRequest, model=tiny))
