"""Folders that cannot be loaded exactly are refused in one line, which says why."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from segplug_transformers.architectures import ARCHITECTURES

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import MissingDependencyError, ModelError, SegplugError, UsageError


def change(folder: Path, file: str = "config.json", **changes: Any) -> None:
    content = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def refusal(folder: Path, kind: type[SegplugError] = ModelError, **arguments: Any) -> SegplugError:
    with pytest.raises(kind) as caught:
        Segplug().load_model(folder, **arguments)
    return caught.value


def test_a_class_that_is_no_segmentation_model(segformer: Path) -> None:
    change(segformer, architectures=["SegformerForImageClassification"])
    error = refusal(segformer)
    assert error.message == (
        f"{segformer / 'config.json'}: SegformerForImageClassification is no segmentation model that segplug "
        "reads"
    )
    assert error.hint is not None
    assert all(name in error.hint for name in ARCHITECTURES)


@pytest.mark.parametrize("names", [..., [], [5], "SegformerForSemanticSegmentation"])
def test_a_config_without_a_class(segformer: Path, names: Any) -> None:
    change(segformer, architectures=names)
    assert "does not say which class the model is (architectures)" in refusal(segformer).message
    override = {"architectures": '["SegformerForSemanticSegmentation"]'}
    assert Segplug().load_model(segformer, cfg_options=override).meta.out_channels == 5


def test_a_class_against_its_model_type(segformer: Path) -> None:
    change(segformer, architectures=["BeitForSemanticSegmentation"])
    assert refusal(segformer).message.endswith(
        "contradicts itself: architectures says BeitForSemanticSegmentation, whose model_type is beit, and "
        "model_type is segformer"
    )


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_code_in_the_folder(segformer: Path, file: str) -> None:
    (segformer / "net.py").write_text(f"open({str(segformer / 'ran')!r}, 'w')")
    change(segformer, file, auto_map={"AutoModelForSemanticSegmentation": "net.Net"})
    assert refusal(segformer).message == (
        f"{segformer / file} asks for code of its own (auto_map), and segplug runs no code of a model's "
        "folder"
    )
    assert not (segformer / "ran").exists()


def test_code_of_a_backbone(segformer: Path) -> None:
    change(segformer, backbone_config={"model_type": "own", "auto_map": {"AutoConfig": "net.Net"}})
    assert "asks for code of its own (backbone_config.auto_map)" in refusal(segformer).message


@pytest.mark.parametrize("name", ["own/attention", "flash_attention_2", {"": "own/attention"}])
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_attention_on_a_hub(zoo: Callable[[str], Path], tmp_path: Path, key: str, name: Any) -> None:
    """transformers runs such code where the library kernels is installed; PyTorch's own is the same sum."""
    shutil.copytree(zoo("upernet-swin"), tmp_path, dirs_exist_ok=True)
    backbone = json.loads((tmp_path / "config.json").read_text())["backbone_config"]
    change(tmp_path, **{key: name, "backbone_config": backbone | {key: name}})
    network = Segplug().load_model(tmp_path).module.model
    assert isinstance(network, transformers.PreTrainedModel)
    assert network.config._attn_implementation in ("eager", "sdpa")


def test_a_config_of_what_transformers_does_not_know(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(zoo("upernet-swin"), tmp_path, dirs_exist_ok=True)
    change(tmp_path, backbone_config={"model_type": "none"})
    assert refusal(tmp_path).message == (
        f"transformers cannot build the config {tmp_path / 'config.json'}: it has or knows no 'none'"
    )


def test_code_beside_a_tokenizer(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(zoo("oneformer"), tmp_path / "oneformer"))
    (folder / "net.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Net: pass")
    change(
        folder, "tokenizer_config.json", tokenizer_class=..., auto_map={"AutoTokenizer": ["net.Net", None]}
    )
    code = f"from segplug import Segplug; Segplug().load_model({str(folder)!r})"
    # Nobody is asked whether the code may run, and a yes does not count.
    result = subprocess.run(
        [sys.executable, "-c", code], input="y\n" * 9, capture_output=True, text=True, check=False
    )
    assert "ModelError" in result.stderr or result.returncode == 0, result.stderr
    assert "[y/N]" not in result.stdout
    assert not (folder / "ran").exists()


def test_labels_with_a_gap(segformer: Path) -> None:
    change(segformer, id2label={"0": "road", "2": "sky"})
    assert "id2label has no label 1, and labels are 0, 1, 2, ... without a gap" in refusal(segformer).message
    change(segformer, id2label=["road", "sky"])
    assert "id2label is no object that gives numbers their names" in refusal(segformer).message


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"9" * 5000: "road"}, "id2label is no object that gives numbers their names"),
        ({"0": "road", "1": None}, "id2label names class 1 None, which is no text"),
        ({"0": ["road"]}, "id2label names class 0 ['road'], which is no text"),
        ({}, "id2label names 0 classes, and 1 to 65535 are expected"),
        ({str(n): "a" for n in range(65536)}, "id2label names 65536 classes, and 1 to 65535 are expected"),
    ],
)
def test_labels_that_are_none(segformer: Path, labels: Any, reason: str) -> None:
    change(segformer, id2label=labels)
    assert reason in refusal(segformer).message


@pytest.mark.parametrize("count", [10**9, 0, -1, "5", 5.0, True, None])
def test_a_number_of_labels_that_is_none(segformer: Path, count: Any) -> None:
    """transformers names as many classes as the number says: 10**9 took 11 GB before it was refused."""
    change(segformer, num_labels=count, id2label=...)
    assert f"num_labels is {count!r}, not a number of classes from 1 to 65535" in refusal(segformer).message


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"depths": [1, 10000, 1, 1]}, "depths asks for 10003"),
        ({"num_encoder_blocks": 10000}, "num_encoder_blocks asks for 10000"),
        (
            {"backbone_config": {"num_hidden_layers": 10000}},
            "backbone_config.num_hidden_layers asks for 10000",
        ),
    ],
)
def test_too_many_layers(segformer: Path, changes: dict, place: str) -> None:
    """They take minutes to build, before it shows that the weights are of another model."""
    change(segformer, **changes)
    message = f"{segformer / 'config.json'}: {place} layers, and at most 1000 are built"
    assert refusal(segformer).message == message


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_json_in_json(segformer: Path, file: str) -> None:
    """What Python can just read is too deep for code that calls itself for each object."""
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    change(segformer, file, more=deep)
    message = f"{segformer / file} has more than 64 objects and lists in each other"
    assert refusal(segformer).message == message


@pytest.mark.parametrize("name", ["model.safetensors", "processor_config.json", "preprocessor_config.json"])
def test_what_has_the_name_of_a_file(segformer: Path, name: str) -> None:
    """It is not passed over for the next file that would do."""
    torch.save({}, segformer / "pytorch_model.bin")
    file = segformer / name
    file.unlink(missing_ok=True)
    file.symlink_to("../../blobs/none")
    error = refusal(segformer)
    assert (error.message, error.hint) == (
        f"{file} is a link that leads to no file",
        "download the whole folder",
    )
    file.unlink()
    os.mkfifo(file)
    assert refusal(segformer).message == f"{file} is a pipe, not a file"


def test_a_number_of_labels_against_their_names(segformer: Path) -> None:
    change(segformer, num_labels=3)
    message = "contradicts itself: num_labels is 3, and id2label names 5 classes"
    assert message in refusal(segformer).message
    change(segformer, num_labels=5)
    assert Segplug().load_model(segformer).meta.classes[0] == "road"
    assert message in refusal(segformer, cfg_options={"num_labels": "3"}).message


def test_fewer_labels_than_the_weights_have(segformer: Path) -> None:
    change(segformer, id2label={"0": "road", "1": "sky"})
    assert "2 keys of another shape (decode_head.classifier.bias 5 for 2" in refusal(segformer).message


def test_quantised_and_adapted_models(segformer: Path) -> None:
    change(segformer, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    assert "has a quantization_config: the weights are quantised" in refusal(segformer).message
    change(segformer, quantization_config=...)
    (segformer / "adapter_config.json").write_text("{}")
    message = f"{segformer} holds an adapter (adapter_config.json), whose weights are apart from the model's"
    assert refusal(segformer).message == message
    (segformer / "config.json").unlink()
    assert refusal(segformer).message == message


@pytest.mark.parametrize("changes", [{"enforce_input_proj": True}, {"conv_dim": 48}])
def test_a_oneformer_whose_projections_no_file_holds(
    zoo: Callable[[str], Path], tmp_path: Path, changes: dict
) -> None:
    content = json.loads((zoo("oneformer") / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(content))
    error = refusal(tmp_path, structure_only=True)
    assert "has convolutions whose weights no file holds" in error.message


@pytest.mark.parametrize(
    ("name", "changes", "place"),
    [
        ("upernet-swin", {"backbone_config": ..., "backbone": "microsoft/swin-tiny"}, "backbone"),
        ("detr", {"backbone_config": ..., "backbone": "a/b", "use_timm_backbone": False}, "backbone"),
        (
            "detr",
            {
                "backbone_config": ...,
                "backbone": "a/b",
                "use_timm_backbone": False,
                "backbone_kwargs": {"x": 1},
            },
            "backbone",
        ),
    ],
)
def test_a_backbone_on_a_hub(
    zoo: Callable[[str], Path], tmp_path: Path, name: str, changes: dict, place: str
) -> None:
    content = json.loads((zoo(name) / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))
    error = refusal(tmp_path, structure_only=True)
    backbone = changes.get("backbone", "a/b")
    assert f"{place} is '{backbone}', whose config is on a hub, and nothing is fetched" in error.message


def test_the_backbone_of_a_decoder_is_not_looked_up(
    zoo: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers 4.57 writes one into each MaskFormer, and 5 asks the hub for it, though it builds none."""
    shutil.copytree(zoo("maskformer"), tmp_path / "model")
    content = json.loads((tmp_path / "model" / "config.json").read_text())
    decoder = content["decoder_config"]
    del decoder["backbone_config"]
    kwargs = {"in_chans": 3, "out_indices": [1, 2, 3, 4]}
    change(tmp_path / "model", decoder_config=decoder | {"backbone": "resnet50", "backbone_kwargs": kwargs})
    asked: list[object] = []
    monkeypatch.setattr("transformers.backbone_utils.hf_api", lambda: asked.append(1))
    model = Segplug().load_model(tmp_path / "model")
    assert model.meta.num_classes == len(content["id2label"])
    assert not asked


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
@pytest.mark.parametrize("name", ["detr", "upernet-swin"])
@pytest.mark.parametrize("arguments", [..., {"in_chans": 3, "out_indices": [1, 2, 3, 4]}])
def test_a_backbone_of_timm_names_the_library(
    zoo: Callable[[str], Path],
    tmp_path: Path,
    name: str,
    arguments: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """4.57 writes the arguments, and transformers 5 asks the hub for such a backbone first."""
    shutil.copytree(zoo(name), tmp_path, dirs_exist_ok=True)
    change(
        tmp_path,
        backbone_config=...,
        backbone="resnet50",
        use_timm_backbone=True,
        backbone_kwargs=arguments,
    )
    monkeypatch.setattr("transformers.backbone_utils.hf_api", lambda: pytest.fail("the hub was asked"))
    error = refusal(tmp_path, MissingDependencyError)
    assert "needs timm, which is not installed" in error.message
    assert error.hint == "pip install timm"


def test_a_network_that_is_random_in_every_run(zoo: Callable[[str], Path], tmp_path: Path) -> None:
    """An EoMT of the middle of a training, from which transformers leaves out masks at random."""
    folder = Path(shutil.copytree(zoo("eomt"), tmp_path / "eomt"))
    held = load_file(folder / "model.safetensors")
    held["attn_mask_probs"][0] = 0.5
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    assert "attention masks at random: attn_mask_probs has 0.5" in refusal(folder).message


def test_a_config_that_transformers_refuses(segformer: Path) -> None:
    change(segformer, num_encoder_blocks=9)
    assert refusal(segformer).message.startswith(
        f"transformers cannot build SegformerForSemanticSegmentation from {segformer}: "
    )
    change(segformer, num_encoder_blocks="many")
    assert refusal(segformer).message.startswith(
        f"transformers cannot build the config {segformer / 'config.json'}: "
    )


def test_overrides_of_what_is_not_there(segformer: Path) -> None:
    error = refusal(segformer, UsageError, cfg_options={"decoder_hiden_size": "8"})
    assert error.message == (
        "--cfg-options decoder_hiden_size: SegformerConfig has no 'decoder_hiden_size'; did you mean "
        "'decoder_hidden_size'?"
    )
    error = refusal(segformer, UsageError, cfg_options={"hidden_sizes.x": "8"})
    assert error.message == "--cfg-options hidden_sizes.x: hidden_sizes holds no further keys"
    error = refusal(segformer, UsageError, cfg_options={"a..b": "8"})
    assert error.message == "--cfg-options a..b: the key has an empty part"
    error = refusal(segformer, UsageError, cfg_options={"preprocessor.do_resise": "false"})
    assert error.message == (
        "--cfg-options preprocessor.do_resise: no processor has 'do_resise'; did you mean 'do_resize'?"
    )
    (segformer / "preprocessor_config.json").unlink()
    error = refusal(segformer, UsageError, cfg_options={"preprocessor.size": "8"})
    assert "the folder has no settings of a processor" in error.message


def test_a_folder_without_a_config(segformer: Path) -> None:
    (segformer / "config.json").unlink()
    assert refusal(segformer).message == f"there is no file {segformer / 'config.json'}"
    with pytest.raises(UsageError, match="there is no folder none"):
        Segplug().load_model("none", source="transformers")


def test_options_that_do_not_go_together(segformer: Path) -> None:
    assert "stride is the step of a window" in refusal(segformer, UsageError, stride=(8, 8)).message
    error = refusal(segformer, UsageError, crop_size=(8, 8), stride=(8, 9))
    assert error.message == "stride is larger than crop_size: pixels between the windows would get no label"


def test_nothing_is_fetched(segformer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the hub is in reach: no connection is made."""

    def no_connection(*arguments: Any) -> None:
        raise AssertionError(f"a connection: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", no_connection)
    monkeypatch.setattr(socket, "getaddrinfo", no_connection)
    monkeypatch.setattr(transformers.utils.hub.constants, "HF_HUB_OFFLINE", False)
    assert Segplug().load_model(segformer).meta.out_channels == 5
    assert transformers.utils.hub.constants.HF_HUB_OFFLINE is False


def test_the_command_line_says_it_in_one_line(
    segformer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (segformer / "preprocessor_config.json").write_text('{"image_processor_type": "NoSuchImageProcessor"}')
    output = tmp_path / "net.onnx"
    assert run_command_line(["run", "export", "onnx", str(segformer), "--output", str(output)]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "NoSuchImageProcessor" in lines[0]
    assert not output.exists()
