"""Values that fit into no byte arrive at the network of a running server, in every form of a request."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import tifffile
import torch
from serve_support.bands import npy
from serve_support.servers import Running, form_of
from torch import nn

from segplug import Segplug
from segplug.model import ModelMeta, SegmentationModel
from segplug.preprocessing import Convert, Decoding

pytestmark = pytest.mark.server

SIZE = (9, 14)
TYPES = ("uint8", "uint16", "int16", "int32", "float32", "float64")


def image_of(dtype: str) -> np.ndarray:
    """``(H, W, 3)``: the same values in all types of more than a byte."""
    rng = np.random.default_rng(0)
    if dtype == "uint8":
        return rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return rng.integers(256, 32768, (*SIZE, 3)).astype(dtype)


class Exact(nn.Module):
    """Label 1 where the input has exactly the values of one of the images."""

    def __init__(self) -> None:
        super().__init__()
        known = [image_of(dtype).transpose(2, 0, 1).astype(np.float32) for dtype in ("uint8", "int32")]
        self.register_buffer("known", torch.from_numpy(np.stack(known)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        wrong = [(images - known).abs().sum(dim=1, keepdim=True) for known in self.known]
        return torch.cat([torch.full_like(wrong[0], -0.5), -(wrong[0] * wrong[1])], dim=1)


@pytest.fixture(scope="module")
def running(started, tmp_path_factory) -> Running:
    network = Exact().eval()
    meta = ModelMeta(
        "exact",
        classes=("other", "exact"),
        out_channels=2,
        decoding=Decoding(library="bands", color="unchanged"),
        preprocessing=(Convert(),),
        input_size=SIZE,
    )
    path = tmp_path_factory.mktemp("exact") / "exact.onnx"
    Segplug().export("onnx", SegmentationModel(network, meta, lambda: network), output=path)
    return started(path, "--threads", "1")


def _files() -> Iterator[tuple[str, str, bytes]]:
    for dtype in TYPES:
        image = image_of(dtype)
        yield dtype, "npy", npy(image)
        tiff = io.BytesIO()
        tifffile.imwrite(tiff, image, photometric="minisblack", planarconfig="contig")
        yield dtype, "tiff", tiff.getvalue()
        if dtype in ("uint8", "uint16"):
            yield dtype, "png", cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()


@pytest.mark.parametrize(
    ("dtype", "form", "content"), list(_files()), ids=lambda value: value if type(value) is str else ""
)
def test_the_network_gets_the_values_of_the_file(running, dtype, form, content):
    part, part_kind = form_of(image=content)
    text = base64.b64encode(content).decode()
    bodies = [
        (content, "application/octet-stream"),
        (content, "application/x-npy" if form == "npy" else f"image/{form}"),
        (part, part_kind),
        (json.dumps({"image": text}), "application/json"),
        (json.dumps({"data": {"b64": text}}), "application/json"),
    ]
    for body, kind in bodies:
        mask = running.post(body, content_type=kind).image
        assert mask.shape == SIZE
        assert (mask == 1).all(), kind


def test_other_values_are_told_apart(running):
    """So the test above tests something."""
    image = image_of("uint16")
    image[3, 4, 1] += 1
    mask = running.post(npy(image), content_type="application/x-npy").image
    assert mask[3, 4] == 0
    assert mask.sum() == mask.size - 1
    cut = image_of("uint16").astype(np.uint8)
    assert not running.post(npy(cut), content_type="application/x-npy").image.any()
