"""Which folders are models of smp, and that no other source claims one as surely."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from segplug_smp.provider import provider
from segplug_smp.recognise import confidence

from segplug import Segplug
from segplug.errors import ModelError, UsageError
from segplug.providers import Confidence
from segplug.registry.registry import Registry

NO, LIKELY = Confidence.NO, Confidence.LIKELY

CONFIGS = [
    ('{"_model_class": "Unet", "encoder_name": "resnet18"}', LIKELY),
    ('{"_model_class": "Unett"}', LIKELY),
    ('{"_model_class": [1]}', LIKELY),
    ('{"_model_class": "Unet", "model_type": "unet"}', LIKELY),
    ('{"encoder_name": "resnet18", "encoder_weights": null, "classes": 2}', LIKELY),
    ('{"_model_class": "Unet", "architectures": ["SegformerForSemanticSegmentation"]}', NO),
    ('{"architectures": ["SegformerForSemanticSegmentation"], "model_type": "segformer"}', NO),
    ('{"encoder_name": "resnet18"}', NO),
    ('{"_model_class": "Unet", ', LIKELY),
    ('{"_model_', NO),
    ("[]", NO),
    ("[" * 100_000, NO),
    ("{}", NO),
]


@pytest.mark.parametrize(("config", "sure"), CONFIGS)
def test_a_folder_is_known_by_its_config(tmp_path: Path, config: str, sure: Confidence) -> None:
    (tmp_path / "config.json").write_text(config)
    assert provider.accepts(str(tmp_path)) is sure
    assert confidence(str(tmp_path / "config.json")) is sure


@pytest.mark.parametrize("beside", [(), ("preprocessor_config.json", "model.safetensors")])
@pytest.mark.parametrize("config", [config for config, _ in CONFIGS])
def test_no_folder_is_claimed_by_two_sources(tmp_path: Path, config: str, beside: tuple[str, ...]) -> None:
    for name in beside:
        (tmp_path / name).write_text("{}")
    (tmp_path / "config.json").write_text(config)
    registry = Registry()
    for location in (tmp_path, tmp_path / "config.json"):
        sure = {
            name: registry.provider("load_model", name).method("accepts")(str(location))
            for name in ("smp", "transformers")
        }
        assert sure["smp"] is NO or sure["smp"] > sure["transformers"]


def test_other_locations(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "net.py").touch()
    for name in ("", "pipe", "net.py", "not/there"):
        assert confidence(str(tmp_path / name)) is NO
    for name in ("python:a.b:c", "torchvision:fcn_resnet50", "a" * 300, "a\0b", ""):
        assert confidence(name) is NO


def test_a_folder_without_its_config_is_known_by_its_card(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "README.md").write_text("---\nlibrary_name: transformers\n---\n")
    assert confidence(str(tmp_path)) is NO
    (tmp_path / "README.md").write_text("---\nlibrary_name: segmentation-models-pytorch\n---\n")
    assert confidence(str(tmp_path)) is LIKELY
    with pytest.raises(ModelError, match=r"there is no file .*config\.json"):
        Segplug().load_model(tmp_path)


def test_the_hubs_cache(tmp_path: Path) -> None:
    cache = tmp_path / "models--org--net"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (cache / "blobs" / "1").write_text('{"_model_class": "Unet", "encoder_name": "resnet18"}')
    (snapshot / "config.json").symlink_to("../../blobs/1")
    assert confidence(str(cache)) is confidence(str(snapshot)) is LIKELY
    with pytest.raises(ModelError) as caught:
        Segplug().load_model(cache)
    assert caught.value.hint == f"name one of the models in it: {snapshot}"
    (snapshot / "model.safetensors").symlink_to("../../blobs/2")
    with pytest.raises(ModelError, match="is a link that leads to no file"):
        Segplug().load_model(snapshot)


CONFIG = {"_model_class": "Unet", "encoder_name": "resnet18", "classes": 3}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CONFIG, "_model_class": "Unett"}, "'Unett', which .* does not have; did you mean 'Unet'?"),
        (
            {**CONFIG, "_model_class": "MyOwnNetwork"},
            "'MyOwnNetwork', which segmentation-models-",
        ),
        ({**CONFIG, "_model_class": 3}, "_model_class is no text"),
        ({"encoder_name": "resnet18", "encoder_weights": None}, "has no _model_class, which says"),
        (CONFIG, "has no weights: none of model.safetensors, pytorch_model.bin"),
    ],
)
def test_what_the_files_alone_say_is_one_line(tmp_path: Path, config: dict, message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message) as caught:
        Segplug().load_model(tmp_path)
    assert "\n" not in caught.value.message


def test_a_damaged_config_and_a_folder_of_another_library(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_model_class": "Unet",')
    with pytest.raises(ModelError, match=r"config\.json is no JSON"):
        Segplug().load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["X"], "model_type": "segformer"}')
    with pytest.raises(ModelError, match="is of a model of transformers, not of segmentation-models"):
        Segplug().load_model(tmp_path, source="smp")
    with pytest.raises(UsageError, match="is a file") as caught:
        Segplug().load_model(tmp_path / "config.json", source="smp")
    assert caught.value.hint == f"name its folder: {tmp_path}"


def test_weights_of_another_name_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "best.pth").touch()
    with pytest.raises(ModelError) as caught:
        Segplug().load_model(tmp_path)
    assert caught.value.hint == f"--checkpoint {tmp_path / 'best.pth'}"
