"""Which folders are models of transformers: their JSON is read, and nothing else reads or runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from segplug_transformers.provider import provider
from segplug_transformers.recognise import confidence

from segplug import Segplug
from segplug.errors import ModelError, UsageError
from segplug.providers import Confidence
from segplug.registry.registry import Registry

NO, POSSIBLE, LIKELY = Confidence.NO, Confidence.POSSIBLE, Confidence.LIKELY


@pytest.mark.parametrize(
    ("config", "sure"),
    [
        ({"architectures": ["SegformerForSemanticSegmentation"], "model_type": "segformer"}, LIKELY),
        ({"architectures": ["EomtForUniversalSegmentation"]}, LIKELY),
        ({"architectures": ["SegformerForImageClassification"], "model_type": "segformer"}, POSSIBLE),
        ({"model_type": "segformer"}, POSSIBLE),
        ({"architectures": []}, POSSIBLE),
        ({"architectures": [[1]]}, POSSIBLE),
        ({"architectures": "SegformerForSemanticSegmentation"}, POSSIBLE),
        ({"_model_class": "Unet", "encoder_name": "resnet18"}, NO),  # segmentation-models-pytorch
        ({}, NO),
    ],
)
def test_a_folder_is_known_by_its_config(tmp_path: Path, config: dict, sure: Confidence) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert provider.accepts(str(tmp_path)) is sure
    assert confidence(str(tmp_path / "config.json")) is min(sure, POSSIBLE)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000, b""])
def test_a_damaged_config_reaches_the_error_that_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert confidence(str(tmp_path)) is POSSIBLE
    with pytest.raises(ModelError, match=r"config\.json (is no JSON|holds no JSON object)"):
        Segplug().load_model(tmp_path)


def test_other_locations(tmp_path: Path) -> None:
    (tmp_path / "net.py").touch()
    (tmp_path / "model.json").write_text('{"model_type": "segformer"}')
    os.mkfifo(tmp_path / "pipe")
    for name in ("net.py", "model.json", "pipe", "not/there", ""):
        assert confidence(str(tmp_path / name)) is NO
    for name in ("python:a.b:c", "nvidia/segformer-b0", "a" * 300, "a\0b", "~nobody-at-all/a", ""):
        assert confidence(name) is NO
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "config.json")  # reading it would wait for ever
    assert confidence(str(tmp_path / "folder")) is NO


def test_no_other_source_reads_a_folder_of_transformers(segformer: Path) -> None:
    assert Registry().source("load_model", str(segformer), None).entry.target == "transformers"
    answers = [
        source.method("accepts")(str(segformer))
        for source in Registry().sources("load_model")
        if source.entry.target != "transformers"
    ]
    assert answers
    assert set(answers) == {NO}
    # As a data set it is a folder without images, which one source says.
    assert Registry().source("load_dataset", str(segformer), None).entry.target == "folder"


def test_the_config_in_place_of_its_folder(segformer: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Segplug().load_model(segformer / "config.json")
    assert str(caught.value) == f"{segformer / 'config.json'} is a file (name its folder: {segformer})"


def cached(segformer: Path, root: Path) -> Path:
    """The folder as a snapshot in the cache of the hub: links to files that are named by their hashes."""
    repository = root / "models--nvidia--segformer-b0"
    snapshot = repository / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, file in enumerate(sorted(segformer.iterdir())):
        shutil.copy(file, repository / "blobs" / str(number))
        (snapshot / file.name).symlink_to(Path("../../blobs") / str(number))
    return snapshot


def test_a_snapshot_in_the_cache_of_the_hub(segformer: Path, tmp_path: Path) -> None:
    snapshot = cached(segformer, tmp_path)
    assert confidence(str(snapshot)) is LIKELY
    assert Segplug().load_model(snapshot).meta.name == "segformer-b0"
    assert Segplug().load_model(segformer).meta.name == "segformer"


def test_a_folder_of_several_models_names_the_newest(segformer: Path, tmp_path: Path) -> None:
    snapshot = cached(segformer, tmp_path)
    assert hint(snapshot.parent.parent) == f"name one of the models in it: {snapshot}"
    run = tmp_path / "run"
    for age, step in enumerate((1000, 500)):
        shutil.copytree(segformer, run / f"checkpoint-{step}")
        os.utime(run / f"checkpoint-{step}" / "config.json", (age, age))
    assert hint(run) == f"name one of the models in it: {run / 'checkpoint-500'}"
    os.utime(run / "checkpoint-1000" / "config.json", (1, 1))  # as in a copy
    assert hint(run) == f"name one of the models in it: {run / 'checkpoint-1000'}"
    (run / "checkpoint-1000" / "config.json").unlink()
    os.mkfifo(run / "checkpoint-1000" / "config.json")
    assert hint(run) == f"name one of the models in it: {run / 'checkpoint-500'}"


def hint(folder: Path) -> str | None:
    with pytest.raises(ModelError) as caught:
        Segplug().load_model(folder)
    return caught.value.hint


def test_looking_into_a_folder_and_listing_import_neither_torch_nor_transformers(segformer: Path) -> None:
    code = f"""
import sys
from segplug.registry.registry import Registry
from segplug.cli.root import run_command_line
assert Registry().source("load_model", {str(segformer)!r}, None).entry.target == "transformers"
assert run_command_line(["plugins", "list"]) == 0
assert run_command_line(["export", "onnx", {str(segformer)!r}, "--help"]) == 0
print([n for n in ("torch", "transformers", "safetensors", "datasets", "PIL", "cv2") if n in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.splitlines()[-1:] == ["[]"], result.stderr + result.stdout
    assert "--processor [auto|pil|torchvision]" in result.stdout
