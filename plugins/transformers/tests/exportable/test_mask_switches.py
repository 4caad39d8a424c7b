"""EoMT's blocks with and without attention masks, as the buffer of the weights says."""

from __future__ import annotations

import pytest
import torch
import transformers
from segplug_transformers.exportable import make_exportable
from torch import nn
from transformers_support.comparing import distance, randomised

from segplug.errors import ModelError

CONFIGS = {
    "eomt": transformers.EomtConfig,
    "eomt_dinov3": transformers.EomtDinov3Config,
}


class Masks(nn.Module):
    """A network's masks alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        masks: torch.Tensor = self.model(x).masks_queries_logits
        return masks


@pytest.fixture(scope="module", params=list(CONFIGS))
def network(request) -> nn.Module:
    config = CONFIGS[request.param](
        image_size=64, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, num_blocks=2, num_queries=5
    )
    masks = randomised(Masks(transformers.AutoModelForUniversalSegmentation.from_config(config)))
    with torch.no_grad():  # masks on both sides of 0, where they begin to matter
        for bias in (masks.model.mask_head.fc3.bias, masks.model.upscale_block.block[-1].layernorm2d.bias):
            bias.sub_(bias.mean())
    return masks


def switch(network: nn.Module, *values: float) -> None:
    network.model.attn_mask_probs.copy_(torch.tensor(values))


@pytest.mark.parametrize("values", [(1, 1), (0, 1), (0, 0)])
def test_a_program_takes_masks_as_the_buffer_says(values, network):
    switch(network, *values)
    exportable, x = make_exportable(network), torch.randn(2, 3, 64, 64)
    program = torch.export.export(
        exportable, (torch.zeros(2, 3, 64, 64),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    ).module()
    assert distance(network(x), exportable(x)) < 1e-5
    assert distance(network(x), program(x)) < 1e-5
    assert list(exportable.state_dict()) == list(network.state_dict())


def test_the_masks_matter(network):
    x, masks = torch.randn(2, 3, 64, 64), []
    for values in [(1, 1), (0, 1), (0, 0)]:
        switch(network, *values)
        masks.append(network(x))
    assert distance(masks[0], masks[1]) > 1e-3
    assert distance(masks[1], masks[2]) > 1e-3


def test_a_network_that_leaves_out_masks_at_random_is_refused(network):
    switch(network, 1, 0.25)
    x = torch.randn(2, 3, 64, 64)
    assert distance(network(x), network(x)) > 0
    with pytest.raises(ModelError, match=r"at random: attn_mask_probs has 0\.25"):
        make_exportable(network)
