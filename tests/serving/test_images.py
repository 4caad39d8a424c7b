"""Images of any channels and type: requests get the masks of a local run; the client loses nothing."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import tifffile

from segplug.engine import EngineSpec
from segplug.model import ModelMeta
from segplug.preprocessing import ChannelOrder, Decoding, usual_steps
from segplug.runtime.pipeline import run
from segplug.runtime.segment import Segmenter
from segplug.runtime.sinks import ScoreSink
from segplug.serving.answers import Answer
from segplug.serving.client import Client, decode_mask
from segplug.serving.remote_engine import RemoteEngine
from segplug.serving.requests import Limits, Request
from segplug.serving.service import Service
from segplug.testing import ArrayDataset, EngineConformance, FunctionEngine
from tests.serving.conftest import encoded, http_server, noise, pixels

HEIGHT, WIDTH = 24, 32

BANDS = Decoding(library="bands", color="unchanged")

METAS = {
    "one 8-bit channel": ModelMeta(
        name="grey",
        in_channels=1,
        decoding=Decoding(color="grayscale"),
        preprocessing=usual_steps((120.0,), (60.0,)),
    ),
    "four 16-bit channels": ModelMeta(
        name="four",
        in_channels=4,
        decoding=Decoding(color="unchanged"),
        preprocessing=(ChannelOrder((2, 1, 0, 3)), *usual_steps((30e3,) * 4, (20e3,) * 4)),
    ),
    "five bands of floats": ModelMeta(
        name="five", in_channels=5, decoding=BANDS, preprocessing=usual_steps((0.5,) * 5, (0.3,) * 5)
    ),
    "a loader of the user's own": ModelMeta(
        name="own",
        in_channels=3,
        decoding=Decoding(loader="LoadReflectance"),
        preprocessing=usual_steps((0.5,) * 3, (0.3,) * 3),
    ),
}


def _engine(meta: ModelMeta) -> FunctionEngine:
    """Four classes: a linear map of the channels, fixed for each number of channels."""
    meta = meta.replace(classes=("a", "b", "c", "d"), out_channels=4)
    weights = np.random.default_rng(meta.in_channels).standard_normal((4, meta.in_channels))

    def logits(batch: np.ndarray) -> np.ndarray:
        assert batch.dtype == np.float32
        return np.einsum("kc,nchw->nkhw", weights, batch.astype(np.float64)).astype(np.float32)

    return FunctionEngine(EngineSpec(meta=meta, output="logits", backend="linear"), logits)


def _image(kind: str, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    meta, rng = METAS[kind], np.random.default_rng(seed)
    values = rng.random((height, width, meta.in_channels))
    if "8-bit" in kind:
        return (values * 256).astype(np.uint8)
    return (values * 65536).astype(np.uint16) if "16-bit" in kind else values.astype(np.float32)


def npy(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, image)
    return content.getvalue()


def tiff(image: np.ndarray, **given: object) -> bytes:
    """A TIFF with the channels of an image as its bands, interleaved."""
    content = io.BytesIO()
    tifffile.imwrite(content, image, photometric="minisblack", planarconfig="contig", **given)
    return content.getvalue()


def _mask(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.reason
    return pixels(answer.body)


def _local(kind: str, image: np.ndarray) -> np.ndarray:
    (prediction,) = Segmenter(_engine(METAS[kind]))([image])
    assert len(np.unique(prediction.labels)) >= 3, "a mask of few labels would prove little"
    return prediction.labels


FILES = {
    ("one 8-bit channel", "png"): encoded,
    ("one 8-bit channel", "npy"): npy,
    ("four 16-bit channels", "png"): encoded,
    ("four 16-bit channels", "npy"): npy,
    ("five bands of floats", "tiff"): tiff,
    ("five bands of floats", "npy"): npy,
    ("a loader of the user's own", "npy"): npy,
}


@pytest.mark.parametrize(("kind", "form"), FILES)
def test_a_file_gets_the_mask_of_a_local_run(kind, form) -> None:
    image = _image(kind)
    content = FILES[kind, form](image)
    text = base64.b64encode(content).decode()
    service, expected = Service(_engine(METAS[kind])), _local(kind, image)
    for request in (
        Request(content),
        Request(content, f"image/{form}"),
        Request(content, "application/x-npy"),
        Request(content, "application/octet-stream"),
        Request(text),
        Request({"image": {"b64": text}}),
        Request(json.dumps({"image": text}).encode(), "application/json"),
    ):
        (answer,) = service.answer([request])
        assert np.array_equal(_mask(answer), expected)


def test_images_of_several_types_share_a_batch() -> None:
    kind = "five bands of floats"
    images = [
        _image(kind),
        _image(kind, seed=1).astype(np.float64),
        (_image(kind, seed=2) * 3).astype(np.int16),
        _image(kind, 17, 40),
    ]
    answers = Service(_engine(METAS[kind]), batch_size=4).answer([Request(npy(image)) for image in images])
    segment = Segmenter(_engine(METAS[kind]))
    for image, answer in zip(images, answers, strict=True):
        assert np.array_equal(_mask(answer), segment([image])[0].labels)


def test_pixels_without_data_are_unknown() -> None:
    kind = "five bands of floats"
    image = _image(kind)
    image[:6] = -9999
    image[6:12, :, 0] = -9999  # only one band has no data: the pixel still has a label
    content = tiff(image, extratags=[(42113, "s", 0, "-9999", True)])
    mask, shares = Service(_engine(METAS[kind])).answer([Request(content), Request(content, output="json")])
    labels = _mask(mask)
    assert (labels[:6] == 255).all()
    assert (labels[6:] < 4).all()
    (unknown,) = [entry for entry in json.loads(shares.body)["classes"] if entry["name"] == "unknown"]
    assert unknown == {
        "label": 255,
        "name": "unknown",
        "colour": [0, 0, 0],
        "pixels": 6 * WIDTH,
        "share": 0.25,
    }


def _npy_of(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """A header that promises an array of any size, and one value."""
    content = io.BytesIO()
    header = {"shape": shape, "fortran_order": False, "descr": descr}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue() + bytes(8)


WITH_NAN = _image("five bands of floats")
WITH_NAN[3, 4, 2] = np.nan

HOSTILE = {
    "a huge .npy": (_npy_of((10**9, 10**9, 5)), 413, "pixels"),
    "a long .npy": (_npy_of((1, 20_000, 5)), 413, "edges of more than 16384"),
    "a .npy of many channels": (_npy_of((8, 8, 10**9)), 400, "1000000000 channels"),
    "a .npy of large values": (_npy_of((5000, 5000, 5), "<f8"), 413, "bytes"),
    "a .npy of text": (npy(np.array([["a"]])), 400, "numbers"),
    "a .npy of objects": (_npy_of((8, 8, 5), "|O"), 400, "numbers"),
    "a cut .npy": (npy(_image("five bands of floats"))[:-9], 400, "cut off"),
    "a .npy of one dimension": (npy(np.zeros(7, np.float32)), 400, "(H, W"),
    "a TIFF of 1000 channels": (tiff(np.zeros((4, 4, 1000), np.uint8)), 400, "1000 channels"),
    "an empty .npy": (npy(np.zeros((0, 8, 5), np.float32)), 400, "is damaged: it is 8x0"),
    "other channels": (npy(np.zeros((8, 8, 4), np.float32)), 400, "the network takes 5"),
    "a colour image": (encoded(noise()), 400, "the network takes 5"),
    "not a number": (npy(WITH_NAN), 422, "holds nan in channel 3, row 3, column 4"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_with_a_reason(kind) -> None:
    content, status, reason = HOSTILE[kind]
    (answer,) = Service(_engine(METAS["five bands of floats"])).answer([Request(content)])
    assert reason in answer.reason
    assert answer.status == status
    assert "\n" not in answer.reason


def test_the_size_of_a_decoded_image_is_limited() -> None:
    kind = "five bands of floats"
    image = _image(kind)
    for content in (npy(image), tiff(image, compression="zlib")):
        for decoded, status in ((image.nbytes, 200), (image.nbytes - 1, 413)):
            service = Service(_engine(METAS[kind]), limits=Limits(decoded=decoded))
            assert service.answer([Request(content)])[0].status == status


def test_bands_choose_what_a_painted_image_shows() -> None:
    kind = "five bands of floats"
    image = (_image(kind) * 256).astype(np.uint8)
    service = Service(_engine(METAS[kind]))

    def painted(bands: str) -> Answer:
        return service.answer([Request(npy(image), output="painted", opacity="0.01", bands=bands)])[0]

    for bands, shown in (("4,3,2", (1, 2, 3)), ("", (2, 1, 0)), ("5", (4, 4, 4)), (" 5, 1 ,1", (0, 0, 4))):
        difference = np.abs(_mask(painted(bands)).astype(int) - image[:, :, shown])
        assert difference.max() <= 4
    for bands, reason in (
        ("6,1,1", "band 6 is not there"),
        ("0", "band 0 is not there"),
        ("1,2", "2 bands"),
        ("1,,2", "bands must be"),
        ("a", "bands must be"),
        ("1" * 5000, "bands"),
    ):
        answer = painted(bands)
        assert answer.status == 400
        assert reason in answer.reason


@pytest.fixture(params=METAS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def url(kind) -> Iterator[str]:
    service, lock = Service(_engine(METAS[kind]), unknown_below=0.9), threading.Lock()

    def answering(request: Request) -> Answer:
        with lock:
            return service.answer([request])[0]

    with http_server(answering) as address:
        yield address


@pytest.fixture
def remote(url) -> RemoteEngine:
    return RemoteEngine(Client(url), target="http")


class TestConformance(EngineConformance):
    @pytest.fixture
    def engine(self, remote) -> RemoteEngine:
        return remote


def test_a_server_is_scored_as_a_local_run(kind, remote) -> None:
    """Also if the server makes unsure labels unknown: it does not do it here."""
    images = [_image(kind, *size, seed=seed) for seed, size in enumerate([(24, 32), (24, 32), (31, 17)])]
    scored = ScoreSink(["mIoU"])
    run(remote, ArrayDataset(images, [_local(kind, image) for image in images]), [scored], batch_size=2)
    assert scored.scores.metrics["mIoU"] == 1.0
    remote.close()


def test_the_client_sends_a_file_that_the_model_can_read(kind, url) -> None:
    client, image = Client(url), _image(kind)
    sure = decode_mask(client.post(npy(image), unknown_below="0").body, url)
    assert np.array_equal(sure, _local(kind, image))
    unsure = decode_mask(client.post(npy(image)).body, url)
    assert 0 < (unsure == 255).mean() < 1, "the server's own setting"
    assert np.array_equal(unsure[unsure != 255], sure[unsure != 255])
    client.close()
