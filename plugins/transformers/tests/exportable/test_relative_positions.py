"""BEiT's and data2vec's biases at windows that their table was not made for."""

from __future__ import annotations

import math

import onnx
import pytest
import torch
import transformers
from segplug_torch.exportable.relative_positions import relative_position_index
from segplug_transformers.exportable import make_exportable
from torch import nn
from transformers.models.beit.modeling_beit import BeitRelativePositionBias
from transformers.models.data2vec.modeling_data2vec_vision import Data2VecVisionRelativePositionBias
from transformers_support.comparing import distance, exported, randomised

WINDOWS = [(4, 4), (4, 3), (3, 4), (6, 9), (2, 1)]


class Biases(nn.Module):
    """The biases of an image of 16 x 16 patches."""

    def __init__(self, biases: nn.Module) -> None:
        super().__init__()
        self.biases = biases

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[2:]
        bias: torch.Tensor = self.biases((height // 16, width // 16))
        return bias


def beit(rows: int, columns: int) -> nn.Module:
    size = (16 * rows, 16 * columns)
    return BeitRelativePositionBias(transformers.BeitConfig(image_size=size, patch_size=16))


def data2vec(rows: int, columns: int) -> nn.Module:
    return Data2VecVisionRelativePositionBias(transformers.Data2VecVisionConfig(), (rows, columns))


@pytest.mark.parametrize("kind", [beit, data2vec])
def test_biases(kind, tmp_path):
    for trained in [(4, 4), (4, 3)]:
        network = randomised(Biases(kind(*trained)))
        exportable = make_exportable(network)
        file = exported(exportable, (2, 3, 96, 160), tmp_path / "biases.onnx")
        for rows, columns in WINDOWS:
            x = torch.zeros(2, 3, 16 * rows, 16 * columns + 3)
            assert distance(network(x), exportable(x)) < 1e-6, (rows, columns)
            assert distance(network(x), file(x)) < 1e-5, (rows, columns)


@pytest.mark.parametrize("window", WINDOWS)
def test_the_index_is_that_of_transformers(window):
    expected = BeitRelativePositionBias.generate_relative_position_index(window)
    torch.testing.assert_close(
        relative_position_index(*window, torch.device("cpu")), expected, rtol=0, atol=0
    )


def test_a_file_holds_no_index(tmp_path):
    network = randomised(Biases(beit(12, 12)))  # small windows' indices are folded away in any case
    sample = torch.zeros(1, 3, 192, 192)
    for module, stored in [(make_exportable(network), False), (network, True)]:
        program = torch.onnx.export(module, (sample,), dynamo=True, verbose=False)
        program.save(tmp_path / "biases.onnx")
        constants = onnx.load(tmp_path / "biases.onnx").graph.initializer
        assert any(math.prod(constant.dims) >= 145**2 for constant in constants) is stored


def test_a_stretched_bias_is_left_to_transformers():
    network = randomised(beit(4, 4))
    expected = network((3, 4), interpolate_pos_encoding=True, dim_size=17)
    assert distance(expected, make_exportable(network)((3, 4), True, 17)) == 0
