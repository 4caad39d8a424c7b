"""The networks of transformers as modules from images to scores."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from segplug_transformers import networks
from segplug_transformers.architectures import ARCHITECTURES
from segplug_transformers.folder import read_folder
from segplug_transformers.networks.tasks import task_tokens

from matrix import transformers_zoo
from matrix.transformers_configs import QUERIES as QUERY_COUNT
from segplug import Segplug
from segplug.errors import ModelError

Zoo = Callable[[str], Path]

QUERIES = ("maskformer", "mask2former", "oneformer", "detr", "eomt", "videomt")


def _pixels(name: str, batch: int) -> torch.Tensor:
    return torch.randn(
        batch, 3, *transformers_zoo.ENTRIES[name].size, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize("name", QUERIES)
def test_images_of_a_batch_do_not_meet(name: str, zoo: Zoo) -> None:
    """VidEoMT hands queries from frame to frame, so that images must not be frames of one video."""
    module = Segplug().load_model(str(zoo(name))).module
    pixels = _pixels(name, 2)
    with torch.no_grad():
        both = module(pixels)
        alone = torch.cat([module(image[None]) for image in pixels])
    assert both.shape == alone.shape
    assert both.dtype == torch.float32
    assert (both - alone).abs().max() < 1e-5 * alone.abs().max()
    assert (alone[0] - alone[1]).abs().max() > 0.1 * alone.abs().max()
    assert both.min() >= 0
    assert both.max() <= QUERY_COUNT


@pytest.mark.parametrize("name", ["segformer", "detr", "oneformer"])
def test_parameters_are_those_of_the_folder(name: str, zoo: Zoo) -> None:
    folder = zoo(name)
    network = getattr(transformers, transformers_zoo.ENTRIES[name].model).from_pretrained(folder)
    expected = {f"model.{key}": value for key, value in network.state_dict().items()}
    found = Segplug().load_model(str(folder)).module.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", ["segformer", "maskformer"])
def test_a_config_that_asks_for_more_outputs(name: str, zoo: Zoo, tmp_path: Path) -> None:
    plain = Segplug().load_model(str(zoo(name))).module
    folder = _with_config(zoo(name), tmp_path / name, output_hidden_states=True, output_attentions=True)
    module = Segplug().load_model(str(folder)).module
    pixels = _pixels(name, 1)
    with torch.no_grad():
        torch.testing.assert_close(module(pixels), plain(pixels), rtol=0, atol=1e-5)


def test_only_the_structure(zoo: Zoo, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(zoo("segformer"), tmp_path / "segformer"))
    (folder / "model.safetensors").unlink()
    architecture = ARCHITECTURES["SegformerForSemanticSegmentation"]
    network = networks.build(read_folder(str(folder), need_weights=False), architecture)
    assert isinstance(network, transformers.SegformerForSemanticSegmentation)
    assert not network.training
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_the_tokens_are_those_of_the_processor(zoo: Zoo) -> None:
    folder = zoo("oneformer")
    config = transformers.AutoConfig.from_pretrained(folder)
    image = transformers_zoo.sample_image(40, 50)
    expected = transformers_zoo.preprocess(folder, config, image, "pil")[1]["task_inputs"]
    tokens = task_tokens(read_folder(str(folder)))
    assert torch.equal(tokens, expected)
    assert tokens.shape == (1, transformers_zoo.TASK_LENGTH)
    assert tokens.count_nonzero() > 4
    assert tokens[0, -1] == 0


def test_a_tokenizer_in_two_files(zoo: Zoo, tmp_path: Path) -> None:
    """Older folders, as those that OneFormer's authors have published, have no tokenizer.json."""
    folder = Path(shutil.copytree(zoo("oneformer"), tmp_path / "oneformer"))
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs, ""]))
    expected = task_tokens(read_folder(str(folder)))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    assert torch.equal(task_tokens(read_folder(str(folder))), expected)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "has no tokenizer"), ("{", "cannot be read"), ("[]", "cannot be read")]
)
def test_no_tokenizer(content: str | None, words: str, zoo: Zoo, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(zoo("oneformer"), tmp_path / "oneformer"))
    if content is None:
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=words) as caught:
        Segplug().load_model(str(folder))
    assert "\n" not in str(caught.value)


def test_a_oneformer_that_a_training_has_left(zoo: Zoo, tmp_path: Path) -> None:
    """Its folder has the weights of the texts, and its config asks for texts, which inference has not."""
    folder = Path(shutil.copytree(zoo("oneformer"), tmp_path / "oneformer"))
    kind = transformers.OneFormerForUniversalSegmentation
    network = kind.from_pretrained(folder, is_training=True)
    network.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["is_training"]
    module = Segplug().load_model(str(folder)).module
    plain = Segplug().load_model(str(zoo("oneformer"))).module
    pixels = _pixels("oneformer", 1)
    with torch.no_grad():
        assert torch.equal(module(pixels), module(pixels))
        np.testing.assert_array_equal(module(pixels), plain(pixels))


def _with_config(source: Path, folder: Path, **settings: Any) -> Path:
    shutil.copytree(source, folder)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return folder


def test_a_tokenizer_that_is_too_large(zoo: Zoo, tmp_path: Path) -> None:
    """The library would take more than twice its bytes of memory before it finds that it is none."""
    folder = Path(shutil.copytree(zoo("oneformer"), tmp_path / "oneformer"))
    os.truncate(folder / "tokenizer.json", (64 << 20) + 1)
    with pytest.raises(ModelError) as caught:
        Segplug().load_model(folder)
    assert caught.value.message == (
        f"{folder / 'tokenizer.json'} has more than the 67,108,864 bytes that are read"
    )
