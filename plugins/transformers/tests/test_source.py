"""What a model of transformers says of itself, and what its options and overrides change."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from segplug_transformers import options as source_options

from matrix import transformers_zoo
from segplug import ModelMeta, Segplug
from segplug.artifact import file_sha256
from segplug.errors import ModelError
from segplug.model import Inference
from segplug.preprocessing import Crop, Resize, find_steps
from segplug.progress import QuietReporter


def meta_of(folder: Path, **arguments: Any) -> ModelMeta:
    return Segplug().load_model(folder, **arguments).meta


def change(folder: Path, file: str = "config.json", **changes: Any) -> None:
    content = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps(content))


def test_the_metadata(segformer: Path) -> None:
    meta = meta_of(segformer)
    weights = segformer / "model.safetensors"
    assert meta.classes == transformers_zoo.CLASSES
    assert (meta.out_channels, meta.output_stride, meta.output_size) == (5, 4, None)
    assert (meta.scores, meta.activation, meta.threshold) == ("logits", "softmax", None)
    assert (meta.input_size, meta.inference) == ((64, 96), Inference())
    assert meta.provenance.config == str(segformer)
    assert meta.provenance.config_sha256 == file_sha256(segformer / "config.json")
    assert meta.provenance.checkpoint == str(weights)
    assert meta.provenance.checkpoint_sha256 == file_sha256(weights)
    assert {"torch", "transformers", "segplug-transformers"} <= set(meta.versions)
    assert meta.extra["transformers"] == {
        "architecture": "SegformerForSemanticSegmentation",
        "processor": source_options.installed_backend(),
        "processor_config": json.loads((segformer / "preprocessor_config.json").read_text()),
    }
    assert ModelMeta.from_json(meta.to_json()) == meta


@pytest.mark.parametrize(
    ("name", "scores", "stride", "size"),
    [
        ("upernet-convnext", "logits", 1, None),
        ("mobilenet_v2", "logits", 8, None),
        ("dpt-hybrid", "logits", 1, None),
        ("tipsv2_dpt", "logits", 1, (32, 32)),  # for 56x56: patches of 14 pixels become 8
        ("maskformer", "probabilities", 4, None),
        ("mask2former", "probabilities", 1, (384, 384)),
        ("eomt", "probabilities", 1, None),
    ],
)
def test_the_scores(
    name: str, scores: str, stride: int, size: tuple[int, int] | None, zoo: Callable[[str], Path]
) -> None:
    model = Segplug().load_model(zoo(name))
    meta = model.meta
    assert (meta.scores, meta.output_stride, meta.output_size) == (scores, stride, size)
    height, width = meta.input_size or (64, 96)
    with torch.inference_mode():
        found = model.module(torch.zeros(1, 3, height, width))
    assert tuple(found.shape[2:]) == meta.scores_size((height, width))


@pytest.mark.parametrize(("backend", "antialias"), [("pil", False), ("torchvision", True)])
def test_the_last_resize_of_oneformer(backend: str, antialias: bool, zoo: Callable[[str], Path]) -> None:
    assert meta_of(zoo("oneformer"), processor=backend).output_antialias is antialias
    assert meta_of(zoo("maskformer"), processor=backend).output_antialias is False


def test_the_processor_s_form(segformer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``auto`` is what transformers itself takes: torchvision's where that is installed."""
    algorithms = {"pil": "pillow", "torchvision": "torchvision"}
    for backend, algorithm in algorithms.items():
        monkeypatch.setattr("segplug_transformers.described.installed_backend", lambda found=backend: found)
        for meta in (meta_of(segformer), meta_of(segformer, processor=backend)):
            assert [step.algorithm for step in find_steps(meta.preprocessing, Resize)] == [algorithm]
            assert meta.extra["transformers"]["processor"] == backend
    # In a process of its own: tests of other files have imported torchvision into this one.
    code = (
        "import transformers; from segplug_transformers.options import installed_backend\n"
        "taken = 'torchvision' if transformers.utils.is_torchvision_available() else 'pil'\n"
        "assert installed_backend() == taken"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_windows_in_place_of_the_processor_s_resize(segformer: Path, zoo: Callable[[str], Path]) -> None:
    meta = meta_of(segformer, crop_size=(64, 48), stride=(32, 24))
    assert meta.inference == Inference("slide", crop_size=(64, 48), stride=(32, 24))
    assert meta.input_size == (64, 48)
    assert not find_steps(meta.preprocessing, Resize)
    assert len(meta.preprocessing) == len(meta_of(segformer).preprocessing) - 1
    assert meta_of(segformer, crop_size=(64, 48)).inference.stride == (64, 48)
    cropped = meta_of(zoo("mobilenet_v2"))
    assert find_steps(cropped.preprocessing, Crop)
    assert not find_steps(meta_of(zoo("mobilenet_v2"), crop_size=(65, 65)).preprocessing, Crop)


def test_overrides(segformer: Path) -> None:
    settings = {
        "id2label.1": "house",
        "preprocessor.size.height": "32",
        "preprocessor.image_mean": "[0.5, 0.5, 0.5]",
        "preprocessor.do_resize": True,
        "hidden_dropout_prob": "0.5",
    }
    meta = meta_of(segformer, cfg_options=settings, processor="pil")
    assert meta.classes[:2] == ("road", "house")
    assert meta.input_size == (32, 96)
    assert "Subtract 0.5, divide" in meta.preprocessing[-1].in_words()
    assert meta.extra["transformers"]["cfg_options"] == {key: str(value) for key, value in settings.items()}
    assert json.loads((segformer / "preprocessor_config.json").read_text())["size"]["height"] == 64
    again = Segplug().load_model(segformer, cfg_options={"decoder_hidden_size": "8"}, structure_only=True)
    assert again.module.model.decode_head.linear_fuse.out_channels == 8


def test_classes_without_names_and_with_one_name(segformer: Path) -> None:
    change(segformer, id2label={str(label): "road" if label in (1, 3) else f"c{label}" for label in range(5)})
    assert meta_of(segformer).classes == ("c0", "road (1)", "c2", "road (3)", "c4")
    change(segformer, id2label={str(label): label for label in range(5)})  # no texts
    assert meta_of(segformer).classes == ("0", "1", "2", "3", "4")


def test_one_class_is_told_from_the_background(segformer: Path) -> None:
    held = load_file(segformer / "model.safetensors")
    for name in ("weight", "bias"):
        held[f"decode_head.classifier.{name}"] = held[f"decode_head.classifier.{name}"][:1].contiguous()
    save_file(held, segformer / "model.safetensors")
    change(segformer, id2label={"0": "road"})
    reporter = QuietReporter()
    meta = Segplug(reporter=reporter).load_model(segformer).meta
    assert (meta.out_channels, meta.activation, meta.threshold) == (1, "sigmoid", 0.5)
    assert meta.label_names == ("background", "road")
    assert any("one class" in warning for warning in reporter.warnings)


def test_the_palette_of_the_data_set_on_the_model_s_card(segformer: Path) -> None:
    names = ("road", "sidewalk", "building", "wall", "fence", "pole")
    held = load_file(segformer / "model.safetensors")
    for name in ("weight", "bias"):
        value = held[f"decode_head.classifier.{name}"]
        held[f"decode_head.classifier.{name}"] = torch.cat([value] * 4)[:19].contiguous()
    save_file(held, segformer / "model.safetensors")
    change(segformer, id2label={str(label): (*names, *map(str, range(13)))[label] for label in range(19)})
    assert meta_of(segformer).palette[:2] == ((128, 64, 128), (244, 35, 232))
    change(segformer, id2label={str(label): f"LABEL_{label}" for label in range(19)})
    assert meta_of(segformer).palette == ()
    card = "---\nlicense: other\ndatasets:\n- nowhere/else\n- 'acme/Cityscapes'\ntags:\n- vision\n---\ntext\n"
    (segformer / "README.md").write_text(card)
    assert meta_of(segformer).palette[:2] == ((128, 64, 128), (244, 35, 232))
    for line in ("datasets: [nowhere/else, 'acme/Cityscapes']", "datasets: acme/Cityscapes"):
        (segformer / "README.md").write_text(f"---\n{line}\ntags:\n- vision\n---\ntext\n")
        assert meta_of(segformer).palette[:2] == ((128, 64, 128), (244, 35, 232))
    (segformer / "README.md").write_text(f"text\n{card}")
    assert meta_of(segformer).palette == ()


def test_reduced_labels(segformer: Path) -> None:
    assert not meta_of(segformer).reduce_zero_label
    change(segformer, "preprocessor_config.json", do_reduce_labels=True)
    assert meta_of(segformer).reduce_zero_label


def test_a_loaded_model_can_be_loaded_again(segformer: Path) -> None:
    model = Segplug().load_model(segformer, processor="torchvision")
    again = model.load_arguments
    assert again is not None
    assert again.options == {"processor": "torchvision"}
    assert meta_of(Path(again.config), **again.options) == model.meta


def test_the_network_computes_what_transformers_computes(zoo: Callable[[str], Path]) -> None:
    folder = zoo("upernet-convnext")
    pixels = np.random.default_rng(0).standard_normal((2, 3, 64, 96)).astype(np.float32)
    with torch.inference_mode():
        found = Segplug().load_model(folder).module(torch.from_numpy(pixels))
        model = transformers.UperNetForSemanticSegmentation.from_pretrained(folder)
        wanted = model(torch.from_numpy(pixels)).logits
    assert float(wanted.abs().max()) > 1
    # Weights that are mapped from a file lie elsewhere in memory, where sums may round otherwise.
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_the_first_size_is_that_of_the_processor(segformer: Path, tmp_path: Path) -> None:
    """A network that does not take what its processor gives is refused when it is loaded."""
    folder = Path(shutil.copytree(segformer, tmp_path / "small"))
    change(folder, "preprocessor_config.json", size={"height": 3, "width": 3})
    with pytest.raises(
        Exception, match=r"takes no images of 3x3 .*, the size that its processor gives"
    ) as caught:
        Segplug().load_model(folder)
    assert type(caught.value).__name__ == "ModelError"


def test_what_is_said_of_a_folder(segformer: Path) -> None:
    """Its weights lie in it, and no flag names them."""
    found = Segplug().info(segformer)
    assert found.what == "a model's folder, read by the source transformers (segplug-transformers)"
    assert found.files == {file.name: file.stat().st_size for file in segformer.iterdir()}
    assert f"segplug predict {segformer} photo.jpg" in found.next
    assert not any("--checkpoint" in line for line in found.next)


def test_edges_of_patches_that_are_no_numbers(segformer: Path) -> None:
    """SegFormer has no such setting, and transformers ignores it."""
    change(segformer, patch_size=["a", 0])
    assert meta_of(segformer).output_stride == 4


def test_what_a_config_says_of_other_outputs_changes_nothing(
    zoo: Callable[[str], Path], tmp_path: Path
) -> None:
    """Networks of transformers stop where ``return_dict`` is false in the config, or in the backbone's."""
    folder = Path(shutil.copytree(zoo("upernet-swin"), tmp_path / "upernet"))
    pixels = torch.randn(1, 3, 64, 96)
    expected = Segplug().load_model(folder).module(pixels)
    asked = {"return_dict": False, "output_hidden_states": True, "output_attentions": True}
    backbone = json.loads((folder / "config.json").read_text())["backbone_config"]
    change(folder, **asked, backbone_config=backbone | asked)
    assert torch.equal(Segplug().load_model(folder).module(pixels), expected)


def test_the_reason_of_a_library_is_told_in_full(segformer: Path) -> None:
    change(segformer, num_channels="3")
    with pytest.raises(ModelError, match=r"field 'num_channels': TypeError: .* expected int, got str"):
        Segplug().load_model(segformer)
