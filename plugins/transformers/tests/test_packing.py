"""A folder of transformers is packed for a server as it is: its files, and no others."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from segplug import Segplug
from segplug.errors import UsageError
from segplug.serving.served_model import SERVED_FILE, ServedModel, open_served_model

pytest.importorskip("segplug_torchserve")


@pytest.mark.parametrize("name", ["segformer", "oneformer"])
def test_a_packed_folder_gives_the_same_scores(name: str, zoo: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(zoo(name), tmp_path / "net"))
    (folder / "optimizer.pt").write_bytes(b"0" * 100)
    (folder / "README.md").write_text("---\ndatasets:\n- scene_parse_150\n---\n")  # it may decide the colours
    segplug = Segplug()
    model = segplug.load_model(folder)
    packed = segplug.pack("torchserve", model, folder=tmp_path / "models")
    with zipfile.ZipFile(packed.path) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "server")
    assert packed.path.name == "net.mar"
    assert {entry for entry in names if entry.startswith("model/")} == {
        f"model/net/{file}" for file in ("README.md", *(file.name for file in zoo(name).iterdir()))
    }
    served = ServedModel.from_json((tmp_path / "server" / SERVED_FILE).read_text())
    # On the server, auto may mean another one.
    assert served.source_options == {"processor": model.meta.extra["transformers"]["processor"]}
    batch = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    shutil.rmtree(folder)
    with (
        open_served_model(segplug, tmp_path / "server", served) as engine,
        segplug.open(model) as reference,
    ):
        assert engine.spec.meta.name == "net"
        np.testing.assert_array_equal(engine.run(batch), reference.run(batch))


def test_settings_that_are_not_in_the_folder(segformer: Path, tmp_path: Path) -> None:
    model = Segplug().load_model(segformer, cfg_options={"preprocessor.do_rescale": "false"})
    with pytest.raises(
        UsageError, match=r"cannot be packed with settings that are not in it \(--cfg-options"
    ):
        Segplug().pack("torchserve", model, folder=tmp_path / "models")


def test_other_weights_than_the_folder_s(segformer: Path, tmp_path: Path) -> None:
    (segformer / "model.safetensors").rename(tmp_path / "tuned.safetensors")
    model = Segplug().load_model(segformer, checkpoint=tmp_path / "tuned.safetensors")
    packed = Segplug().pack("torchserve", model, folder=tmp_path / "models")
    assert packed.path.name == "tuned.mar"
    with zipfile.ZipFile(packed.path) as archive:
        assert "model/tuned.safetensors" in archive.namelist()
        assert "model/segformer/config.json" in archive.namelist()


def test_weights_in_several_files_beside_the_folder(segformer: Path, tmp_path: Path) -> None:
    held = load_file(segformer / "model.safetensors")
    (segformer / "model.safetensors").unlink()
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    files = [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    parts = [{name: held[name] for name in sorted(held)[part::2]} for part in range(2)]
    for file, part in zip(files, parts, strict=True):
        save_file(part, tuned / file)
    index = {"weight_map": {name: file for file, part in zip(files, parts, strict=True) for name in part}}
    (tuned / "model.safetensors.index.json").write_text(json.dumps(index))
    model = Segplug().load_model(segformer, checkpoint=tuned / "model.safetensors.index.json")
    packed = Segplug().pack("torchserve", model, folder=tmp_path / "models", model_name="net")
    with zipfile.ZipFile(packed.path) as archive:
        assert {f"model/{file}" for file in (*files, "model.safetensors.index.json")} < {*archive.namelist()}


def test_other_weights_in_the_folder_are_packed_once(segformer: Path, tmp_path: Path) -> None:
    (segformer / "model.safetensors").rename(segformer / "model.fp16.safetensors")
    model = Segplug().load_model(segformer, checkpoint=segformer / "model.fp16.safetensors")
    packed = Segplug().pack("torchserve", model, folder=tmp_path / "models", model_name="net")
    with zipfile.ZipFile(packed.path) as archive:
        assert [name for name in archive.namelist() if name.endswith(".safetensors")] == [
            "model/segformer/model.fp16.safetensors"
        ]
