"""The contents of an archive, what is refused, and that no incomplete archive is left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from segplug_onnx.engine import OnnxRuntime
from segplug_torchserve.archive import HANDLER
from torchserve_support.packing import CONFIG, WEIGHTS, served_of, unpacked

from segplug.api import Segplug
from segplug.errors import ArtifactError, UsageError
from segplug.model import ModelMeta


def pack(what, folder, **options):
    return Segplug().pack("torchserve", what, folder=folder, **options)


def listed(archive):
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_an_artifact_is_packed_with_what_opens_it(onnx_file, tmp_path):
    made = pack(onnx_file, tmp_path / "store", threads=2, batch_size=4, workers=3)
    assert made.path == tmp_path / "store" / "demo.mar"
    assert made.format == "torchserve"
    assert made.meta.name == "config"
    files = listed(made.path)
    manifest = json.loads(files["MAR-INF/MANIFEST.json"])["model"]
    assert manifest["modelName"] == "demo"
    assert manifest["modelVersion"] == "1.0"
    assert manifest["handler"] == HANDLER
    assert manifest["handler"] in files
    assert files["model/demo.onnx"] == onnx_file.read_bytes()
    config = dict(line.split(": ") for line in files[manifest["configFile"]].decode().splitlines())
    assert (config["batchSize"], config["minWorkers"], config["maxWorkers"]) == ("4", "3", "3")
    served = served_of(made.path)
    assert (served["backend"], served["threads"], served["batch_size"]) == ("onnxruntime", 2, 4)
    needed = files["segplug-requirements.txt"].decode()
    assert "onnxruntime==" in needed
    assert "torch" not in needed


def test_the_metadata_of_an_archive_is_read(onnx_file, tmp_path):
    made = pack(onnx_file, tmp_path / "store")
    assert Segplug().read_meta(made.path) == made.meta.public()
    foreign = tmp_path / "foreign.mar"
    with zipfile.ZipFile(foreign, "w") as file:
        file.writestr("MAR-INF/MANIFEST.json", "{}")
    assert Segplug().read_meta(foreign) is None
    with zipfile.ZipFile(foreign, "a") as file:
        file.writestr("segplug-meta.json", "{")
    with pytest.raises(ArtifactError, match=r"foreign\.mar: "):
        Segplug().read_meta(foreign)
    foreign.write_bytes(made.path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"foreign\.mar cannot be read"):
        Segplug().read_meta(foreign)


def test_a_config_is_packed_in_full_with_its_weights(model, tmp_path):
    made = pack(model, tmp_path, model_name="plain", model_version="3")
    files = listed(made.path)
    assert files["model/weights.pth"] == WEIGHTS.read_bytes()
    text = files["model/config.py"].decode()
    assert "_base_" not in text
    assert "(256, 128)" in text, "--cfg-options went into the config"
    assert json.loads(files["MAR-INF/MANIFEST.json"])["model"]["modelVersion"] == "3"
    needed = files["segplug-requirements.txt"].decode()
    for name in ("segplug-mmseg", "mmsegmentation", "mmcv", "torch", "opencv-python"):
        assert f"{name}==" in needed
    assert "+" not in needed, "an index knows no local builds"


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_configs_in_json_and_yaml_are_packed(tmp_path, suffix):
    from mmcv import Config

    config = tmp_path / f"own{suffix}"
    Config.fromfile(str(CONFIG)).dump(str(config))
    made = pack(Segplug().load_model(config, checkpoint=WEIGHTS), tmp_path / "store")
    assert served_of(made.path)["config"] == "model/own.py"
    there = Segplug().load_model(unpacked(made.path, tmp_path / "there") / "model/own.py", checkpoint=WEIGHTS)
    here = Segplug().load_model(CONFIG, checkpoint=WEIGHTS)
    for name in ("classes", "palette", "inference", "decoding", "preprocessing"):
        assert getattr(there.meta, name) == getattr(here.meta, name)


def test_the_command_line_packs_both(onnx_file, tmp_path):
    def segplug(*words):
        command = [sys.executable, "-m", "segplug", "run", "export", "torchserve", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = segplug(CONFIG, "--checkpoint", WEIGHTS, "--output-folder", "store", "--model-name", "fcn")
    assert done.returncode == 0, done.stderr
    assert "segplug-torchserve[server]" in done.stderr + done.stdout
    done = segplug(onnx_file, "--output-folder", "store", "--backend-options", "threshold=0.5")
    assert done.returncode == 2
    again = segplug(onnx_file, "--output-folder", "store", "--model-name", "fcn")
    assert (again.returncode, "--force" in again.stderr) == (2, True)
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["fcn.mar"]


def test_weights_in_a_separate_file_are_packed(onnx_file, tmp_path):
    large = tmp_path / "large.onnx"
    onnx.save_model(
        onnx.load(onnx_file),
        large,
        save_as_external_data=True,
        location="large.onnx.data",
        size_threshold=1024,
    )
    made = pack(large, tmp_path / "store")
    assert listed(made.path)["model/large.onnx.data"] == (tmp_path / "large.onnx.data").read_bytes()
    (tmp_path / "large.onnx.data").unlink()
    with pytest.raises(ArtifactError, match=r"there is no file .*large\.onnx\.data"):
        pack(large, tmp_path / "store", force=True)
    assert served_of(made.path)["artifact"] == "model/large.onnx"
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["large.mar"]


def test_files_that_the_backend_names_are_packed(onnx_file, tmp_path, monkeypatch):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "one.bin").write_bytes(b"1")
    artifact = shutil.copy(onnx_file, tmp_path / "demo.onnx")
    named = lambda self, path: (path.parent / "tables",)  # noqa: E731
    monkeypatch.setattr(OnnxRuntime, "companions", named, raising=False)
    assert listed(pack(artifact, tmp_path / "store").path)["model/tables/one.bin"] == b"1"


@pytest.mark.parametrize("place", ["../beside.bin", "tables/../../beside.bin", "whole"])
def test_files_outside_the_artifacts_folder_are_refused(onnx_file, tmp_path, monkeypatch, place):
    home = tmp_path / "home"
    (home / "tables").mkdir(parents=True)
    outside = tmp_path / "beside.bin"
    outside.write_bytes(b"1")
    artifact = shutil.copy(onnx_file, home / "demo.onnx")
    named = lambda self, path: (outside if place == "whole" else path.parent / place,)  # noqa: E731
    monkeypatch.setattr(OnnxRuntime, "companions", named, raising=False)
    with pytest.raises(ArtifactError, match=r"demo\.onnx needs .*beside\.bin, which is outside") as caught:
        pack(artifact, tmp_path / "store")
    assert "one folder" in caught.value.hint
    assert not (tmp_path / "store").exists()


def test_a_companion_may_have_any_path_in_the_folder(onnx_file, tmp_path, monkeypatch):
    shutil.copy(onnx_file, tmp_path / "demo.onnx")
    (tmp_path / "one.bin").write_bytes(b"1")
    (tmp_path / "..two.bin").write_bytes(b"2")
    (tmp_path / "tables").mkdir()
    named = lambda self, path: (tmp_path / "one.bin", path.parent / "tables/../..two.bin")  # noqa: E731
    monkeypatch.setattr(OnnxRuntime, "companions", named, raising=False)
    monkeypatch.chdir(tmp_path)
    files = listed(pack(Path("demo.onnx"), Path("store")).path)
    assert (files["model/one.bin"], files["model/..two.bin"]) == (b"1", b"2")


def test_metadata_in_a_separate_file_is_packed(onnx_file, tmp_path):
    artifact = shutil.copy(onnx_file, tmp_path / "demo.onnx")
    sidecar = tmp_path / "demo.onnx.json"
    sidecar.write_text(ModelMeta("beside").to_json())
    assert listed(pack(artifact, tmp_path / "store").path)["model/demo.onnx.json"] == sidecar.read_bytes()


def test_file_names_with_commas_and_brackets_are_packed(onnx_file, tmp_path):
    odd = shutil.copy(onnx_file, tmp_path / "a, b [1]*.onnx")
    made = pack(odd, tmp_path / "store", model_name="odd")
    assert served_of(made.path)["artifact"] == "model/a, b [1]*.onnx"


def test_a_users_configuration_is_packed_unchanged(onnx_file, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("batchSize: 2\ndeviceType: cpu  # mine\n")
    files = listed(pack(onnx_file, tmp_path / "store", config_file=own).path)
    assert files["model-config.yaml"].decode() == own.read_text()
    with pytest.raises(UsageError, match="--workers"):
        pack(onnx_file, tmp_path / "store", config_file=own, workers=2, force=True)
    with pytest.raises(UsageError, match=r"gone\.yaml"):
        pack(onnx_file, tmp_path / "store", config_file=tmp_path / "gone.yaml", force=True)


def test_a_users_configuration_is_not_written_over(onnx_file, tmp_path):
    own = tmp_path / "demo.mar"
    own.write_text("batchSize: 2\n")
    with pytest.raises(UsageError, match=r"demo\.mar is an input"):
        pack(onnx_file, tmp_path, config_file=own, force=True)
    assert own.read_text() == "batchSize: 2\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("batchSize: [1", r"own\.yaml is not valid YAML: .* line 1"),
        ("batchSize: 2\n\tworkers: 3\n", r"own\.yaml is not valid YAML: "),
        ("- batchSize: 2\n", r"own\.yaml is not a model configuration"),
        ("batchSize=2\n", r"own\.yaml is not a model configuration"),
        ("", r"own\.yaml is not a model configuration"),
    ],
)
def test_a_configuration_that_torchserve_cannot_read_is_refused(onnx_file, tmp_path, content, words):
    own = tmp_path / "own.yaml"
    own.write_text(content)
    with pytest.raises(UsageError, match=words):
        pack(onnx_file, tmp_path / "store", config_file=own)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model_name": "über"}, "model name"),
        ({"model_name": "../up"}, "model name"),
        ({"model_name": "-x"}, "model name"),
        ({"model_version": "1/2"}, "model version"),
        ({"backend": "nothing"}, "nothing"),
        ({"backend": "pytorch"}, "pytorch"),
        ({"backend_options": {"no_such": "1"}}, "no_such"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_options_that_would_fail_on_the_server_are_refused(onnx_file, tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        pack(onnx_file, tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


def test_files_that_no_backend_opens_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not a model")
    with pytest.raises(UsageError, match="no installed backend"):
        pack(tmp_path / "notes.txt", tmp_path / "store")
    (tmp_path / "broken.onnx").write_text("not a model")
    with pytest.raises(ArtifactError):
        pack(tmp_path / "broken.onnx", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_model_that_a_server_cannot_load_is_refused(model, tmp_path):
    with pytest.raises(UsageError, match="in memory"):
        pack(replace(model, load_arguments=None), tmp_path, model_name="m")
    with pytest.raises(UsageError, match="--checkpoint"):
        pack(
            replace(model, load_arguments=replace(model.load_arguments, checkpoint=None)),
            tmp_path,
            model_name="m",
        )
    with pytest.raises(UsageError, match="export an artifact"):
        pack(model, tmp_path, model_name="m", backend="onnxruntime")
    assert list(tmp_path.iterdir()) == []


def test_a_config_is_served_with_the_approximations_that_it_was_packed_with(tmp_path):
    """Exactly, the server could not load it."""
    changed = {"data.test.pipeline.1.transforms.1.type": "CLAHE"}
    model = Segplug().load_model(CONFIG, checkpoint=WEIGHTS, cfg_options=changed, approximate=True)
    assert "CLAHE" in model.meta.approximations[0]
    made = pack(model, tmp_path, model_name="m")
    assert made.meta.approximations == model.meta.approximations


def test_a_failure_keeps_the_previous_archive(onnx_file, tmp_path, monkeypatch):
    made = pack(onnx_file, tmp_path)
    before = made.path.read_bytes()

    def fail(*_args, **_given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.writestr", fail)
    with pytest.raises(ArtifactError, match="No space left"):
        pack(onnx_file, tmp_path, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.mar"]
    assert made.path.read_bytes() == before


def test_an_error_names_the_users_path_of_a_damaged_artifact(onnx_file, tmp_path):
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(Path(onnx_file).read_bytes()[:-100])
    with pytest.raises(ArtifactError) as caught:
        pack(cut, tmp_path / "store")
    assert str(cut) in str(caught.value)
    assert "segplug-" not in str(caught.value)
    assert not (tmp_path / "store").exists()
