"""The channels of the images: the loader, the normalisation and the network must agree."""

from __future__ import annotations

import pytest
import torch
from mmseg_support.pipelines import NORMALISE, augmented, read
from mmseg_support.small_backbones import backbone_of, write_config
from segplug_mmseg.network import TensorSegmentor, first_channels
from torch import nn

from segplug.errors import ModelError

OWN = {"type": "LoadBands"}
FOUR = {"type": "Normalize", "mean": [0.0] * 4, "std": [1.0] * 4, "to_rgb": False}


def test_where_the_number_comes_from():
    assert read(NORMALISE, loader=OWN).in_channels == 3
    assert read(augmented(FOUR, img_scale=(8, 8)), loader=OWN, network=4).in_channels == 4
    assert read(loader=OWN, network=13).in_channels == 13
    assert read({**FOUR, "mean": 0.0, "std": [1.0]}, loader=OWN, network=5).in_channels == 5
    assert read(network=None).in_channels == 3


@pytest.mark.parametrize(
    ("loader", "transform", "network", "message"),
    [
        (None, NORMALISE, 4, "the test pipeline normalises 3 channels, the network takes 4"),
        (OWN, FOUR, 3, "the test pipeline normalises 4 channels, the network takes 3"),
        (
            None,
            FOUR,
            4,
            "the test pipeline reads images as color_type='color' (3 channels), but norm",
        ),
        (OWN, FOUR | {"std": [1.0] * 3}, 4, "the test pipeline normalises 4 channels, but normalises 3"),
    ],
)
def test_numbers_that_differ(loader, transform, network, message):
    with pytest.raises(ModelError) as caught:
        read(transform, loader=loader, network=network)
    assert caught.value.message.startswith(message)
    assert "\n" not in str(caught.value)
    assert "in_channels of model.backbone" in caught.value.hint


@pytest.mark.parametrize(("color", "channels"), [("color", "3 channels"), ("grayscale", "1 channel")])
def test_images_of_other_channels_than_the_networks(color, channels):
    loader = {"type": "LoadImageFromFile", "color_type": color}
    with pytest.raises(ModelError, match=rf"as color_type='{color}' \({channels}\), the network takes 4"):
        read(loader=loader, network=4)


def test_a_network_whose_first_convolution_is_not_its_input():
    """Then the network itself is asked, once the numbers differ."""
    asked = []

    def takes(channels: int) -> bool:
        asked.append(channels)
        return True

    assert read(NORMALISE, network=8, takes=takes).in_channels == 3
    assert asked == [3]
    assert read(NORMALISE, network=3, takes=takes).in_channels == 3
    assert asked == [3]


class Odd(nn.Module):
    """Its attention, defined first, has more channels than its images."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Conv2d(8, 8, 1)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)

    def encode_decode(self, images: torch.Tensor, _metas: None) -> torch.Tensor:
        return self.attention(self.stem(images))


def test_asking_the_network():
    network = TensorSegmentor(Odd()).eval()
    assert first_channels(network.segmentor) == 8
    assert network.takes(3)
    assert not network.takes(8)
    assert first_channels(nn.Linear(3, 3)) is None


@pytest.mark.parametrize("family", ["vit", "swin", "beit", "mae", "mit", "twins", "resnet"])
def test_the_first_convolution_of_mmsegs_backbones(tmp_path, family):
    backbone = backbone_of(write_config(tmp_path, family, in_channels=5))
    assert first_channels(backbone) == 5


@pytest.mark.parametrize("family", ["stdc", "bisenet", "icnet"])
def test_the_first_convolution_of_backbones_in_backbones(tmp_path, family):
    inner = {"backbone_cfg": {"in_channels": 5}} | ({} if family == "stdc" else {"in_channels": 5})
    backbone = backbone_of(write_config(tmp_path, family, **inner))
    assert first_channels(backbone) == 5
