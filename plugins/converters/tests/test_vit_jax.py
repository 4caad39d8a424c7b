"""Google's arrays give the same features in mmseg as in timm, which reads them, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from converters_support import vit_networks
from converters_support.conversion import State, unnoticed_losses
from converters_support.foreign import assert_same_features, image, outputs_of
from converters_support.mmseg_scripts import mmseg_script

from segplug import Segplug
from segplug.checkpoint import read_checkpoint
from segplug.errors import CheckpointError, UsageError
from segplug.results import ConversionReport

Arrays = dict[str, np.ndarray[Any, Any]]


def arrays(depth: int = 3, heads: int = 2, width: int = 128, patch: int = 16, side: int = 4) -> Arrays:
    """Random arrays by the names and of the shapes that Google's files have."""
    random = np.random.default_rng(depth)

    def noise(*shape: int, mean: float = 0.0, scale: float = 0.1) -> np.ndarray[Any, Any]:
        return (mean + scale * random.standard_normal(shape)).astype(np.float32)

    per_head, hidden = width // heads, 4 * width
    state = {
        "cls": noise(1, 1, width),
        "embedding/kernel": noise(patch, patch, 3, width, scale=0.05),
        "embedding/bias": noise(width),
        "Transformer/posembed_input/pos_embedding": noise(1, 1 + side * side, width),
        "Transformer/encoder_norm/scale": noise(width, mean=1),
        "Transformer/encoder_norm/bias": noise(width),
        "pre_logits/kernel": noise(width, width),
        "pre_logits/bias": noise(width),
        "head/kernel": noise(width, 5),
        "head/bias": noise(5),
    }
    for block in range(depth):
        parts = {
            "LayerNorm_0/scale": noise(width, mean=1),
            "LayerNorm_0/bias": noise(width),
            "MultiHeadDotProductAttention_1/out/kernel": noise(heads, per_head, width),
            "MultiHeadDotProductAttention_1/out/bias": noise(width),
            "LayerNorm_2/scale": noise(width, mean=1),
            "LayerNorm_2/bias": noise(width),
            "MlpBlock_3/Dense_0/kernel": noise(width, hidden),
            "MlpBlock_3/Dense_0/bias": noise(hidden),
            "MlpBlock_3/Dense_1/kernel": noise(hidden, width),
            "MlpBlock_3/Dense_1/bias": noise(width),
        }
        for part in ("query", "key", "value"):
            parts[f"MultiHeadDotProductAttention_1/{part}/kernel"] = noise(width, heads, per_head)
            parts[f"MultiHeadDotProductAttention_1/{part}/bias"] = noise(heads, per_head)
        state |= {f"Transformer/encoderblock_{block}/{name}": array for name, array in parts.items()}
    return state


def converted(held: Arrays, folder: Path, suffix: str = ".pth") -> tuple[State, ConversionReport]:
    """The arrays in a file, converted, and read again."""
    np.savez(folder / "google.npz", **held)  # type: ignore[arg-type]
    destination = folder / f"mmseg{suffix}"
    report = Segplug().convert_weights("vit-jax", folder / "google.npz", destination, force=True)
    state = read_checkpoint(str(destination)).state
    assert state
    return state, report


def timm_with(held: Arrays, folder: Path, **settings: Any) -> Any:
    """timm's network with the arrays, loaded by timm."""
    np.savez(folder / "timm.npz", **held)  # type: ignore[arg-type]
    network = vit_networks.timm_vit(**{"embed_dim": 128, "num_heads": 2, **settings})
    network.load_pretrained(str(folder / "timm.npz"))
    return network


def features(network: Any) -> list[torch.Tensor]:
    found = outputs_of([*network.blocks, network.norm], lambda: network(image(64, 64)))
    return vit_networks.normed(found)


class TestFeatures:
    def test_every_block_gives_the_same(self, tmp_path: Path) -> None:
        held = arrays()
        state, report = converted(held, tmp_path)
        ours = vit_networks.tokens(report, state, image(64, 64))
        assert_same_features(ours, features(timm_with(held, tmp_path, act_layer="gelu_tanh")))
        assert report.data["variant"] == "ViT, 128 channels, 3 blocks, patch 16"

    def test_exact_gelu_as_timm_computes_it(self, tmp_path: Path) -> None:
        held = arrays()
        state, report = converted(held, tmp_path)
        exact = features(timm_with(held, tmp_path))
        assert_same_features(
            vit_networks.tokens(report, state, image(64, 64), act_cfg={"type": "GELU"}), exact
        )
        assert vit_networks.differ(vit_networks.tokens(report, state, image(64, 64)), exact)
        assert any("approximation with tanh" in note for note in report.notes)

    def test_mmsegs_own_script_gives_the_same_bits(self, tmp_path: Path) -> None:
        held = arrays()
        old = mmseg_script("vitjax2mmseg").vit_jax_to_torch(
            {name: torch.from_numpy(array) for name, array in held.items()}, num_layer=3
        )
        vit_networks.assert_same_bits(converted(held, tmp_path)[0], old)

    def test_depth_of_the_large_network(self, tmp_path: Path) -> None:
        """mmseg's script reads it from the file's name."""
        state, report = converted(arrays(depth=24, heads=1, width=64), tmp_path)
        assert report.data["backbone"]["num_layers"] == 24
        assert "layers.23.ffn.layers.1.weight" in state

    def test_file_of_a_training(self, tmp_path: Path) -> None:
        """It holds the weights beside the state of the optimiser, which timm passes over, too."""
        held = {f"opt/target/{name}": array for name, array in arrays().items()}
        held["opt/state/step"] = np.zeros(1, np.int32)
        held["opt/state/param_states/Transformer/encoderblock_0/LayerNorm_0/scale/momentum"] = np.zeros(9)
        state, report = converted(held, tmp_path)
        assert report.data["prefix"] == "opt/target/"
        network = timm_with(held, tmp_path, act_layer="gelu_tanh")
        assert_same_features(vit_networks.tokens(report, state, image(64, 64)), features(network))

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_tensors_are_contiguous(self, suffix: str, tmp_path: Path) -> None:
        state, _ = converted(arrays(depth=1), tmp_path, suffix)
        assert [name for name, tensor in state.items() if not tensor.is_contiguous()] == []

    @pytest.mark.parametrize("heads", [2, 8])
    def test_heads_are_those_of_the_arrays(self, heads: int, tmp_path: Path) -> None:
        held = arrays(heads=heads)
        state, report = converted(held, tmp_path)
        assert report.data["backbone"]["num_heads"] == heads
        network = timm_with(held, tmp_path, act_layer="gelu_tanh", num_heads=heads)
        assert_same_features(vit_networks.tokens(report, state, image(64, 64)), features(network))

    def test_what_the_report_says(self, tmp_path: Path) -> None:
        data = converted(arrays(), tmp_path)[1].data
        assert len(data["merged"]) == 2 * 3  # kernels and biases of q, k and v
        assert len(data["transposed"]) == 1 + 3 * 3  # the patches; per block: out and two dense layers
        assert {item["name"] for item in data["dropped"]} == {
            *("pre_logits/kernel", "pre_logits/bias", "head/kernel", "head/bias")
        }


class TestRefused:
    def test_way_back(self, tmp_path: Path) -> None:
        state, _ = converted(arrays(depth=1), tmp_path)
        assert state
        with pytest.raises(UsageError, match=r"cannot convert back to google: .* heads"):
            Segplug().convert_weights("vit-jax", tmp_path / "mmseg.pth", tmp_path / "back.pth", reverse=True)

    def test_file_without_its_positions(self, tmp_path: Path) -> None:
        held = arrays()
        del held["Transformer/posembed_input/pos_embedding"]
        with pytest.raises(CheckpointError, match=r"missing \(Transformer/posembed_input/pos_embedding\)"):
            converted(held, tmp_path)

    def test_file_that_lost_any_array(self) -> None:
        held = {name: torch.from_numpy(array) for name, array in arrays(depth=2).items()}
        assert unnoticed_losses("vit-jax", held) == []

    def test_positions_elsewhere(self, tmp_path: Path) -> None:
        """big_vision's files: the class token has no position."""
        held = arrays()
        held["pos_embedding"] = held.pop("Transformer/posembed_input/pos_embedding")[:, 1:]
        with pytest.raises(CheckpointError, match=r"no rule knows \(pos_embedding\).* missing"):
            converted(held, tmp_path)

    def test_hybrid_of_resnet_and_vit(self, tmp_path: Path) -> None:
        """Its patches are of the ResNet's map."""
        held = arrays(patch=1)
        held["embedding/kernel"] = np.zeros((1, 1, 1024, 128), np.float32)
        held["conv_root/kernel"] = np.zeros((7, 7, 3, 64), np.float32)
        for unit in (1, 2):
            held[f"block1/unit{unit}/gn1/scale"] = np.zeros(64, np.float32)
            held[f"block1/unit{unit}/conv1/kernel"] = np.zeros((1, 1, 64, 64), np.float32)
        with pytest.raises(CheckpointError, match=r"5 tensors that no rule knows \(conv_root/kernel, block1"):
            converted(held, tmp_path)

    def test_blocks_of_other_heads(self, tmp_path: Path) -> None:
        held = arrays()
        held |= {name: array for name, array in arrays(heads=4).items() if "encoderblock_1/MultiHead" in name}
        with pytest.raises(CheckpointError, match=r"key/bias is 4x32, that of block 0 2x64"):
            converted(held, tmp_path)

    def test_arrays_of_another_shape(self, tmp_path: Path) -> None:
        name = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"
        held = arrays()
        held[name] = held[name].reshape(128, 128)
        with pytest.raises(CheckpointError, match="it has 2 dimensions, not 3: inputs, heads, channels"):
            converted(held, tmp_path)

    def test_other_targets_are_named_for_files_of_theirs(self, tmp_path: Path) -> None:
        held = {name: tensor.numpy() for name, tensor in vit_networks.timm_vit().state_dict().items()}
        with pytest.raises(CheckpointError, match=r"convert_weights vit \(timm"):
            converted(held, tmp_path)
